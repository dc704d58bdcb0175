"""The page against the real house: `python -m local`, its real handlers and its real storyteller.

One play for each length of the wait, from none to a minute, each with a watch on the screen: in all of it
nothing may stand still for three seconds.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.test_extras import assert_accessible

ROOT = Path(__file__).parents[2]
Keep = Callable[[Page, str], Awaitable[None]]

#: Remembers how long the screen ever stood still with nobody to wait for, and whether text was ever taken back.
WATCH = """() => {
  window.longest = 0;
  window.takenBack = [];
  let last = performance.now();
  let before = "";
  let asked = false;  // while a question stands, it is the visitor who is waited for
  new MutationObserver(() => {
    if (!asked) longest = Math.max(longest, performance.now() - last);
    last = performance.now();
    asked = document.querySelector("form.question fieldset:not([disabled])") !== null;
    const told = [...document.querySelectorAll('.turn[data-id="opening"] .told')].map((p) => p.textContent).join("|");
    if (!told.startsWith(before)) takenBack.push([before, told]);
    before = told;
  }).observe(document, { subtree: true, childList: true, characterData: true });
}"""


@asynccontextmanager
async def house(wait_s: float) -> AsyncIterator[str]:
    """`python -m local` on a free port. Gives its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "local", "--port", "0", "--wait", str(wait_s),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(90):
            said = b""
            while not (found := re.search(rb"http://localhost:\d+", said)):
                line = await process.stdout.readline()
                assert line, said.decode()
                said += line
        yield found.group().decode()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def answer_until_the_curtain(page: Page, *, within_s: float) -> None:
    """Does as a visitor would: replies to whatever is asked, until the story has begun."""
    replies = {"name": "Ada", "is with you": "an old friend", "have you come": "to find my hat", "glass": "gold"}
    question = page.locator("form.question fieldset:not([disabled])")
    told = page.locator(".turn:not([data-state=answered]) .told").first
    async with asyncio.timeout(within_s):
        while True:
            await expect(question.or_(told).first).to_be_visible(timeout=within_s * 1000)
            if await told.count():
                return
            asked = await question.locator("legend").text_content() or ""
            reply = next((reply for words, reply in replies.items() if words in asked), "just so")
            await question.get_by_label("Your reply").fill(reply)
            await question.get_by_role("button", name="Reply").click()
            await expect(page.locator(".said", has_text=reply)).to_be_visible()


@pytest.mark.parametrize("waits_s", [(0, 60), (2, 15)])
async def test_the_whole_play(browser: Browser, keep_picture: Keep, waits_s: tuple[float, ...]) -> None:
    # Two houses at a time: a visitor mostly waits, so they do not disturb each other.
    async with asyncio.TaskGroup() as plays:
        for wait_s in waits_s:
            plays.create_task(play_through(browser, keep_picture, wait_s))


async def play_through(browser: Browser, keep_picture: Keep, wait_s: float) -> None:
    page = await browser.new_page(viewport={"width": 1200, "height": 800})
    async with house(wait_s) as address:
        await page.goto(address)
        await page.evaluate(WATCH)
        await expect(page.locator("#log .line").first).to_be_visible(timeout=10_000)
        await keep_picture(page, f"wait-{wait_s}-1-prologue")
        line = page.get_by_label("Say or ask something")
        await line.fill("What can you do?")
        await line.press("Enter")
        await expect(page.locator(".turn[data-state=answered] .told").first).to_be_visible(timeout=10_000)

        await answer_until_the_curtain(page, within_s=wait_s + 90)
        opening = page.locator(".turn[data-id=opening]")
        await expect(opening.locator(".stats")).to_be_visible(timeout=60_000)
        await keep_picture(page, f"wait-{wait_s}-2-story")
        assert await page.evaluate("longest") < 3000
        assert await page.evaluate("takenBack") == []

        await line.fill("I knock on the green door")
        await line.press("Enter")
        last = page.locator(".turn.last", has_text="I knock on the green door")
        await expect(last.locator(".stats")).to_be_visible(timeout=60_000)
        assert len(await last.locator(".told").first.text_content() or "") > 20
    await page.close()


async def test_what_a_visitor_may_do_with_a_reply(browser: Browser) -> None:
    """Retry, undo, memory and a reload, all against the real house."""
    page = await browser.new_page(reduced_motion="reduce")
    async with house(0) as address:
        await page.goto(address)
        name = page.get_by_label("Your reply")
        await name.fill("my name is Ada", timeout=20_000)
        await name.press("Enter")
        await expect(page.locator(".said", has_text="Ada")).to_be_visible()
        await page.get_by_role("button", name="Memory").click()
        await expect(page.get_by_role("dialog").get_by_label("Name")).to_have_value("Ada")
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Go in now").click()
        opening = page.locator(".turn[data-id=opening].last")
        await expect(opening.locator(".stats")).to_be_visible(timeout=60_000)
        await opening.get_by_role("button", name="Retry").click()
        await expect(opening.locator(".stats")).to_be_hidden(timeout=20_000)
        await expect(opening.locator(".stats")).to_be_visible(timeout=60_000)
        told = await opening.locator(".told").all_text_contents()
        line = page.get_by_label("Say or ask something")
        await line.fill("I whistle")
        await line.press("Enter")
        last = page.locator(".turn.last", has_text="I whistle")
        await expect(last.locator(".stats")).to_be_visible(timeout=60_000)
        await last.get_by_role("button", name="Undo").click()
        await expect(page.locator(".turn", has_text="I whistle")).to_have_count(0)
        await page.reload()
        await expect(opening.locator(".told").first).to_be_visible(timeout=20_000)
        assert await opening.locator(".told").all_text_contents() == told
        await expect(page.locator(".turn", has_text="I whistle")).to_have_count(0)
        await assert_accessible(page, "story")
    await page.close()
