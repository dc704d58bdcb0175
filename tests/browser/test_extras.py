"""What makes the page one to stay on: accessible to all, its music, its panels, a story to keep."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.browser.fake_play import FakePlay
from tests.browser.test_page import Keep, begin, go_in, say


async def assert_accessible(page: Page, where: str) -> None:
    """axe-core finds no serious or critical fault."""
    found = (await Axe().run(page)).response["violations"]
    grave = [
        f"{where}: {fault['id']} ({fault['help']}): {[node['target'] for node in fault['nodes']]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]
    assert not grave, "\n".join(grave)


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_axe_finds_no_serious_fault(browser: Browser, scheme: str) -> None:
    # Without motion: axe measures contrast, and what is fading in has less of it.
    context = await browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
        viewport={"width": 1000, "height": 700},
    )
    page = await context.new_page()
    async with FakePlay(wait_s=2, line_s=0.2) as server:
        await begin(page, server.address)
        await expect(page.get_by_label("Your reply")).to_be_visible()
        await say(page, "So what can you do?")
        await expect(page.locator(".turn[data-state=answered]")).to_be_visible()
        await assert_accessible(page, "prologue")
        server.token_s = 0.1
        await page.get_by_role("button", name="Go in now").click()
        await expect(page.locator(".turn[data-id=opening] .told").first).to_be_visible(timeout=20_000)
        await assert_accessible(page, "telling")
        await expect(page.locator(".turn.last footer .row")).to_be_visible(timeout=30_000)
        await assert_accessible(page, "story")
        for name in ("Memory", "Keep", "Backstage", "Start over"):
            await page.get_by_role("button", name=name).click()
            await expect(page.get_by_role("dialog")).to_be_visible()
            await assert_accessible(page, name)
            await page.keyboard.press("Escape")


async def test_the_keyboard_alone(page: Page) -> None:
    async with FakePlay(wait_s=0.5, line_s=0.2) as server:
        await begin(page, server.address)
        await expect(page.get_by_label("Your reply")).to_be_focused()
        await page.keyboard.type("Ada")
        await page.keyboard.press("Enter")
        glass = page.get_by_role("group", name="Which glass")
        await expect(glass).to_be_visible()
        await glass.get_by_role("button", name="green").focus()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Ask the boy his name.")).to_be_visible(timeout=20_000)
        assert server.profile == {"name": "Ada", "spectacles": "gold"}  # the story begins after the last answer
        await page.keyboard.press("F2")
        await expect(page.get_by_role("dialog", name="Backstage")).to_be_visible()
        await page.keyboard.press("F2")
        await expect(page.get_by_role("dialog")).to_be_hidden()


async def test_a_screen_reader_hears_whole_sentences(page: Page) -> None:
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await go_in(page)
        heard = await page.locator("#announcer p").all_text_contents()
        told = [text for text in heard if text.startswith(("The gate swings", "🟢 Green marble", "A boy"))]
        assert told == [
            "The gate swings wide, and the light of the Emerald City falls on your shoes.",
            "🟢 Green marble runs ahead of you, joined by rows of bright stones.",
            "A boy with a tray of green lemonade looks up.",
        ]
        assert heard[-1] == "You may: Ask the boy his name. Or: Follow the marble street."


#: Waits until the first AudioContext is in a state. (The page forbids playwright's own way of waiting.)
UNTIL = """(state) => new Promise((done) => {
  const look = () => contexts[0].state === state && done();
  contexts[0].addEventListener("statechange", look);
  look();
})"""


async def test_the_music_box_plays_only_where_it_was_asked_to(sized_page: Page, viewport: ViewportSize) -> None:
    page = sized_page
    has_slider = viewport["width"] > 480  # a phone has keys for it
    await page.add_init_script(
        """window.contexts = [];
        const Real = AudioContext;
        window.AudioContext = class extends Real { constructor() { super(); contexts.push(this); } };"""
    )
    async with FakePlay(wait_s=0.5) as server:
        await begin(page, server.address)
        await expect(page.locator("#log .line").first).to_be_visible()
        assert await page.evaluate("contexts.length") == 0, "nobody asked for it"
        await page.get_by_role("button", name="Play the music box").click()
        await page.evaluate(UNTIL, "running")
        await expect(page.get_by_label("Volume")).to_be_visible(visible=has_slider)
        if has_slider:
            await page.get_by_label("Volume").fill("20")
        # Whoever left it playing hears it again, and whoever silenced it does not.
        await page.evaluate("localStorage.removeItem('overture.session')")
        await page.reload()
        await page.get_by_role("button", name="Begin").click()
        await page.evaluate(UNTIL, "running")
        await expect(page.locator("#volume")).to_have_value("20" if has_slider else "60")
        await page.get_by_role("button", name="Silence the music box").click()
        await expect(page.get_by_label("Volume")).to_be_hidden()
        await page.evaluate(UNTIL, "suspended")
        await page.evaluate("localStorage.removeItem('overture.session')")
        await page.reload()
        await page.get_by_role("button", name="Begin").click()
        await expect(page.locator("#log .line").first).to_be_visible()
        assert await page.evaluate("contexts.length") == 0


async def test_backstage_shows_what_it_took(page: Page) -> None:
    async with FakePlay(wait_s=1) as server:
        await begin(page, server.address)
        await say(page, "So what can you do?")
        await go_in(page)
        await say(page, "I look up")
        await expect(page.locator(".turn.last .told")).to_contain_text("I look up", timeout=20_000)
        await expect(page.locator(".turn.last footer .row")).to_be_visible(timeout=20_000)
        await page.keyboard.press("F2")
        panel = page.get_by_role("dialog", name="Backstage")
        for words in (
            "0.21 s", "$0.00065", "29 mWh (12 to 40)", "11 mg (4 to 20)", "All 2 replies", "122 tokens", "$0.0013",
            "as if on Lambda", "$0.0021", "71 mWh (30 to 98)", "needed no model", "25 %", "1 answer came while",
            "The lamp by the fountain is called Agnes.", "storyteller awake",
            "1 answered without the storyteller, which saved 96 tokens, $0.0011, 21 mWh and 8 mg CO₂e",
        ):  # fmt: skip
            await expect(panel).to_contain_text(words)
        await panel.get_by_text("What these figures assume").click()
        await expect(panel).to_contain_text("ISO/IEC 21031")
        await expect(panel.get_by_role("img")).to_have_count(3)


async def test_memory_can_be_seen_and_changed(page: Page) -> None:
    async with FakePlay(wait_s=0.1, line_s=0.1) as server:
        await begin(page, server.address)
        await page.get_by_label("Your reply").fill("I am Ada")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("group", name="Which glass")).to_be_visible()
        server.profile["name"] = "Ada"  # as the server understood it
        await page.get_by_role("button", name="Memory").click()
        panel = page.get_by_role("dialog", name="What the storyteller knows of you")
        await expect(panel.get_by_label("Name")).to_have_value("Ada")
        await panel.get_by_label("Name").fill("Ada of the North")
        await panel.get_by_label("The colour of your spectacles").fill("violet")
        await panel.get_by_role("button", name="Keep").click()
        await expect(panel).to_be_hidden()
        await page.get_by_role("button", name="Memory").click()
        await expect(panel.get_by_label("The colour of your spectacles")).to_have_value("violet")
        assert server.profile == {"name": "Ada of the North", "spectacles": "violet"}
        await panel.get_by_label("Name").fill("somebody else")
        await panel.get_by_role("button", name="Leave as it was").click()
        assert server.profile["name"] == "Ada of the North"


async def test_the_story_can_be_kept(sized_page: Page, tmp_path: Path) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1) as server:
        server.opening = "The <b>gate</b> opens. *Wide.*\n> Go & see."
        await begin(page, server.address)
        await expect(page.locator("#log").get_by_text("Ah. I heard the bell.")).to_be_visible()
        await page.get_by_role("button", name="Go in now").click()
        await expect(page.get_by_role("button", name="Go & see.")).to_be_visible(timeout=20_000)
        await page.get_by_role("button", name="Keep").click()
        kept = {}
        for name in ("Save as Markdown", "Save as a page"):
            async with page.expect_download() as waiting:
                await page.get_by_role("button", name=name).click()
            download = await waiting.value
            kept[name] = await download.path()
        markdown = kept["Save as Markdown"].read_text("utf-8")
        assert markdown.startswith("# The Emerald City\n\n**The Guardian of the Gates**\n\nAh. I heard the bell.\n")
        assert markdown.endswith("The \\<b\\>gate\\</b\\> opens. \\*Wide.\\*\n\n- Go & see.\n")
        alone = tmp_path / "kept.html"
        alone.write_bytes(kept["Save as a page"].read_bytes())
        assert "<script" not in alone.read_text("utf-8")
        await page.goto(alone.as_uri())
        await expect(page.get_by_text("The <b>gate</b> opens. *Wide.*")).to_be_visible()
        await expect(page.get_by_text("Go & see.")).to_be_visible()


async def test_another_world_is_shown_as_itself(page: Page, tmp_path: Path, keep_picture: Keep) -> None:
    async with FakePlay(wait_s=0.1, line_s=0.1) as server:
        server.world, server.title = "quiet_shore", "The Quiet Shore"
        server.fields = [{"key": "place", "label": "Where you sit", "default": "somewhere comfortable"}]
        await begin(page, server.address)
        await expect(page.get_by_role("heading", name="The Quiet Shore")).to_be_visible()
        assert await page.title() == "The Quiet Shore · Overture"
        await page.get_by_role("button", name="Memory").click()
        await expect(page.get_by_label("Where you sit")).to_have_attribute("placeholder", "somewhere comfortable")
        await page.keyboard.press("Escape")
        await go_in(page)
        await expect(page.locator(".slide.shown")).to_have_count(1)
        await keep_picture(page, "another-world")
        await page.get_by_role("button", name="Keep").click()
        async with page.expect_download() as waiting:
            await page.get_by_role("button", name="Save as Markdown").click()
        saved = await waiting.value
        assert saved.suggested_filename == "quiet-shore.md"
        await saved.save_as(tmp_path / "story.md")
        assert (tmp_path / "story.md").read_text().startswith("# The Quiet Shore\n")


async def test_motion_can_be_reduced(browser: Browser) -> None:
    context = await browser.new_context(reduced_motion="reduce")
    page = await context.new_page()
    async with FakePlay(wait_s=0.1) as server:
        await begin(page, server.address)
        await go_in(page)
        moving = await page.evaluate("document.getAnimations().filter((one) => one.playState === 'running').length")
        assert moving == 0


async def test_the_pictures_turn(browser: Browser) -> None:
    page = await browser.new_page()
    await page.clock.install()
    async with FakePlay(wait_s=60, line_s=0) as server:
        await begin(page, server.address)
        slides = page.locator("#pictures .slide")
        await expect(slides).to_have_count(1)
        await page.clock.run_for(17_000)
        await expect(slides).to_have_count(2)
        await expect(page.locator("#pictures .slide.shown")).to_have_count(1)
    await page.close()
