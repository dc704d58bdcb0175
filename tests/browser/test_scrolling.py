"""Who scrolls: the reader, always; the page only where the reader follows."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser.fake_play import FakePlay
from tests.browser.test_page import say

LONG = "\n".join(f"Paragraph {number}. The street goes on and on, and so do the lamps." for number in range(40))


async def come_to_a_long_story(page: Page, server: FakePlay) -> None:
    """A story longer than the window, its last reply being told slowly."""
    server.turns.append({"id": "b", "said": "I walk", "reply": f"{LONG}\n> On.", "state": "done", "take": 1})
    server.stories[server.session] = server.turns
    server.awake = True
    server._woken.set()
    await page.add_init_script(f"localStorage.setItem('overture.session', '{server.session}')")
    await page.goto(server.address)
    await expect(page.get_by_role("button", name="On.")).to_be_in_viewport()


async def top(page: Page) -> float:
    return float(await page.evaluate("document.querySelector('main').scrollTop"))


async def test_scrolling_up_while_a_reply_streams_is_not_fought(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1, token_s=0.05) as server:
        await come_to_a_long_story(page, server)
        await say(page, "I look " + "far and wide " * 60)
        last = page.locator(".turn.last, .turn[data-state=telling]").last
        await expect(last.locator(".told")).to_contain_text("You do", timeout=20_000)
        await page.locator("main").hover()
        before = await top(page)
        for _ in range(4):
            await page.mouse.wheel(0, -30)
            await page.wait_for_timeout(120)
        held = await top(page)
        assert held <= before - 60
        await page.wait_for_timeout(500)  # tokens come meanwhile
        assert await top(page) == held
        newest = page.get_by_role("button", name="To the newest")
        await expect(newest).to_be_visible()
        await newest.click()
        await expect(newest).to_be_hidden()
        await expect(page.locator(".turn").last.locator("footer")).to_be_in_viewport(timeout=20_000)


async def test_keys_that_scroll_up_end_the_following_too(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1, token_s=0.05) as server:
        await come_to_a_long_story(page, server)
        await say(page, "I look " + "far and wide " * 60)
        await expect(page.locator(".turn[data-state=telling]")).to_be_visible(timeout=20_000)
        await page.locator("#log").focus()
        await page.keyboard.press("PageUp")
        await page.wait_for_timeout(600)
        height = await page.evaluate(
            "(({scrollHeight: all, clientHeight: seen}) => all - seen)(document.querySelector('main'))"
        )
        assert await top(page) < height - 200
        await expect(page.get_by_role("button", name="To the newest")).to_be_visible()


async def assert_not_fought(page: Page) -> None:
    """What was scrolled to stays in view while tokens come, and the way to the newest is offered."""
    held = await top(page)
    told = page.locator(".turn[data-state=telling]")
    before = await told.inner_text()
    await expect(told).not_to_have_text(before)
    assert await top(page) <= held, "the last of the reader's own movement may come late; the page's would be down"
    await expect(page.get_by_role("button", name="To the newest")).to_be_visible()


async def test_scrolling_by_script_is_not_fought(sized_page: Page) -> None:
    """As a screen reader's cursor scrolls: without a wheel, a finger or a key."""
    page = sized_page
    async with FakePlay(wait_s=0.1, token_s=0.1) as server:
        await come_to_a_long_story(page, server)
        await say(page, "I look " + "far and wide " * 60)
        await expect(page.locator(".turn[data-state=telling] .told")).to_contain_text("You do", timeout=20_000)
        before = await top(page)
        await page.evaluate("document.querySelector('main').scrollTop -= 60")
        await expect(page.get_by_role("button", name="To the newest")).to_be_visible()
        assert before - 61 <= await top(page) < before
        await assert_not_fought(page)


async def test_scrolling_by_touch_is_not_fought(sized_page: Page) -> None:
    page = sized_page
    if not await page.evaluate("navigator.maxTouchPoints"):
        pytest.skip("no touch on this device")
    async with FakePlay(wait_s=0.1, token_s=0.1) as server:
        await come_to_a_long_story(page, server)
        await say(page, "I look " + "far and wide " * 60)
        await expect(page.locator(".turn[data-state=telling] .told")).to_contain_text("You do", timeout=20_000)
        before = await top(page)
        box = await page.locator("main").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + 40
        session = await page.context.new_cdp_session(page)

        async def touch(kind: str, *points: dict[str, float]) -> None:
            await session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

        await touch("touchStart", {"x": x, "y": y})
        for moved in range(10, 121, 10):  # a finger that moves down
            await touch("touchMove", {"x": x, "y": y + moved})
        await expect(page.get_by_role("button", name="To the newest")).to_be_visible()
        assert await top(page) <= before - 60
        await assert_not_fought(page)  # while the finger rests ...
        await touch("touchEnd")
        await assert_not_fought(page)  # ... and when it is gone


async def test_ones_own_line_always_comes_into_view(sized_page: Page) -> None:
    page = sized_page
    async with FakePlay(wait_s=0.1, token_s=0.05) as server:
        await come_to_a_long_story(page, server)
        await page.locator("main").hover()
        await page.mouse.wheel(0, -600)
        await expect(page.get_by_role("button", name="To the newest")).to_be_visible()
        await say(page, "I call out")
        await expect(page.locator(".said", has_text="I call out")).to_be_in_viewport()
        await expect(page.get_by_role("button", name="To the newest")).to_be_hidden()
