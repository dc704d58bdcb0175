"""The page in a real Chromium against a small server of our own: the whole play, and what may go wrong."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.fake_play import ANSWER, OPENING, FakePlay

Keep = Callable[[Page, str], Awaitable[None]]

#: Notes each state of the text of the story, so that a test can say what was ever on screen.
WATCH = """() => {
  window.seen = [];
  new MutationObserver(() => {
    const told = [...document.querySelectorAll('.turn[data-id="opening"] .told')].map((p) => p.textContent).join("|");
    if (told && seen.at(-1) !== told) seen.push(told);
  }).observe(document.getElementById("log"), { subtree: true, childList: true, characterData: true });
}"""
TOLD = "|".join(line for line in OPENING.split("\n") if line and not line.startswith(">"))


async def say(page: Page, text: str) -> None:
    await page.get_by_label("Say or ask something").fill(text)
    await page.get_by_role("button", name="Say", exact=True).click()


async def begin(page: Page, address: str) -> None:
    """Past the title, as a first visit has to go."""
    await page.goto(address)
    await page.get_by_role("button", name="Begin").click()


async def go_in(page: Page) -> None:
    """Past the prologue, to the end of the opening."""
    await page.get_by_role("button", name="Go in now").click()
    await expect(page.get_by_role("button", name="Ask the boy his name.")).to_be_visible(timeout=20_000)


async def test_the_whole_play(sized_page: Page, keep_picture: Keep) -> None:
    """Act by act, with a picture of each."""
    page = sized_page
    async with FakePlay(wait_s=12, line_s=1) as server:
        await page.goto(server.address)
        await expect(page.get_by_role("heading", name="The Emerald City")).to_be_visible()
        await keep_picture(page, "1-title")
        await page.get_by_role("button", name="Begin").click()
        await expect(page.locator("#log").get_by_text("Ah. I heard the bell.")).to_be_visible()
        await expect(page.locator("#log").get_by_text("The Guardian of the Gates")).to_be_visible()
        bar = page.get_by_role("progressbar")
        await expect(bar).to_have_attribute("aria-valuenow", re.compile(r"^[1-9]\d$"), timeout=10_000)
        await expect(page.locator("#waking-words")).to_contain_text("Awake in about")
        await keep_picture(page, "2-countdown")

        # A question of one's own is answered from the answer index, and the prologue's stays open.
        name = page.get_by_role("group", name="What name shall I write").get_by_label("Your reply")
        await expect(name).to_be_visible()
        await keep_picture(page, "3-question")
        await say(page, "So what can you do?")
        await expect(page.locator("#log").get_by_text(ANSWER)).to_be_visible()
        figures = page.locator(".turn[data-state=answered] .stats")
        await expect(figures).to_have_text("It saved 96 tokens, $0.0011 and 21 mWh.")
        await expect(figures).to_be_hidden()
        await keep_picture(page, "4-answer")
        await name.fill("Ada")
        await name.press("Enter")

        glass = page.get_by_role("group", name="Which glass")
        await glass.get_by_label("Your reply").fill("mauve")
        await glass.get_by_role("button", name="Reply").click()
        await expect(glass.get_by_role("alert")).to_have_text("Choose one of these: green, gold, blue.")
        await keep_picture(page, "5-refusal")
        await glass.get_by_role("button", name="gold").click()

        await expect(page.locator(".turn[data-id=opening] .told").first).to_contain_text("The gate", timeout=20_000)
        await keep_picture(page, "6-curtain")
        choice = page.get_by_role("button", name="Ask the boy his name.")
        await expect(choice).to_be_visible(timeout=20_000)
        assert "|".join(await page.locator(".turn[data-id=opening] .told").all_text_contents()) == TOLD
        await expect(page.locator(".turn.last .stats")).to_have_text(
            "61 tokens · first after 0.21 s · 9.4 tokens/s · $0.00065 · 29 mWh"
        )
        await keep_picture(page, "7-story")

        await choice.click()
        await expect(page.locator(".turn.last .told")).to_contain_text("You do just that: “Ask the boy his name.”")
        assert server.profile == {"name": "Ada", "spectacles": "gold"}
        assert "s" * 32 not in page.url
        await page.get_by_role("button", name="Backstage").click()
        await expect(page.get_by_role("dialog", name="Backstage")).to_contain_text("The last reply")
        await keep_picture(page, "8-backstage")


async def test_stop_retry_edit_continue_and_undo(page: Page) -> None:
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await go_in(page)
        last = page.locator(".turn.last")

        server.token_s = 0.3
        await say(page, "I look up")
        await expect(page.locator(".turn", has_text="You do")).to_be_visible()
        await page.get_by_role("button", name="Stop").click()
        await expect(last).to_contain_text("Stopped.")
        await expect(page.get_by_role("button", name="Stop")).to_be_hidden()

        server.token_s = 0.01
        await last.get_by_role("button", name="Retry").click()
        await expect(last.locator(".told")).to_have_text(["Told another way: the bell rings once."])
        await expect(last.get_by_role("button", name="Listen.")).to_be_visible()

        await last.get_by_role("button", name="Continue").click()
        await expect(last.locator(".told").last).to_have_text("And so it went on.")

        await last.get_by_role("button", name="Edit").click()
        await last.get_by_label("Your line").fill("I look down")
        await last.get_by_role("button", name="Say this instead").click()
        await expect(last.locator(".told").first).to_contain_text("“I look down”")
        await expect(last.locator(".said")).to_have_text("I look down")

        await last.get_by_role("button", name="Undo").click()
        await expect(page.locator("#log").get_by_text("I look down")).to_have_count(0)
        await expect(last.get_by_role("button", name="Follow the marble street.")).to_be_visible()


async def test_a_reply_survives_lost_connections_and_bad_frames(page: Page) -> None:
    async with FakePlay(wait_s=0.1, token_s=0.04) as server:
        server.lossy = True
        await begin(page, server.address)
        await page.evaluate(WATCH)
        await page.get_by_role("button", name="Go in now").click()
        for heard in ("The gate", "Green marble"):
            await expect(page.locator(".turn[data-id=opening]")).to_contain_text(heard, timeout=20_000)
            await server.cut()
        await expect(page.get_by_role("button", name="Ask the boy his name.")).to_be_visible(timeout=30_000)
        seen: list[str] = await page.evaluate("seen")
        assert seen[-1] == TOLD
        for before, after in itertools.pairwise(seen):
            assert after.startswith(before), "text was taken back or shown twice"
        assert server.hellos[0] is None
        assert set(server.hellos[1:]) == {"s" * 32}


async def test_a_gap_is_mended_by_hello(page: Page) -> None:
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await go_in(page)
        server.mute = True
        await say(page, "I listen")
        await expect(page.locator(".turn", has_text="I listen")).to_be_visible()
        turn = next(turn for turn in server.turns if turn["said"] == "I listen")
        await expect(page.locator(".turn.last footer .row")).to_be_visible(timeout=20_000)
        await server.send("token", to=turn["id"], take=1, at=len(turn["reply"]) - 3, text=turn["reply"][-3:])
        await expect(page.locator(".turn.last .told")).to_contain_text("You do just that: “I listen”", timeout=10_000)


async def test_what_is_hostile_stays_text(page: Page) -> None:
    hostile = '<img src=x onerror="window.broken=1"><script>window.broken=1</script> **bold** &amp;'
    async with FakePlay(wait_s=0.1) as server:
        server.opening = f"{hostile}\n> {hostile}"
        server.answer = hostile
        await begin(page, server.address)
        await say(page, f"{hostile} what can you do?")
        await expect(page.locator(".turn[data-state=answered] .told")).to_have_text(hostile)
        await page.get_by_role("button", name="Go in now").click()
        await expect(page.get_by_role("button", name=hostile)).to_be_visible(timeout=20_000)
        assert await page.evaluate("window.broken") is None
        assert await page.locator("#log img, #log script, #announcer img").count() == 0


async def test_something_new_is_always_on_screen(page: Page) -> None:
    """Also when the server says nothing for a long time: here six seconds before the first token."""
    async with FakePlay(wait_s=8) as server:
        server.token_s = 6
        await begin(page, server.address)
        await page.evaluate(
            """() => {
              window.longest = 0;
              let last = performance.now();
              const note = () => {
                longest = Math.max(longest, performance.now() - last);
                last = performance.now();
              };
              new MutationObserver(note).observe(document, { subtree: true, childList: true, characterData: true });
            }"""
        )
        await page.get_by_role("button", name="Go in now").click()
        await expect(page.locator(".turn .wait")).to_contain_text("draws breath", timeout=20_000)
        await expect(page.locator(".turn .told")).to_contain_text("The g", timeout=20_000)
        assert await page.evaluate("longest") < 3000


async def test_two_windows(browser: Browser) -> None:
    async with FakePlay(wait_s=0.1) as server:
        context = await browser.new_context(reduced_motion="reduce")
        first, second = await context.new_page(), await context.new_page()
        await begin(first, server.address)
        await go_in(first)
        await second.goto(server.address)
        await expect(second.get_by_role("button", name="Ask the boy his name.")).to_be_visible()
        await expect(first.get_by_text("open in another window")).to_be_visible()
        before = len(server.hellos)
        await first.get_by_role("button", name="Take it back here").click()
        await expect(second.get_by_text("open in another window")).to_be_visible()
        await expect(first.get_by_text("open in another window")).to_be_hidden()
        assert len(server.hellos) == before + 1


async def test_a_reload_goes_on_and_starting_over_does_not(page: Page) -> None:
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await go_in(page)
        await page.reload()
        await expect(page.get_by_role("button", name="Ask the boy his name.")).to_be_visible()
        assert server.hellos == [None, "s" * 32]
        await page.get_by_role("button", name="Start over").click()
        await page.get_by_role("dialog").get_by_role("button", name="Start over").click()
        await expect(page.locator("#log").get_by_text("Ah. I heard the bell.")).to_be_visible()
        assert server.hellos == [None, "s" * 32, None]


async def test_earlier_turns_are_fetched_when_asked_for(page: Page) -> None:
    async with FakePlay(wait_s=0.1) as server:
        turns = [
            {"id": name, "said": f"I say {name}", "reply": f"Told {name}.\n> On.", "state": "done", "take": 1}
            for name in ("first", "second", "third")
        ]
        server.older, server.turns = turns[:2], turns[2:]
        await page.add_init_script(f"localStorage.setItem('overture.session', '{'s' * 32}')")
        await page.goto(server.address)
        await expect(page.locator(".said")).to_have_text(["I say third"])
        await page.get_by_role("button", name="Earlier").click()
        await expect(page.locator(".said")).to_have_text(["I say first", "I say second", "I say third"])
        await expect(page.get_by_role("button", name="On.")).to_have_count(1)
        await page.get_by_role("button", name="Earlier").click()
        await expect(page.get_by_role("button", name="Earlier")).to_be_hidden()


@pytest.mark.parametrize("about", [{"to": "b", "code": "bad_field"}, {"code": "unknown_turn"}])
async def test_earlier_turns_that_are_refused_hold_nothing_up(page: Page, about: dict[str, str]) -> None:
    async with FakePlay(wait_s=0.1) as server:
        server.turns = [{"id": "b", "said": "I say b", "reply": "Told b.\n> On.", "state": "done", "take": 1}]
        server.history_refused = about
        await page.add_init_script(f"localStorage.setItem('overture.session', '{'s' * 32}')")
        await page.goto(server.address)
        await page.get_by_role("button", name="Earlier").click()
        await expect(page.get_by_role("alert")).to_have_text("There is no such turn.")
        await say(page, "I go on")
        await expect(page.locator(".turn.last .told")).to_contain_text("You do just that: “I go on”")
        assert len(server.hellos) == 1


async def test_a_spoilt_session_is_forgotten(page: Page) -> None:
    async with FakePlay(wait_s=0.1) as server:
        server.spoilt = "what?"
        await page.add_init_script("localStorage.setItem('overture.session', 'what?')")
        await page.goto(server.address)
        await expect(page.locator("#log .line").first).to_be_visible()
        assert server.hellos == ["what?", None]
        assert await page.evaluate("localStorage.getItem('overture.session')") == "s" * 32


async def test_the_prologue_can_be_left_from_its_first_beat_on(page: Page) -> None:
    async with FakePlay(wait_s=30, line_s=10) as server:
        await begin(page, server.address)
        await expect(page.locator("#log .line").first).to_be_visible()
        await page.get_by_role("button", name="Go in now").click(timeout=2_000)
        await expect(page.get_by_role("button", name="Go in now")).to_be_hidden()


async def test_the_newest_stays_in_view_when_the_window_turns(page: Page) -> None:
    async with FakePlay(wait_s=0.1) as server:
        told = " ".join(["The street goes on and on."] * 300)
        server.turns = [{"id": "b", "said": "I walk", "reply": f"{told}\n> On.", "state": "done", "take": 1}]
        await page.set_viewport_size({"width": 800, "height": 500})
        await page.add_init_script(f"localStorage.setItem('overture.session', '{'s' * 32}')")
        await page.goto(server.address)
        choice = page.get_by_role("button", name="On.")
        await expect(choice).to_be_in_viewport()
        await page.set_viewport_size({"width": 400, "height": 800})
        await expect(choice).to_be_in_viewport()


async def test_a_question_taller_than_its_place_shows_its_top(page: Page) -> None:
    async with FakePlay(wait_s=30, line_s=0.1) as server:
        await page.set_viewport_size({"width": 320, "height": 340})
        await begin(page, server.address)
        legend = page.locator("legend", has_text="What name")
        await expect(legend).to_be_in_viewport(ratio=1)
        await page.get_by_label("Your reply").fill("Ada")
        await page.get_by_label("Your reply").press("Enter")
        await expect(page.locator("legend", has_text="Which glass")).to_be_in_viewport(ratio=0.9)


@pytest.mark.parametrize(
    ("status", "sentence"), [(503, "The server answered 503."), (429, "Too many visitors came at once.")]
)
async def test_a_house_that_gives_no_ticket_is_waited_for(page: Page, status: int, sentence: str) -> None:
    async with FakePlay() as server:
        server.doors_shut = status
        await page.goto(server.address)
        await expect(page.locator("#title-words")).to_contain_text(sentence)
        await page.get_by_role("button", name="Begin").click()
        await expect(page.locator("#connection")).to_contain_text(sentence)
        server.doors_shut = None
        await expect(page.locator("#log").get_by_text("Ah. I heard the bell.")).to_be_visible(timeout=20_000)
        await expect(page.locator("#connection")).to_be_hidden()


async def test_the_title_has_one_button_and_the_play_waits_for_it(page: Page) -> None:
    async with FakePlay(wait_s=1, line_s=0.2) as server:
        await page.goto(server.address)
        await expect(page.get_by_role("heading", name="The Emerald City")).to_be_visible()
        assert await page.title() == "The Emerald City · Overture"
        await expect(page.get_by_role("button", name="Begin")).to_be_focused()
        assert await page.get_by_role("button").count() == 1
        # Behind it the storyteller wakes, and nothing is told to nobody.
        await expect(page.locator("#title-words")).to_have_text("The storyteller is awake", timeout=10_000)
        assert await page.locator("#log .line").count() == 0
        await page.keyboard.press("Enter")
        await expect(page.locator("#log").get_by_text("Ah. I heard the bell.")).to_be_visible()
        await page.reload()
        await expect(page.locator("#log .line").first).to_be_visible()
        await expect(page.get_by_role("button", name="Begin")).to_be_hidden()


async def test_the_title_is_there_before_the_socket(page: Page) -> None:
    """Nor does the whole page weigh more than 200 KB."""
    async with FakePlay() as server:
        weights: list[int] = []
        page.on("response", lambda response: weights.append(int(response.headers.get("content-length", 0))))
        held = asyncio.Event()

        async def hold(route: object) -> None:
            await held.wait()
            await route.continue_()  # type: ignore[attr-defined]

        await page.route("**/config.json", hold)
        await page.goto(server.address, wait_until="commit")
        await expect(page.get_by_role("heading", name="Overture")).to_be_visible()
        await page.get_by_role("button", name="Begin").click()
        await expect(page.locator("#waking-figures")).to_contain_text("s so far")
        held.set()
        await expect(page.get_by_role("heading", name="The Emerald City")).to_be_visible()
        await expect(page.locator("#log").get_by_text("Ah. I heard the bell.")).to_be_visible()
        assert 0 < sum(weights) < 200_000


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_a_small_phone(browser: Browser, keep_picture: Keep, scheme: str) -> None:
    context = await browser.new_context(
        viewport={"width": 320, "height": 568},
        has_touch=True,
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = await context.new_page()

    async def fits() -> None:
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320
        assert await page.evaluate("document.querySelector('main').scrollWidth") <= 320

    async with FakePlay(wait_s=0.5, line_s=0.2) as server:
        await begin(page, server.address)
        name = page.get_by_label("Your reply")
        await expect(name).to_be_visible()
        await fits()
        await keep_picture(page, f"phone-{scheme}-1-prologue")
        await name.fill("Ada")
        await name.press("Enter")
        await expect(page.get_by_role("button", name="gold")).to_be_visible()
        await fits()
        await go_in(page)
        await say(page, "Donaudampfschifffahrtsgesellschaftskapitän" * 3)
        await expect(page.locator(".turn.last footer .row")).to_be_visible(timeout=20_000)
        await fits()
        await keep_picture(page, f"phone-{scheme}-2-story")
