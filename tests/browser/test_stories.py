"""Stories that are kept: takes, several by name, exported and opened again, shared to be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, ViewportSize, expect

from tests.browser.fake_play import FakePlay
from tests.browser.test_page import begin, go_in, say

#: A story without a word in it.
FILE = {
    "overture_story": 1, "name": "", "title": "T", "world": "w", "session": None, "prologue": [], "turns": [],
}  # fmt: skip


async def to_second_take(page: Page, address: str) -> Locator:
    """Goes in and has the first scene told again. Gives its turn."""
    await begin(page, address)
    await go_in(page)
    last = page.locator(".turn.last")
    await last.get_by_role("button", name="Retry").click()
    await expect(last.locator(".told")).to_have_text(["Told another way: the bell rings once."])
    return last


async def test_retry_keeps_the_former_reply(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1) as server:
        last = await to_second_take(page, server.address)
        await last.get_by_role("button", name="Earlier take").click()
        await expect(last.locator(".told").first).to_contain_text("The gate swings wide")
        await expect(last).to_contain_text("Take 1 of 2")
        await expect(last.get_by_role("button", name="Ask the boy his name.")).to_have_count(0)
        await last.get_by_role("button", name="Later take").click()
        await expect(last.get_by_role("button", name="Listen.")).to_be_visible()
        await page.reload()
        await expect(last.locator(".told")).to_have_text(["Told another way: the bell rings once."])
        await last.get_by_role("button", name="Earlier take").click()
        await expect(last.locator(".told").first).to_contain_text("The gate swings wide")


async def test_the_story_goes_on_from_a_former_take_or_from_ones_own_words(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1) as server:
        last = await to_second_take(page, server.address)
        await last.get_by_role("button", name="Earlier take").click()
        await last.get_by_role("button", name="Go on from this take").click()
        await expect(last).to_contain_text("Take 3 of 3")
        await expect(last.get_by_role("button", name="Ask the boy his name.")).to_be_visible()
        assert server.turn("opening")["reply"].startswith("The gate swings wide")
        await last.get_by_role("button", name="Rewrite").click()
        words = last.get_by_label("The storyteller's reply")
        await expect(words).to_have_value(server.turn("opening")["reply"])
        await words.fill("The bell is out today.\n> Go home.")
        await last.get_by_role("button", name="Tell it like this").click()
        await expect(last.locator(".told")).to_have_text(["The bell is out today."])
        await expect(last.get_by_role("button", name="Go home.")).to_be_visible()
        await page.reload()
        await expect(last.locator(".told")).to_have_text(["The bell is out today."])
        await last.get_by_role("button", name="Rewrite").click()
        await last.get_by_role("button", name="Leave it").click()
        await expect(last.locator(".told")).to_have_text(["The bell is out today."])


async def test_a_swipe_turns_to_the_take_before(sized_page: Page) -> None:
    page = sized_page
    if not await page.evaluate("navigator.maxTouchPoints"):
        pytest.skip("no touch on this device")
    async with FakePlay(wait_s=0.1) as server:
        await to_second_take(page, server.address)
        await expect(page.get_by_role("button", name="Earlier take")).to_be_visible()
        await page.evaluate(
            """() => {
              const target = document.querySelector(".turn.last .told");
              const touch = (clientX) => new Touch({ identifier: 1, target, clientX, clientY: 400 });
              const fire = (name, x, touches) => {
                const about = { touches, changedTouches: [touch(x)], bubbles: true };
                target.dispatchEvent(new TouchEvent(name, about));
              };
              fire("touchstart", 100, [touch(100)]);
              fire("touchend", 220, []);
            }"""
        )
        await expect(page.locator(".turn.last .told").first).to_contain_text("The gate swings wide")


async def test_several_stories_are_kept_by_name(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await go_in(page)
        await page.get_by_role("button", name="Keep").click()
        await page.get_by_label("The name of this story").fill("The boy with the tray")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Start over").click()
        await page.get_by_role("dialog").get_by_role("button", name="Start over").click()
        await expect(page.locator("#log").get_by_text("Ah. I heard the bell.")).to_be_visible()
        await expect(page.locator("#log")).not_to_contain_text("The gate swings")
        await go_in(page)
        await say(page, "I whistle")
        await expect(page.locator(".turn.last .told")).to_contain_text("“I whistle”", timeout=20_000)
        await page.get_by_role("button", name="Keep").click()
        await page.get_by_role("button", name="Open The boy with the tray").click()
        await expect(page.get_by_role("button", name="Ask the boy his name.")).to_be_visible(timeout=20_000)
        await expect(page.locator("#log")).not_to_contain_text("I whistle")
        assert server.hellos == [None, None, "s" * 32]
        await page.get_by_role("button", name="Keep").click()
        await expect(page.locator("#stories")).to_contain_text("I whistle")  # by its first line, where it has no name
        await page.get_by_role("button", name="Forget I whistle").click()
        await page.get_by_role("button", name="Forget I whistle").click()
        await expect(page.locator("#stories")).not_to_contain_text("I whistle")


async def test_a_browser_without_room_says_so_once_and_the_story_goes_on(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await go_in(page)
        # The first save that finds no room is that of a retry: only the page itself has the former take then.
        await page.evaluate(
            """() => {
              window.refused = 0;
              Storage.prototype.setItem = () => {
                window.refused += 1;
                throw new DOMException("full", "QuotaExceededError");
              };
            }"""
        )
        last = page.locator(".turn.last")
        await last.get_by_role("button", name="Retry").click()
        await expect(last.locator(".told")).to_have_text(["Told another way: the bell rings once."])
        no_room = page.locator("#problem", has_text="no room for the story; export it to keep it")
        await expect(no_room).to_be_visible()
        await last.get_by_role("button", name="Listen.").click()  # whatever is said clears the line
        await expect(last.locator(".told")).to_contain_text("“Listen.”")
        await expect(last.locator("footer .row")).to_be_visible()
        before = await page.evaluate("refused")
        await page.get_by_role("button", name="Keep").click()  # saves
        assert await page.evaluate("refused") > before
        await page.keyboard.press("Escape")
        await expect(no_room).to_be_hidden()
        await last.get_by_role("button", name="Undo").click()
        # Back from another story, the page shows what it wrote last, not what the browser still has.
        await page.get_by_role("button", name="Start over").click()
        await page.get_by_role("dialog").get_by_role("button", name="Start over").click()
        await expect(page.locator("#log").get_by_text("Ah. I heard the bell.")).to_be_visible()
        await page.get_by_role("button", name="Keep").click()
        await page.get_by_role("button", name="Open The Emerald City").click()
        await expect(last).to_contain_text("Take 2 of 2")
        await last.get_by_role("button", name="Earlier take").click()
        await expect(last.locator(".told").first).to_contain_text("The gate swings wide")


async def test_an_exported_story_goes_on_in_another_browser_and_a_shared_one_is_read(
    browser: Browser, sized_page: Page, tmp_path: Path
) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await go_in(page)
        await page.get_by_role("button", name="Keep").click()
        files = {}
        for name in ("Export", "Save a file to share"):
            async with page.expect_download() as waiting:
                await page.get_by_role("button", name=name).click()
            files[name] = tmp_path / (await waiting.value).suggested_filename
            await (await waiting.value).save_as(files[name])
        assert [path.name for path in files.values()] == ["emerald-city.json", "emerald-city.shared.json"]
        assert json.loads(files["Export"].read_text())["session"] == server.session
        assert server.session not in files["Save a file to share"].read_text()

        other = await browser.new_page(reduced_motion="reduce")
        other.set_default_timeout(60_000)
        await begin(other, server.address)
        await expect(other.locator("#log .line").first).to_be_visible()
        await other.get_by_role("button", name="Keep").click()
        await other.get_by_label("Open a file").set_input_files(files["Save a file to share"])
        reader = other.get_by_role("dialog", name="The Emerald City")
        await expect(reader).to_contain_text("The gate swings wide")
        await expect(reader.get_by_role("button", name="Go on")).to_be_hidden()
        await reader.get_by_role("button", name="Close").click()
        await other.get_by_role("button", name="Keep").click()
        await other.get_by_label("Open a file").set_input_files(files["Export"])
        await reader.get_by_role("button", name="Go on with this story").click()
        await expect(other.get_by_role("button", name="Ask the boy his name.")).to_be_visible(timeout=20_000)
        await expect(page.locator("#connection")).to_contain_text("open in another window")
        await other.close()


async def test_a_link_shows_the_story_to_read(browser: Browser, viewport: ViewportSize) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    context = await browser.new_context(permissions=permissions, viewport=viewport, reduced_motion="reduce")
    page = await context.new_page()
    page.set_default_timeout(60_000)
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await go_in(page)
        await page.get_by_role("button", name="Keep").click()
        await page.get_by_role("button", name="Copy a link").click()
        await expect(page.locator("#keep-said")).to_contain_text("can read, and not go on")
        link = await page.evaluate("navigator.clipboard.readText()")
        assert server.session not in link
        other = await browser.new_context(viewport=viewport, reduced_motion="reduce")
        reader = await other.new_page()
        await reader.goto(link)
        await expect(reader.get_by_role("dialog", name="The Emerald City")).to_contain_text("The gate swings wide")
        assert "#" not in reader.url
        await reader.goto(link[:-40])
        await expect(reader.get_by_role("dialog", name="This link is not whole; ask for it again.")).to_be_visible()
        await expect(reader.locator("#reader-body")).to_be_empty()
        await other.close()
    await context.close()


#: Files that are no stories, and words of what is said of each.
NO_STORIES = [
    ("{", "This file is not JSON"),
    ("{}", "`overture_story` is missing"),
    (json.dumps(FILE | {"world": 3}), "`world`"),
    (json.dumps(FILE | {"session": "x"}), "`session`"),
    (json.dumps(FILE | {"prologue": [3]}), "`prologue`"),
    (json.dumps(FILE | {"turns": [{}]}), "`turns`"),
]


async def test_a_file_that_is_no_story_gets_one_sentence(sized_page: Page, tmp_path: Path) -> None:
    page = sized_page
    file = tmp_path / "story.json"
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await page.get_by_role("button", name="Keep").click()
        for text, words in NO_STORIES:
            file.write_text(text)
            await page.get_by_label("Open a file").set_input_files(file)
            await expect(page.locator("#keep-said")).to_contain_text(words)
