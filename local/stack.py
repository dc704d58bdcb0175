"""The whole of it: one port for visitors, one for Lambda, DynamoDB, and every process, begun and ended together.

    async with LocalStack(overture()) as stack:
        print(stack.url)

`running(plan)` does the same in a thread, for tests that are not async. Either takes a free port
unless told one, and raises `LocalError` with a sentence when something is in the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from local.aws.api_gateway.connections import Connections
from local.aws.api_gateway.websocket_api import Gateway
from local.aws.dynamodb.api import Dynamodb
from local.aws.functions.environment import Environment, Outcome, runtime_argv
from local.aws.functions.keeper import Keeper
from local.aws.functions.lambda_api import lambda_app
from local.aws.functions.logs import Logs
from local.aws.functions.service import LambdaService
from local.pages import add_pages
from local.plan import LocalError, Plan, Schedule

ROOT = Path(__file__).resolve().parent.parent
#: Connections that may wait to be accepted: as many as come while the loop has something else to do.
BACKLOG = 1024
T = TypeVar("T")


class LocalStack:
    """Runs a `Plan`. `folder` is where the handlers are imported from, `logs` where what they print goes.

    Inside the context: `url` (where a visitor goes), `port`, `lambda_url`, `dynamodb_url`, `variables`
    (what boto3 needs in a test's own process), `service`, `gateway`.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        port: int = 0,
        folder: Path = ROOT,
        logs: Path = ROOT / "build" / "logs",
        echo: bool = False,
        runtime: Callable[[str], list[str]] = runtime_argv,
    ) -> None:
        self.plan = plan
        self.port = port
        self.logs = Logs(logs, echo=echo)
        self.stopping = asyncio.Event()
        self._folder = folder
        self._runtime = runtime
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> LocalStack:
        try:
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    async def _start(self) -> None:
        visitors = listen(self.port)
        for listener in visitors:
            self._exit.callback(listener.close)
        self.port = visitors[0].getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        invokes = socket.create_server(("127.0.0.1", 0))
        self._exit.callback(invokes.close)
        self.lambda_url = f"http://127.0.0.1:{invokes.getsockname()[1]}"
        keeper = self._exit.enter_context(Keeper())
        self.dynamodb_url = ""
        if self.plan.table is not None:
            self.dynamodb_url = self._exit.enter_context(Dynamodb(self.plan.table)).url
        self.variables = {
            "AWS_ENDPOINT_URL_LAMBDA": self.lambda_url,
            "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": f"http://127.0.0.1:{self.port}",
            "AWS_ENDPOINT_URL_DYNAMODB": self.dynamodb_url,
        }
        own = [self.url, f"http://127.0.0.1:{self.port}", f"http://[::1]:{self.port}"]
        origins = (*own, *self.plan.origins)
        plan = replace(self.plan, origins=origins)
        self.service = await self._exit.enter_async_context(
            LambdaService(
                plan.functions,
                plan.lambdas,
                keeper=keeper,
                logs=self.logs,
                folder=self._folder,
                variables={"OVERTURE_ORIGINS": ",".join(origins), **plan.environment, **self.variables},
                runtime=self._runtime,
            )
        )
        self.gateway = Gateway(self.service, plan)
        for schedule in plan.schedules:
            timer = asyncio.create_task(self._repeat(schedule))
            self._exit.callback(timer.cancel)
        visitors_app = self._visitors_app(plan)
        visitors_app.on_shutdown.append(lambda _: self.gateway.close())
        await self._serve(visitors_app, visitors)
        await self._serve(lambda_app(self.service), [invokes])

    def _visitors_app(self, plan: Plan) -> web.Application:
        app = web.Application(client_max_size=plan.lambdas.payload_bytes)
        app.router.add_get("/socket", self.gateway.connect)
        app.router.add_route("*", "/@connections/{id}", Connections(self.gateway, plan.gateway).handle)
        app.router.add_get("/_local/environments", self._environments)
        add_pages(app, plan, self.service)
        return app

    async def _serve(self, app: web.Application, listeners: list[socket.socket]) -> None:
        # Handlers are not waited for at the end: whoever still waits for us waits in vain.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._exit.push_async_callback(runner.cleanup)
        for listener in listeners:
            await web.SockSite(runner, listener, backlog=BACKLOG).start()

    async def _repeat(self, schedule: Schedule) -> None:
        """Leaves an event for a function again and again, as EventBridge Scheduler does."""
        while True:
            await asyncio.sleep(schedule.every_s)
            self.service.send(schedule.function, json.dumps(schedule.event).encode())

    async def _environments(self, _: web.Request) -> web.Response:
        return web.json_response([one.describe() for one in self.environments()])

    # --- for tests and for the command line ---------------------------------------------------

    async def prestart(self) -> None:
        """Starts the environments that shall be warm. Raises `LocalError` if one cannot initialise."""
        for name, error in (await self.service.prestart()).items():
            said = _message(error)
            raise LocalError(f"The function {name} did not start: {said} See {self.logs.path(name)}.")

    def environments(self, name: str | None = None) -> list[Environment]:
        """Every environment started so far, the ended ones included, of one function or of all."""
        return self.service.environments(name)

    async def invoke(self, name: str, payload: bytes = b"{}") -> Outcome:
        """Invokes a function as the Invoke API does."""
        return await self.service.invoke(name, payload)

    async def visit(self) -> None:
        """Asks for the page and all that it asks for before its WebSocket. Raises `LocalError`."""
        asked = ["GET /", "GET /config.json", *self.plan.http]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", headers={"Origin": self.url}) as session:
            for what in asked:
                async with session.request(*what.split(" ", 1)) as response:
                    if response.status >= 400:
                        said = f"{what} answers {response.status}, so no visitor could come in"
                        raise LocalError(f"{said}; see {self.logs.folder}, or get the whole repository again.")


class RunningStack:
    """A `LocalStack` (`stack`) that runs in a thread of its own; what is here may be called from any other."""

    def __init__(self, stack: LocalStack, loop: asyncio.AbstractEventLoop) -> None:
        self.stack = stack
        self.url = stack.url
        self.lambda_url = stack.lambda_url
        self.dynamodb_url = stack.dynamodb_url
        self.variables = stack.variables
        self.loop = loop

    def call(self, work: Coroutine[Any, Any, T], timeout_s: float = 60) -> T:
        """Runs a coroutine of the stack in its loop and waits for the result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)

    def environments(self, name: str | None = None) -> list[dict[str, Any]]:
        """As `LocalStack.environments`, each as `GET /_local/environments` describes it."""
        return [one.describe() for one in self.stack.environments(name)]

    def invoke(self, name: str, payload: bytes = b"{}") -> Outcome:
        """As `LocalStack.invoke`."""
        return self.call(self.stack.invoke(name, payload))

    def log(self, name: str) -> str:
        """Everything a function has printed so far."""
        return self.stack.logs.read(name)

    def stop(self) -> None:
        """Begins the end; `running` waits for it."""
        self.loop.call_soon_threadsafe(self.stack.stopping.set)


@contextlib.contextmanager
def running(plan: Plan, *, prestart: bool = True, **how: Any) -> Iterator[RunningStack]:
    """Runs a plan in a thread until the context ends; `how` is what `LocalStack` takes."""
    started: Future[RunningStack] = Future()

    async def main() -> None:
        async with LocalStack(plan, **how) as stack:
            if prestart:
                await stack.prestart()
            started.set_result(RunningStack(stack, asyncio.get_running_loop()))
            await stack.stopping.wait()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=run, name="local-stack")
    thread.start()
    try:
        found = started.result()
        try:
            yield found
        finally:
            found.stop()
    finally:
        thread.join()


def listen(port: int) -> list[socket.socket]:
    """Listens on this machine's own addresses, IPv4 and, where there is one, IPv6: browsers try it first.

    0 takes a free port. Raises `LocalError` if another program has the port.
    """
    try:
        first = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise _in_use(port, error) from None
    listeners = [first]
    if socket.has_ipv6:
        try:
            listeners.append(socket.create_server(("::1", first.getsockname()[1]), family=socket.AF_INET6))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and port:
                first.close()
                raise _in_use(port, error) from None
    return listeners


def _in_use(port: int, error: OSError) -> LocalError:
    if error.errno == errno.EADDRINUSE:
        return LocalError(f"Port {port} is in use by another program; choose another one, e.g. PORT={port + 1}.")
    if error.errno == errno.EACCES:
        return LocalError(f"Port {port} may not be used without special rights; choose one above 1023.")
    return LocalError(f"Port {port} cannot be used ({os.strerror(error.errno or 0)}); choose another one.")


def _message(outcome: Outcome) -> str:
    try:
        said = str(json.loads(outcome.payload).get("errorMessage") or outcome.payload.decode())
    except ValueError:
        said = outcome.payload.decode(errors="replace")
    return said if said.endswith((".", "!", "?")) else f"{said}."
