"""The Lambda service: invoke a function and wait, or leave an event; retries and destinations.

Public API: `LambdaService.invoke`, `.send`, `.environments`. `lambda_api` is its HTTP face.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import secrets
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from local.aws.functions.environment import Environment, Event, Outcome, runtime_argv
from local.aws.functions.keeper import Keeper
from local.aws.functions.logs import Logs
from local.aws.functions.pool import Pool, ThrottledError
from local.aws.functions.runtime_api import RuntimeApi
from local.plan import REGION, Function, LambdaLimits

#: What an environment keeps of the variables we were started with; AWS's own would lead to AWS.
INHERITED = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONHASHSEED")
INHERITED_PREFIXES = ("OMP_", "MKL_", "OVERTURE_")


class UnknownFunctionError(Exception):
    """No function of that name is part of the plan."""


class LambdaService:
    """Runs the functions of a plan. Use as an async context manager; leaving it kills every environment.

    `variables` are those that every environment gets beside its function's own, `runtime` gives the
    command that runs a handler.
    """

    def __init__(
        self,
        functions: Iterable[Function],
        limits: LambdaLimits,
        *,
        keeper: Keeper,
        logs: Logs,
        folder: Path,
        variables: Mapping[str, str],
        runtime: Callable[[str], list[str]] = runtime_argv,
    ) -> None:
        self.limits = limits
        self._keeper = keeper
        self._logs = logs
        self._folder = folder
        self._variables = variables
        self._runtime = runtime
        self._runtime_api = RuntimeApi(payload_bytes=limits.payload_bytes)
        self._pools = {
            function.name: Pool(function, limits, launch=self._launch, forget=self._runtime_api.close)
            for function in functions
        }
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> LambdaService:
        await self._runtime_api.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))
        await self._runtime_api.__aexit__()

    async def prestart(self) -> dict[str, Outcome]:
        """Starts what the plan wants started; gives the first error of each function that has one."""
        found = await asyncio.gather(*(pool.prestart() for pool in self._pools.values()))
        return {name: errors[0] for name, errors in zip(self._pools, found, strict=True) if errors}

    def function(self, name: str) -> Function:
        """The function with this name or ARN (a qualifier is allowed). Raises `UnknownFunctionError`."""
        short = name.split(":function:")[-1].split(":")[0]
        if short not in self._pools:
            raise UnknownFunctionError(short)
        return self._pools[short].function

    def environments(self, name: str | None = None) -> list[Environment]:
        """Every environment ever started, of one function or of all, oldest first."""
        pools = self._pools.values() if name is None else [self._pools[name]]
        return sorted((one for pool in pools for one in pool.environments), key=lambda one: one.started)

    async def invoke(
        self, name: str, payload: bytes, *, request_id: str | None = None, client_context: str | None = None
    ) -> Outcome:
        """Invokes and waits. A caller that gives up does not stop the function.

        Raises `ThrottledError` and `UnknownFunctionError`; whatever the function does is an `Outcome`.
        """
        pool = self._pools[self.function(name).name]
        event = Event(request_id or str(uuid.uuid4()), payload, _trace(), client_context)
        return await asyncio.shield(self._spawn(pool.run(event)))

    def send(self, name: str, payload: bytes, *, request_id: str | None = None) -> None:
        """Leaves an event for a function, to be worked on soon. Raises `UnknownFunctionError`."""
        pool = self._pools[self.function(name).name]
        self._spawn(self._see_through(pool, Event(request_id or str(uuid.uuid4()), payload, _trace())))

    # --- inside -------------------------------------------------------------------------------

    async def _see_through(self, pool: Pool, event: Event) -> None:
        """Works on one asynchronous event until it succeeds, its retries are used up or it is too old."""
        function = pool.function
        born = time.monotonic()
        pause = self.limits.throttled_s
        runs = 0
        outcome: Outcome | None = None
        condition = "EventAgeExceeded"
        while (left := function.event_age_s - (time.monotonic() - born)) > 0:
            try:
                outcome = await pool.run(event)
            except ThrottledError:
                await asyncio.sleep(min(pause, left))
                pause = min(pause * 2, self.limits.throttled_most_s)
                continue
            runs += 1
            if not outcome.failed or runs > function.retries:
                condition = "RetriesExhausted" if outcome.failed else "Success"
                break
            left = function.event_age_s - (time.monotonic() - born)
            await asyncio.sleep(max(0.0, min(self.limits.retry_s[min(runs, 2) - 1], left)))
        target = function.on_success if condition == "Success" else function.on_failure
        if target is not None:
            self.send(target, json.dumps(record(function, event, condition, runs, outcome)).encode())

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_retrieve)
        return task

    async def _launch(self, environment: Environment, prestarted: bool) -> None:
        function = environment.function
        stream = f"{datetime.datetime.now(datetime.UTC):%Y/%m/%d}/[$LATEST]{secrets.token_hex(16)}"
        inherited = {
            key: value for key, value in os.environ.items() if key in INHERITED or key.startswith(INHERITED_PREFIXES)
        }
        variables = {
            **inherited,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PYTHONUNBUFFERED": "1",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_SESSION_TOKEN": "local",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency" if prestarted else "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
            "LAMBDA_TASK_ROOT": str(self._folder),
            "_HANDLER": function.handler,
            **self._variables,
            **function.environment,
        }
        address = await self._runtime_api.open(environment)
        await environment.start(
            self._runtime(function.handler),
            address,
            variables=variables,
            folder=self._folder,
            keeper=self._keeper,
            logs=self._logs,
        )


def record(function: Function, event: Event, condition: str, runs: int, outcome: Outcome | None) -> dict[str, Any]:
    """The invocation record that a destination gets, as AWS sends it.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html. An event that
    grew too old without ever being run has no response.
    """
    now = datetime.datetime.now(datetime.UTC)
    found: dict[str, Any] = {
        "version": "1.0",
        "timestamp": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z",
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": f"{function.arn}:$LATEST",
            "condition": condition,
            "approximateInvokeCount": runs,
        },
        "requestPayload": _json(event.payload),
    }
    if outcome is not None:
        found["responseContext"] = {"statusCode": 200, "executedVersion": "$LATEST"}
        if outcome.failed:
            found["responseContext"]["functionError"] = "Unhandled"
        found["responsePayload"] = _json(outcome.payload)
    return found


def _json(payload: bytes) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(payload)
    return payload.decode("utf-8", "replace")


def _trace() -> str:
    root = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
    return f"Root={root};Parent={secrets.token_hex(8)};Sampled=0"


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Marks an exception as seen: a caller that gave up no longer wants it."""
    if not task.cancelled():
        task.exception()
