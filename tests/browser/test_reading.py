"""How the page reads: size, theme, voice, tint, paper, right to left, no scripts; and what Backstage tells."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.browser.fake_play import ANSWER, FakePlay
from tests.browser.test_extras import assert_accessible
from tests.browser.test_page import begin, go_in, say


async def test_text_size_and_theme_are_chosen_and_stay(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await go_in(page)
        before = await page.locator(".told").first.evaluate("(told) => parseFloat(getComputedStyle(told).fontSize)")
        await page.get_by_role("button", name="Reading").click()
        await page.get_by_label("Size of the text").fill("3")
        for theme, ground in (("Dark", "rgb(6, 20, 15)"), ("Light", "rgb(243, 247, 242)")):
            await page.get_by_label(theme).check()
            await expect(page.locator("body")).to_have_css("background-color", ground)
        await page.keyboard.press("Escape")
        await page.reload()
        await expect(page.get_by_role("button", name="Ask the boy his name.")).to_be_visible()
        await expect(page.locator("body")).to_have_css("background-color", "rgb(243, 247, 242)")
        after = await page.locator(".told").first.evaluate("(told) => parseFloat(getComputedStyle(told).fontSize)")
        assert after == pytest.approx(before * 1.5)
        width = page.viewport_size["width"] if page.viewport_size else 0
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


#: A voice that notes what it is given, for a browser that may have none.
VOICE = """
window.spoken = [];
const voice = { speak: ({ text }) => spoken.push(text), cancel: () => spoken.push(null) };
Object.defineProperty(window, "speechSynthesis", { value: voice });
window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
"""


async def test_it_reads_aloud_where_it_is_asked_to(sized_page: Page) -> None:
    page = sized_page
    await page.add_init_script(VOICE)
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await expect(page.locator("#log .line").first).to_be_visible()
        assert await page.evaluate("spoken") == []
        await page.get_by_role("button", name="Reading").click()
        await page.get_by_label("Read aloud").check()
        await page.keyboard.press("Escape")
        await go_in(page)
        spoken = await page.evaluate("spoken")
        assert "The gate swings wide, and the light of the Emerald City falls on your shoes." in spoken
        await page.get_by_role("button", name="Reading").click()
        await page.get_by_label("Read aloud").uncheck()
        assert (await page.evaluate("spoken"))[-1] is None, "silent at once"


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_the_spectacles_tint_the_page_and_keep_its_contrast(
    browser: Browser, viewport: ViewportSize, scheme: str
) -> None:
    context = await browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce", viewport=viewport
    )
    page = await context.new_page()
    page.set_default_timeout(60_000)
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await go_in(page)
        grounds = set()
        for colour in ("", "green", "gold", "blue", "violet", "pink"):
            server.profile = {"spectacles": colour} if colour else {}
            await page.get_by_role("button", name="Memory").click()
            await expect(page.locator("body")).to_have_attribute("data-tinted", "true" if colour else "false")
            await page.keyboard.press("Escape")
            await expect(page.get_by_role("dialog")).to_be_hidden()
            grounds.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
            await assert_accessible(page, f"{scheme}, {colour}")
        assert len(grounds) == 6
    await context.close()


async def test_what_is_written_right_to_left_is_shown_so(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await go_in(page)
        await say(page, "שלום, מי אתה.")
        await expect(page.locator(".said").last).to_have_css("direction", "rtl")
        await expect(page.locator(".told").first).to_have_css("direction", "ltr")
        await page.get_by_label("Say or ask something").fill("שלום")
        await expect(page.get_by_label("Say or ask something")).to_have_css("direction", "rtl")


async def test_paper_gets_the_story_alone_and_dark_on_white(sized_page: Page) -> None:
    page = sized_page
    await page.emulate_media(color_scheme="dark")
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await go_in(page)
        await page.emulate_media(media="print", color_scheme="dark")
        for hidden in (".composer", ".tools", ".skip-link", "#pictures", ".turn footer"):
            await expect(page.locator(hidden).first).to_be_hidden()
        await expect(page.locator(".told").first).to_have_css("color", "rgb(0, 0, 0)")
        await expect(page.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
        height = await page.evaluate(
            "document.querySelector('main').scrollHeight - document.querySelector('main').clientHeight"
        )
        assert height <= 0, "nothing is cut off"


async def test_without_scripts_a_sentence_says_so(browser: Browser, viewport: ViewportSize) -> None:
    context = await browser.new_context(java_script_enabled=False, viewport=viewport)
    page = await context.new_page()
    page.set_default_timeout(60_000)
    async with FakePlay(wait_s=0.1) as server:
        await page.goto(server.address)
        sentence = page.locator("noscript > p")  # by its text Playwright finds nothing in a noscript
        await expect(sentence).to_be_visible()
        await expect(sentence).to_contain_text("This play needs JavaScript")
        await expect(page.get_by_role("button", name="Begin")).to_be_hidden()
    await context.close()


async def test_figures_show_only_while_backstage_is_open(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1) as server:
        await page.goto(server.address)
        await expect(page.get_by_role("button", name="Begin")).to_be_visible()
        await page.keyboard.press("F2")
        await expect(page.get_by_role("dialog", name="Backstage")).to_be_hidden()  # not over the title
        await page.get_by_role("button", name="Begin").click()
        await go_in(page)
        await expect(page.locator(".stats")).to_be_hidden()
        await page.keyboard.press("F2")
        await expect(page.locator(".stats")).to_have_css("display", "block")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog", name="Backstage")).to_be_hidden()
        await expect(page.locator(".stats")).to_be_hidden()


async def test_backstage_tells_the_wait_as_it_was(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=3, line_s=0.1) as server:
        await begin(page, server.address)
        await page.get_by_role("button", name="Go in now").click()
        await expect(page.get_by_role("button", name="Ask the boy his name.")).to_be_visible(timeout=30_000)
        marks = await marks_of_the_wait(page)
        # Later reports of the same kind, minutes on, change nothing.
        await page.wait_for_timeout(1500)
        await server.send("wake", state="waking", progress=0.2)
        await server.send("wake", state="ready")
        await page.wait_for_timeout(200)
        assert await marks_of_the_wait(page) == marks
        assert list(marks) == ["connected", "first line", "storyteller awake", "first words of the story"]
        assert list(marks.values()) == sorted(marks.values())
        assert marks["storyteller awake"] - marks["first line"] == pytest.approx(3, abs=1.5)
        await page.keyboard.press("F2")
        await expect(page.get_by_role("img", name="From opening the page")).to_be_visible()


async def marks_of_the_wait(page: Page) -> dict[str, float]:
    """The marks of the wait, as Backstage tells them, in seconds."""
    await page.keyboard.press("F2")
    items = await page.locator(".wait-marks li").all_text_contents()
    await page.keyboard.press("F2")
    found = [re.fullmatch(r"([\d.]+) s (.+)", item) for item in items]
    return {one.group(2): float(one.group(1)) for one in found if one}


async def test_a_written_answer_in_the_story_has_a_speaker(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1, line_s=0.1) as server:
        await begin(page, server.address)
        await expect(page.locator("#log .line").first).to_be_visible()
        await go_in(page)
        await say(page, "So what can you do?")
        answer = page.locator(".turn[data-state=answered]")
        await expect(answer.locator(".told")).to_have_text(ANSWER)
        await expect(answer.locator(".speaker")).to_have_text("The Guardian of the Gates")
        await page.reload()
        await expect(answer.locator(".speaker")).to_have_text("The Guardian of the Gates")


async def test_a_phone_shows_each_act_whole(browser: Browser) -> None:
    context = await browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, reduced_motion="reduce")
    page = await context.new_page()
    page.set_default_timeout(60_000)
    async with FakePlay(wait_s=0.1, line_s=0.1, token_s=0.2) as server:
        await begin(page, server.address)
        reply = page.get_by_label("Your reply")
        await expect(reply).to_be_visible()
        box = await reply.bounding_box()
        assert box is not None
        assert box["width"] > 120
        line = page.locator("#waking-words")
        await expect(line).to_have_text("The storyteller is awake")
        assert await line.evaluate("(words) => words.getClientRects().length") == 1
        await page.get_by_role("button", name="Go in now").click()
        await expect(page.get_by_role("button", name="Stop")).to_be_visible()
        fits = """(line) => {
          line.value = line.placeholder;
          const fits = line.scrollHeight <= line.clientHeight + 1;
          line.value = "";
          return fits;
        }"""
        assert await page.get_by_label("Say or ask something").evaluate(fits), "the placeholder is cut"
    await context.close()
