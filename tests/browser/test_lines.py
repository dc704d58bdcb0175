"""What is written stays: drafts, prologue lines, lines said offline or into a story that is gone."""

from __future__ import annotations

import re

from playwright.async_api import Page, expect

from tests.browser.fake_play import ANSWER, GUARDIAN, HEARD, FakePlay
from tests.browser.test_page import begin, go_in, say
from tests.browser.test_reading import marks_of_the_wait

COMPOSER = "Say or ask something"


async def test_a_draft_survives_a_reload_and_going_back(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await page.get_by_label(COMPOSER).fill("I was about to")
        await page.reload()
        await expect(page.get_by_label(COMPOSER)).to_have_value("I was about to")
        await page.goto("about:blank")
        await page.go_back()
        await expect(page.get_by_label(COMPOSER)).to_have_value("I was about to")
        await page.get_by_role("button", name="Say", exact=True).click()
        await page.reload()
        await expect(page.get_by_label(COMPOSER)).to_have_value("")


async def test_the_prologue_is_shown_again_on_return_and_told_once(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.2, line_s=0.1) as server:
        await begin(page, server.address)
        await expect(page.get_by_label("Your reply")).to_be_visible()
        await say(page, "So what can you do?")
        await expect(page.locator("#log").get_by_text(ANSWER)).to_be_visible()
        await page.reload()
        await expect(page.get_by_label("Your reply")).to_be_visible()
        await expect(page.locator("#log").get_by_text("Ah. I heard the bell.")).to_have_count(1)
        await page.get_by_label("Your reply").fill("Ada")
        await page.get_by_label("Your reply").press("Enter")
        await page.get_by_role("button", name="gold").click()
        await expect(page.get_by_role("button", name="Ask the boy his name.")).to_be_visible(timeout=20_000)
        shown = await page.locator("#log").inner_text()
        await page.reload()
        await expect(page.get_by_role("button", name="Ask the boy his name.")).to_be_visible()
        again = await page.locator("#log").inner_text()
        for words in ("Ah. I heard the bell.", "What name shall I write", "Ada", ANSWER, "gold", "The gate swings"):
            assert shown.count(words) == again.count(words) > 0, words
        order = [again.index(words) for words in ("Ah. I heard", ANSWER, "Ada", "The gate is open.", "The gate swings")]
        assert order == sorted(order)


async def test_keys_of_an_input_method_neither_send_nor_stop(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1, token_s=0.2) as server:
        await begin(page, server.address)
        await page.get_by_role("button", name="Go in now").click()
        await expect(page.get_by_role("button", name="Stop")).to_be_visible()
        await page.get_by_label(COMPOSER).fill("にほ")
        press = """(element, [key, composing]) => {
          const about = { key, keyCode: 229, isComposing: composing, bubbles: true, cancelable: true };
          element.dispatchEvent(new KeyboardEvent("keydown", about));
        }"""
        for key in ("Enter", "Escape"):
            for composing in (False, True):  # Safari says false for the Enter that ends a composition
                await page.get_by_label(COMPOSER).evaluate(press, [key, composing])
        await page.wait_for_timeout(200)
        assert not [frame for frame in server.heard if frame["action"] in ("say", "stop")]
        await page.get_by_label(COMPOSER).press("Escape")
        await expect(page.get_by_role("button", name="Stop")).to_be_hidden()


async def test_a_reply_typed_into_the_composer_is_the_reply(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=5, line_s=0.1) as server:
        await begin(page, server.address)
        await expect(page.get_by_label("Your reply")).to_be_visible()
        await say(page, "Marlow")
        await expect(page.get_by_role("button", name="gold")).to_be_visible()
        assert server.profile == {"name": "Marlow"}
        await say(page, "mauve")  # none of the choices: refused, and the question stands
        await expect(page.locator(".question .problem")).to_contain_text("Choose one of these")
        assert [turn["said"] for turn in server.turns] == []


async def test_a_question_or_a_greeting_said_to_a_question_leaves_it_standing(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=5, line_s=0.1) as server:
        await begin(page, server.address)
        reply = page.get_by_label("Your reply")
        await expect(reply).to_be_visible()
        await say(page, "hello")
        await expect(page.locator(".turn").filter(has_text="hello").locator(".reply")).to_have_text(
            f"{GUARDIAN}{HEARD}"
        )
        await reply.fill("who are you")
        await reply.press("Enter")
        await expect(page.locator(".turn").filter(has_text="who are you").locator(".reply")).to_contain_text(HEARD)
        await expect(reply).to_be_focused()
        await expect(reply).to_have_value("")
        await reply.fill("Marlow")
        await reply.press("Enter")
        await expect(page.get_by_role("button", name="gold")).to_be_visible()
        assert server.profile == {"name": "Marlow"}


async def test_the_prologue_replies_to_a_line_and_keeps_it_for_the_story(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=5, line_s=0.5) as server:
        await begin(page, server.address)
        for text, kept in (("hello", 0), ("I knock on the door", 1)):
            await say(page, text)
            turn = page.locator(".turn").filter(has_text=text)
            await expect(turn.locator(".reply")).to_have_text(f"{GUARDIAN}{HEARD}")
            await expect(turn.get_by_text("Kept for when the storyteller wakes")).to_have_count(kept)
        # The prologue goes on beside it, and again after a reload.
        await expect(page.get_by_label("Your reply")).to_be_visible()
        await expect(page.locator("body")).to_have_attribute("data-act", "prologue")
        await page.reload()
        await expect(page.get_by_label("Your reply")).to_be_visible()
        await expect(page.get_by_text("Kept for when the storyteller wakes")).to_have_count(1)
        await page.get_by_role("button", name="Go in now").click()
        await expect(page.locator("body")).to_have_attribute("data-act", "story")


async def test_lines_for_a_forgotten_story_are_offered_and_not_sent_into_the_next(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.2, line_s=0.1, token_s=0.02) as server:
        await begin(page, server.address)
        await go_in(page)
        assert "storyteller awake" in await marks_of_the_wait(page)
        first_picture = page.locator("#pictures .slide").first
        await expect(first_picture).not_to_have_class(re.compile("shown"))
        server.doors_shut = 503
        await server.cut()
        await expect(page.locator("#connection")).to_be_visible()
        await say(page, "I knock on the door")
        await page.get_by_label(COMPOSER).fill("half a thought\nin three\nlines")
        server.forget()
        server.wait_s = 20
        server.doors_shut = None
        await expect(page.locator("#log")).to_contain_text("These lines were not sent", timeout=30_000)
        offered = ["I knock on the door", "half a thought\nin three\nlines"]
        await expect(page.locator("#log q")).to_have_text(offered)
        await expect(page.get_by_label("Your reply")).to_be_visible(timeout=20_000)
        assert "I knock on the door" not in [frame.get("text") for frame in server.heard]
        # The page stands as at a first visit.
        assert await page.evaluate("document.body.dataset.act") == "prologue"
        await expect(page.get_by_role("button", name="Stop")).to_be_hidden()
        await expect(page.locator("#waking")).to_be_visible()
        await expect(first_picture).to_have_class(re.compile("shown"))
        await expect(page.locator("body")).to_have_attribute("data-curtain", "down")
        await expect(page.get_by_label(COMPOSER)).to_have_value("")
        await expect(page.get_by_label(COMPOSER)).to_have_attribute("rows", "1")
        waited = await marks_of_the_wait(page)
        assert {"connected", "first line"} <= set(waited)
        assert not {"storyteller awake", "first words of the story"} & set(waited), "the wait of the story before"
        # A reload loses none of the lines, and one that was taken up is offered no more.
        await page.reload()
        await expect(page.locator("#log q")).to_have_text(offered)
        await expect(page.get_by_label(COMPOSER)).to_have_value("")
        await page.get_by_role("button", name="Take it up").first.click()
        await expect(page.get_by_label(COMPOSER)).to_have_value(offered[0])
        await page.reload()
        await expect(page.locator("#log q")).to_have_text(offered[1:])
        await expect(page.get_by_label(COMPOSER)).to_have_value(offered[0])
        await page.get_by_role("button", name="Take it up").click()
        await expect(page.get_by_label(COMPOSER)).to_have_value("\n".join(offered))
        await expect(page.locator("#log")).not_to_contain_text("were not sent")
        # The story that was can still be read.
        await page.get_by_role("button", name="Keep").click()
        await page.get_by_role("button", name="Read The Emerald City").click()
        await expect(page.locator("#reader-body")).to_contain_text("The gate swings wide")


async def test_a_line_said_offline_is_kept_and_sent_even_after_a_reload(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await go_in(page)
        await page.context.set_offline(True)
        await server.cut()
        await expect(page.locator("body")).to_have_attribute("data-connection", "lost")
        await say(page, "I wait for the bell")
        waiting = page.locator(".turn", has_text="I wait for the bell").locator(".wait")
        await expect(waiting).to_have_text("You are offline. Your line is kept, and sent when you are back.")
        server.doors_shut = 503
        await page.context.set_offline(False)
        await expect(waiting).to_have_text("Not connected. Your line is kept, and sent when the connection is back.")
        await page.reload()
        await expect(page.locator(".said", has_text="I wait for the bell")).to_be_visible()
        server.doors_shut = None
        await expect(page.locator(".turn.last .told")).to_contain_text("“I wait for the bell”", timeout=30_000)
        assert [turn["said"] for turn in server.turns] == ["", "I wait for the bell"]
