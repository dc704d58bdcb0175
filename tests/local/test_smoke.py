"""The smoke test of a deployed stack, against the local one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from botocore.exceptions import ClientError, NoCredentialsError

from bench.smoke import ConcurrencySwitch, Smoke, Switch, main
from local.play import overture
from local.stack import LocalStack
from tests.tiny_llama import write_tiny_llama


class LocalSwitch:
    """Sets the local storyteller's concurrency, as Lambda's PutFunctionConcurrency does, and ends idle environments."""

    def __init__(self, stack: LocalStack) -> None:
        self._pool = stack.service._pools["storyteller"]
        self._before = self._pool.function
        self._loop = asyncio.get_running_loop()

    def check(self) -> None:
        pass

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


class Raising:
    """A switch, or a client, that AWS does not answer."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def check(self) -> None:
        raise self._error

    off = on = check

    def get_function_concurrency(self, FunctionName: str) -> dict[str, int]:
        raise self._error


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}}, "GetFunctionConcurrency")


@pytest.mark.parametrize(
    ("switch", "sentence"),
    [
        (Raising(refusal("AccessDeniedException")), "AWS refused to turn the storyteller off or on: AccessDenied"),
        (Raising(NoCredentialsError()), "AWS was not reached to turn the storyteller off or on (NoCredentialsError)."),
        (
            ConcurrencySwitch(Raising(refusal("ResourceNotFoundException")), "no-such-function"),
            "There is no such function in this region: --function is the output StorytellerFunction",
        ),
        (
            ConcurrencySwitch(Raising(refusal("ThrottlingException")), "storyteller"),
            "AWS refused to turn the storyteller off or on: ThrottlingException.",
        ),
    ],
)
async def test_what_aws_refuses_is_a_failed_step(switch: Switch, sentence: str) -> None:
    report = await Smoke("http://127.0.0.1:9", switch).run()
    assert report.failure.startswith(sentence)


async def test_a_connection_that_is_refused_or_lost_is_a_failed_step() -> None:
    cut = asyncio.Event()

    async def socket(request: web.Request) -> web.StreamResponse:
        if not cut.is_set():
            return web.Response(status=403)
        opened = web.WebSocketResponse()
        await opened.prepare(request)
        await opened.close(code=1011)
        return opened

    async def config(request: web.Request) -> web.Response:
        here = f"//{request.host}"
        return web.json_response({"ticket": f"http:{here}/ticket", "socket": f"ws:{here}/socket"})

    async def ticket(_: web.Request) -> web.Response:
        return web.json_response({"ticket": "t"})

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="page")

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/config.json", config)
    app.router.add_post("/ticket", ticket)
    app.router.add_get("/socket", socket)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        assert (await Smoke(address).run()).failure == "The connection was refused with status 403."
        cut.set()
        failure = (await Smoke(address).run()).failure
        # Whether the close is met while sending or while waiting is the socket's affair.
        assert failure in {
            "The connection ended where it should not (ConnectionClosedError).",
            "The connection closed before the welcome came.",
        }
    finally:
        await runner.cleanup()


def test_the_function_is_looked_for_where_the_stack_was_deployed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def client(name: str, *, region_name: str) -> Raising:
        asked.append(region_name)
        return Raising(refusal("ResourceNotFoundException"))

    monkeypatch.setattr("boto3.client", client)
    monkeypatch.delenv("CDK_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    arguments = ["http://127.0.0.1:9", "--function", "storyteller", "--out", str(tmp_path / "report.md")]
    assert main(arguments) == main([*arguments, "--region", "eu-west-1"]) == 1
    assert asked == ["eu-north-1", "eu-west-1"]


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
    switch.check()
    switch.off()
    assert client.value == 0
    switch.on()
    assert client.value == before
