"""The page against the local stack: `python -m local`, its real handlers and its real storyteller.

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
from tests.browser.test_page import begin

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
async def local_stack(wait_s: float) -> AsyncIterator[str]:
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
    # Two stacks at a time: a visitor mostly waits, so they do not disturb each other.
    async with asyncio.TaskGroup() as plays:
        for wait_s in waits_s:
            plays.create_task(play_through(browser, keep_picture, wait_s))


async def play_through(browser: Browser, keep_picture: Keep, wait_s: float) -> None:
    page = await browser.new_page(viewport={"width": 1200, "height": 800})
    async with local_stack(wait_s) as address:
        await page.goto(address)
        await expect(page.get_by_role("heading", name="The Emerald City")).to_be_visible(timeout=10_000)
        await page.evaluate(WATCH)
        await page.get_by_role("button", name="Begin").click()
        await expect(page.locator("#log .line").first).to_be_visible(timeout=10_000)
        await keep_picture(page, f"wait-{wait_s}-1-prologue")
        line = page.get_by_label("Say or ask something")
        await line.fill("What can you do?")
        await line.press("Enter")
        await expect(page.locator(".turn[data-state=answered] .told").first).to_be_visible(timeout=10_000)

        await answer_until_the_curtain(page, within_s=wait_s + 90)
        opening = page.locator(".turn[data-id=opening]")
        await expect(opening.locator("footer .row")).to_be_visible(timeout=60_000)
        await keep_picture(page, f"wait-{wait_s}-2-story")
        assert await page.evaluate("longest") < 3000
        assert await page.evaluate("takenBack") == []

        await line.fill("I knock on the green door")
        await line.press("Enter")
        last = page.locator(".turn.last", has_text="I knock on the green door")
        await expect(last.locator("footer .row")).to_be_visible(timeout=60_000)
        assert len(await last.locator(".told").first.text_content() or "") > 20
    await page.close()


async def test_what_a_visitor_may_do_with_a_reply(browser: Browser) -> None:
    """Retry, undo, memory and a reload, all against the local stack."""
    page = await browser.new_page(reduced_motion="reduce")
    async with local_stack(0) as address:
        await begin(page, address)
        name = page.get_by_label("Your reply")
        await name.fill("my name is Ada", timeout=20_000)
        await name.press("Enter")
        await expect(page.locator(".said", has_text="Ada")).to_be_visible()
        await page.get_by_role("button", name="Memory").click()
        await expect(page.get_by_role("dialog").get_by_label("Name")).to_have_value("Ada")
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Go in now").click()
        opening = page.locator(".turn[data-id=opening].last")
        await expect(opening.locator("footer .row")).to_be_visible(timeout=60_000)
        await opening.get_by_role("button", name="Retry").click()
        await expect(opening.locator("footer .row")).to_be_hidden(timeout=20_000)
        await expect(opening.locator("footer .row")).to_be_visible(timeout=60_000)
        told = await opening.locator(".told").all_text_contents()
        line = page.get_by_label("Say or ask something")
        await line.fill("I whistle")
        await line.press("Enter")
        last = page.locator(".turn.last", has_text="I whistle")
        await expect(last.locator("footer .row")).to_be_visible(timeout=60_000)
        await last.get_by_role("button", name="Undo").click()
        await expect(page.locator(".turn", has_text="I whistle")).to_have_count(0)
        await page.reload()
        await expect(opening.locator(".told").first).to_be_visible(timeout=20_000)
        assert await opening.locator(".told").all_text_contents() == told
        await expect(page.locator(".turn", has_text="I whistle")).to_have_count(0)
        await assert_accessible(page, "story")
    await page.close()


#: Cuts the connection in the middle of the opening, as soon as some of it stands there. `opened` counts connections.
CUT = """() => {
  window.opened = 0;
  const Real = WebSocket;
  window.WebSocket = class extends Real {
    constructor(...given) {
      super(...given);
      window.opened += 1;
      window.socket = this;
    }
  };
  addEventListener("DOMContentLoaded", () => {
    const watcher = new MutationObserver(() => {
      if (!document.querySelector(".turn[data-id=opening] .told")) return;
      watcher.disconnect();
      window.cutAt = document.querySelector(".turn[data-id=opening] .reply").textContent.length;
      socket.close();
    });
    watcher.observe(document, { subtree: true, childList: true, characterData: true });
  });
}"""


async def test_lost_and_found(browser: Browser, keep_picture: Keep) -> None:
    """A connection lost in the middle of a reply, a second window, a small phone: three visitors of the local stack."""
    async with local_stack(2) as address, asyncio.TaskGroup() as visitors:
        # Each leaves the stack open for the others: it closes when the last has gone.
        for visit in (lose_the_connection, open_a_second_window, come_with_a_phone):
            visitors.create_task(visit(browser, keep_picture, address))


async def lose_the_connection(browser: Browser, keep_picture: Keep, address: str) -> None:
    page = await browser.new_page()
    await page.add_init_script(f"({CUT})()")
    await page.add_init_script(f"addEventListener('DOMContentLoaded', {WATCH})")
    await begin(page, address)
    await page.get_by_role("button", name="Go in now").click(timeout=20_000)
    opening = page.locator(".turn[data-id=opening]")
    await expect(opening.get_by_role("button", name="Retry")).to_be_visible(timeout=90_000)
    told = await opening.locator(".reply").text_content() or ""
    assert await page.evaluate("opened") == 2
    assert 0 < await page.evaluate("cutAt") <= len(told)
    assert await page.evaluate("takenBack") == [], "what stood there stayed"
    await page.reload()
    await expect(opening.locator(".reply")).to_have_text(told, timeout=20_000)
    await page.close()


async def open_a_second_window(browser: Browser, keep_picture: Keep, address: str) -> None:
    context = await browser.new_context(reduced_motion="reduce")
    first, second = await context.new_page(), await context.new_page()
    await begin(first, address)
    await first.get_by_role("button", name="Go in now").click(timeout=20_000)
    opening = ".turn[data-id=opening] .reply"
    await expect(first.get_by_role("button", name="Retry")).to_be_visible(timeout=90_000)
    told = await first.locator(opening).text_content() or ""
    await second.goto(address)
    await expect(second.locator(opening)).to_have_text(told, timeout=20_000)
    elsewhere = "This story is open in another window"
    await expect(first.locator("#connection")).to_contain_text(elsewhere, timeout=20_000)
    await first.get_by_role("button", name="Take it back here").click()
    await expect(second.locator("#connection")).to_contain_text(elsewhere, timeout=20_000)
    line = first.get_by_label("Say or ask something")
    await line.fill("I ask the lamplighter how many lamps there are")
    await line.press("Enter")
    await expect(first.locator(".turn.last", has_text="how many lamps").locator("footer .row")).to_be_visible(
        timeout=90_000
    )
    # What the world knows about it was found, told to the storyteller, and can be seen.
    await first.keyboard.press("F2")
    await expect(first.get_by_role("dialog", name="Backstage")).to_contain_text("lights four hundred lamps")
    await context.close()


async def come_with_a_phone(browser: Browser, keep_picture: Keep, address: str) -> None:
    context = await browser.new_context(
        viewport={"width": 320, "height": 568}, has_touch=True, is_mobile=True, reduced_motion="reduce"
    )
    page = await context.new_page()

    async def stand(act: str) -> None:
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320, act
        await keep_picture(page, f"stack-phone-{act}")
        await assert_accessible(page, act)

    await page.goto(address)
    await expect(page.get_by_role("heading", name="The Emerald City")).to_be_visible(timeout=20_000)
    await stand("1-title")
    await page.get_by_role("button", name="Begin").tap()
    await expect(page.get_by_label("Your reply")).to_be_visible(timeout=30_000)
    await stand("2-prologue")
    await page.get_by_role("button", name="Go in now").tap()
    await expect(page.locator(".turn[data-id=opening] footer .row")).to_be_visible(timeout=90_000)
    await stand("3-story")
    await page.get_by_role("button", name="Backstage").tap()
    await expect(page.get_by_role("dialog", name="Backstage")).to_be_visible()
    await stand("4-backstage")
    await context.close()
