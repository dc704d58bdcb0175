"""The planner's dashboard in Chromium: `streamlit run planner/dashboard.py`, as `make dashboard` runs it."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from playwright.async_api import Browser, Page, expect
from pytest_asyncio import fixture

from tests.local.tiny_stack import until

ROOT = Path(__file__).resolve().parents[2]
#: A simulation is run for each change, on whatever cores are free.
PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running dashboard."""
    if importlib.util.find_spec("streamlit") is None:
        remedy = "make .venv/.dashboard installs the group planner"
        if os.environ.get("CI"):
            pytest.fail(remedy)
        pytest.skip(remedy)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://localhost:{port}"
    command = [sys.executable, "-m", "streamlit", "run", "planner/dashboard.py", "--browser.gatherUsageStats", "false"]
    command += ["--client.toolbarMode", "viewer", "--server.headless", "true", "--server.port", str(port)]
    variables = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'lambda'}"}
    log = tmp_path_factory.mktemp("dashboard") / "log"
    with (
        log.open("w") as lines,
        subprocess.Popen(command, cwd=ROOT, env=variables, stdout=lines, stderr=lines) as server,
    ):

        def answers() -> bool:
            assert server.poll() is None, log.read_text()
            try:
                return bool(urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).status == 200)
            except (urllib.error.URLError, OSError):
                return False

        try:
            until(answers, within_s=120)
            yield address
        finally:
            server.terminate()


@fixture(loop_scope="session")
async def desk(browser: Browser, dashboard: str) -> AsyncIterator[Page]:
    """The dashboard's page, drawn once; it fails the test for whatever the browser's console calls an error."""
    page = await browser.new_page(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
    page.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    await page.goto(f"{dashboard}/?model.shape=1B&traffic.visits_per_day=40&place.region=eu-north-1")
    await _drawn(page)
    yield page
    await page.close()
    assert not wrong


async def _drawn(page: Page) -> None:
    await expect(page.get_by_test_id("stMetricValue").first).to_be_visible(timeout=PATIENCE_MS)
    await _rested(page)


async def _rested(page: Page) -> None:
    still = page.locator("[data-testid=stApp][data-test-script-state=notRunning]")
    await expect(still).to_be_visible(timeout=PATIENCE_MS)


async def _figures(page: Page) -> list[str]:
    return await page.get_by_test_id("stMetricValue").all_inner_texts()


async def test_a_slider_changes_the_answers_and_the_address_and_the_address_brings_them_back(
    desk: Page, keep_picture: Callable[[Page, str], Awaitable[None]]
) -> None:
    before = await _figures(desk)
    assert len(before) == 4
    assert before[0].startswith("$")
    slider = desk.get_by_role("slider", name="linger s")
    for _ in range(6):
        await slider.press("ArrowRight")
    await expect(slider).to_have_value("60")
    await desk.wait_for_url(lambda url: "place.linger_s=60" in url)
    await expect(desk.get_by_test_id("stMetricValue").first).not_to_have_text(before[0], timeout=PATIENCE_MS)
    await _rested(desk)
    after = await _figures(desk)
    assert _dollars(after[0]) > _dollars(before[0]), "a storyteller that lingers is paid for"
    asked = parse_qs(urlsplit(desk.url).query)
    assert asked["model.shape"] == ["1B"]
    assert asked["place.region"] == ["eu-north-1"]
    await keep_picture(desk, "dashboard")
    await desk.reload()
    await _drawn(desk)
    await expect(desk.get_by_role("slider", name="linger s")).to_have_value("60")
    assert await _figures(desk) == after


async def test_scenario_and_tables_can_be_taken_along(desk: Page) -> None:
    async with desk.expect_download() as coming:
        await desk.get_by_role("button", name="Scenario as YAML", exact=True).click()
    scenario = yaml.safe_load(_read(await (await coming.value).path()))
    assert scenario["model"] == {"shape": "1B"}
    assert scenario["place"] == {"region": "eu-north-1"}
    await desk.get_by_test_id("stSidebar").get_by_text("Regions", exact=True).click()
    async with desk.expect_download() as coming:
        await desk.get_by_role("button", name="CSV", exact=True).click()
    lines = _read(await (await coming.value).path()).splitlines()
    assert lines[0].startswith("region,where,kind,")
    assert any(line.startswith("eu-north-1,") for line in lines)


@pytest.mark.parametrize("name", ["Regions", "Ladder", "Thesis", "Benches", "Backstage"])
async def test_a_page_is_drawn_without_an_error(desk: Page, name: str) -> None:
    await desk.get_by_test_id("stSidebar").get_by_text(name, exact=True).click()
    await _rested(desk)
    sign = {"Backstage": "stTextInput", "Benches": "stDataFrame"}.get(name, "stVegaLiteChart")
    await expect(desk.get_by_test_id(sign).first).to_be_visible(timeout=PATIENCE_MS)
    await expect(desk.get_by_test_id("stException")).to_have_count(0)
    await expect(desk.get_by_test_id("stAlert")).to_have_count(0)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _dollars(text: str) -> float:
    return float(text.removeprefix("$").replace(",", ""))
