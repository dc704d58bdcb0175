"""A real Chromium for the browser tests, and a place for their pictures."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect
from pytest_asyncio import fixture, is_async_test

#: Without these Chromium, as root and without a network, does not start or looks for Google's hosts.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=20_000)  # a machine that others use, too, may be slow
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"


def find_chromium() -> str:
    """Where Chromium is. Without one these tests fail in CI and are skipped elsewhere, saying so."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    remedy = "no Chromium here: apt-get install --no-install-recommends chromium"
    if os.environ.get("CI"):
        pytest.fail(remedy)
    pytest.skip(remedy)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for all browser tests, so that a module's can share one Chromium; each has a context of its own."""
    for item in items:
        if Path(__file__).parent in item.path.parents and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium a module: what a page draws goes on costing half a core for as long as it lives."""
    path = find_chromium()
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        await chromium.close()


@fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A desktop page without motion; it fails the test where a script of the page fails."""
    page = await browser.new_page(viewport={"width": 1200, "height": 800}, reduced_motion="reduce")
    page.set_default_timeout(60_000)
    wrong = watch(page)
    yield page
    await page.close()
    assert not wrong


def watch(page: Page) -> list[str]:
    """Where it will stand what goes wrong in the page's scripts."""
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if "Content Security" in message.text else None)
    return wrong


@pytest.fixture
def keep_picture() -> Callable[[Page, str], Awaitable[None]]:
    """`await keep_picture(page, "prologue")`: a screenshot among the test artifacts, named by act and width."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    async def keep(page: Page, name: str) -> None:
        width = await page.evaluate("innerWidth")
        await page.screenshot(path=SCREENSHOTS / f"{name}-{width}.png")

    return keep


@pytest.fixture(params=[(360, 740), (1280, 800)], ids=["360", "1280"])
def viewport(request: pytest.FixtureRequest) -> ViewportSize:
    """A phone's size and a desktop's."""
    width, height = request.param
    return {"width": width, "height": height}


@fixture(loop_scope="session")
async def sized_page(browser: Browser, viewport: ViewportSize) -> AsyncIterator[Page]:
    """A phone's page and a desktop's, without motion; each fails the test where a script of the page fails."""
    context = await browser.new_context(viewport=viewport, has_touch=viewport["width"] < 600, reduced_motion="reduce")
    page = await context.new_page()
    page.set_default_timeout(60_000)
    wrong = watch(page)
    yield page
    await context.close()
    assert not wrong
