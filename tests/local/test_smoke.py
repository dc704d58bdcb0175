"""The smoke test of a deployed stack, against the local one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bench.smoke import ConcurrencySwitch, Smoke
from local.play import overture
from local.stack import LocalStack
from tests.tiny_llama import write_tiny_llama


class LocalSwitch:
    """Sets the local storyteller's concurrency, as Lambda's PutFunctionConcurrency does, and ends idle environments."""

    def __init__(self, stack: LocalStack) -> None:
        self._pool = stack.service._pools["storyteller"]
        self._before = self._pool.function
        self._loop = asyncio.get_running_loop()

    def off(self) -> None:
        self._pool.function = replace(self._before, concurrency=0)
        asyncio.run_coroutine_threadsafe(self._pool.close(), self._loop).result()

    def on(self) -> None:
        self._pool.function = self._before


@pytest.mark.timeout(600)
async def test_a_whole_stack_passes_with_the_kill_switch_and_nothing_private(tmp_path: Path) -> None:
    model = write_tiny_llama(tmp_path / "llama", context=4096)
    plan = overture(model=model, wait_s=1).change(
        "storyteller",
        environment={"OVERTURE_MAX_TOKENS": "20", "OVERTURE_TEMPERATURE": "0"},
        event_age_s=3,
    )
    async with LocalStack(plan, logs=tmp_path / "logs") as stack:
        await stack.prestart()
        report = await Smoke(stack.url, LocalSwitch(stack), off_s=8).run()
    assert report.failure == "", report.markdown()
    steps = dict(report.steps)
    for name in (
        "page",
        "ticket",
        "welcome",
        "first beat",
        "written answer",
        "storyteller awake after hello",
        "first scene after hello",
        "a line of the story: first token",
        "return",
        "turned on again: reply",
    ):
        assert 0 <= steps[name] < 300
    assert int(report.figures["a line of the story: tokens"]) > 0
    written = report.markdown()
    assert "All steps passed." in written
    assert "localhost" not in written
    assert "127.0.0.1" not in written


async def test_an_address_where_nothing_is_fails_in_a_sentence() -> None:
    report = await Smoke("http://127.0.0.1:9").run()
    assert report.failure.startswith("An answer was not as the protocol says")
    assert "Failed: " in report.markdown()


@pytest.mark.parametrize("before", [None, 2])
def test_the_switch_puts_back_what_it_found(before: int | None) -> None:
    class Lambda:
        def __init__(self) -> None:
            self.value = before

        def get_function_concurrency(self, FunctionName: str) -> dict[str, int]:
            return {} if self.value is None else {"ReservedConcurrentExecutions": self.value}

        def put_function_concurrency(self, FunctionName: str, ReservedConcurrentExecutions: int) -> None:
            self.value = ReservedConcurrentExecutions

        def delete_function_concurrency(self, FunctionName: str) -> None:
            self.value = None

    client = Lambda()
    switch = ConcurrencySwitch(client, "storyteller")
    switch.off()
    assert client.value == 0
    switch.on()
    assert client.value == before
