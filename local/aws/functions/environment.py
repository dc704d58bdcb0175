"""One Lambda execution environment: a process that asks for events, one at a time, frozen between.

The process runs a Lambda runtime (`awslambdaric`, or our `runtime_client` where that has no wheel) and talks to
the methods here through `runtime_api`. Which event it gets, and when a new one is started, is `pool`'s business.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from local.aws.functions.child import Child
from local.aws.functions.keeper import Keeper
from local.aws.functions.logs import Logs
from local.plan import Function

State = Literal["starting", "idle", "busy", "ended"]


@dataclass(frozen=True, slots=True)
class Event:
    """What a function is invoked with."""

    request_id: str
    payload: bytes
    trace: str
    client_context: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an event: the response, or an error (`failed`) as JSON with errorType and errorMessage."""

    payload: bytes
    failed: bool = False

    @classmethod
    def error(cls, kind: str, message: str, **more: Any) -> Outcome:
        """An error that Lambda itself reports."""
        return cls(json.dumps({"errorType": kind, "errorMessage": message, **more}).encode(), failed=True)


class RuntimeGoneError(Exception):
    """The runtime asked on behalf of a process that has ended."""


def runtime_argv(handler: str) -> list[str]:
    """The command that runs `handler`: AWS's own runtime client where it is installed, else ours."""
    native = all(importlib.util.find_spec(name) is not None for name in ("awslambdaric", "runtime_client"))
    return [sys.executable, "-m", "awslambdaric" if native else "local.aws.functions.runtime_client", handler]


class Environment:
    """One process and what it is doing. `reserved` means that an event is promised to it.

    `starting` until its runtime first asks for an event; `idle` is frozen; `busy` lasts until the
    runtime has answered *and* is back asking for the next, as on AWS.
    """

    def __init__(
        self,
        function: Function,
        *,
        on_idle: Callable[[Environment], None],
        on_end: Callable[[Environment], None],
    ) -> None:
        self.function = function
        self.state: State = "starting"
        self.reserved = True
        self.invocations = 0
        self.started = time.time()
        self.idle_since = 0.0
        self.ended: float | None = None
        self.status: int | None = None
        self.responded = False
        self.init_error: Outcome | None = None
        self._on_idle = on_idle
        self._on_end = on_end
        self._child: Child | None = None
        self._log: Callable[[str], None] | None = None
        self._asking = asyncio.Event()
        self._over = asyncio.Event()
        self._handover: asyncio.Future[tuple[Event, int]] | None = None
        self._event: Event | None = None
        self._outcome: asyncio.Future[Outcome] | None = None
        self._watching: asyncio.Task[None] | None = None

    # --- for the pool -------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The process's id; None before it has one."""
        return self._child.pid if self._child else None

    @property
    def alive(self) -> bool:
        """Whether the process runs or is frozen at this very moment."""
        return self._child is not None and self._child.alive

    @property
    def claimable(self) -> bool:
        """Whether it may be promised an event: frozen, or on its way back from the last one."""
        return not self.reserved and (self.state == "idle" or (self.state == "busy" and self.responded))

    async def start(
        self,
        argv: list[str],
        address: str,
        *,
        variables: Mapping[str, str],
        folder: Path,
        keeper: Keeper,
        logs: Logs,
    ) -> None:
        """Starts the process `argv`, a runtime that will call the Runtime API at `address`."""
        self._child = await Child.start(
            argv,
            environment={**variables, "AWS_LAMBDA_RUNTIME_API": address},
            folder=folder,
            keeper=keeper,
            take=lambda pid, line: logs.write(self.function.name, pid, line),
        )
        self._log = partial(logs.write, self.function.name, self._child.pid)
        self._watching = asyncio.create_task(self._watch(self._child))

    async def initialised(self, within_s: float) -> bool:
        """Waits for the end of the init phase. False: it failed, or took longer and was killed."""
        await self._either(self._asking, within_s)
        if self._asking.is_set() and not self._over.is_set():
            return True
        await self.kill()
        return False

    def release(self) -> None:
        """No event after all: freezes it if it is asking for one."""
        self.reserved = False
        if self._asking.is_set() and not self._over.is_set():
            self._rest()

    async def work(self, event: Event, *, within_s: float) -> Outcome | None:
        """Gives it the event it was reserved for, and waits. Never raises: a crash is an outcome.

        `within_s` counts from here, as the timeout of the function does; when it is over the process
        is killed. None: the process ended before the event reached it.
        """
        began = time.monotonic()
        # Our own: once it has answered, the next event may have put another in its place before we wake.
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._outcome = outcome
        await self._either(self._asking, within_s)
        if self._over.is_set():
            return None
        if self._asking.is_set():
            self._hand_over(event, within_s - (time.monotonic() - began))
            await self._either(outcome, within_s - (time.monotonic() - began))
        if outcome.done():
            return outcome.result()
        if self._over.is_set():
            return self.crash(event.request_id)
        await self.kill()
        return self.late(event.request_id)

    async def kill(self) -> None:
        """Ends the process and waits until it is gone."""
        if self._child:
            self._child.kill()
        if self._watching:
            await asyncio.shield(self._watching)
        else:
            self.state = "ended"

    def describe(self) -> dict[str, Any]:
        """What `GET /_local/environments` tells of it. Times are Unix seconds."""
        return {
            "function": self.function.name,
            "pid": self.pid,
            "state": self.state,
            "started": self.started,
            "ended": self.ended,
            "status": self.status,
            "invocations": self.invocations,
        }

    # --- for the Runtime API ------------------------------------------------------------------

    async def next(self) -> tuple[Event, int]:
        """The runtime asks for its next event: gives it and the deadline (Unix milliseconds)."""
        self._event = None
        self._handover = asyncio.get_running_loop().create_future()
        self._asking.set()
        if not self.reserved:
            self._rest()
        return await self._handover

    def respond(self, request_id: str, outcome: Outcome) -> bool:
        """The runtime has an answer. False: to an event it does not have."""
        if self._event is None or self._event.request_id != request_id or self._outcome is None or self._outcome.done():
            return False
        self._event = None
        self.responded = True
        self.reserved = False
        self._outcome.set_result(outcome)
        return True

    def fail_init(self, outcome: Outcome) -> None:
        """The runtime could not even load the handler; it will leave by itself."""
        self.init_error = outcome

    # --- inside -------------------------------------------------------------------------------

    def _rest(self) -> None:
        self.state = "idle"
        self.responded = False
        self.idle_since = time.monotonic()
        if self._child:
            self._child.freeze()
        self._on_idle(self)

    def _hand_over(self, event: Event, left_s: float) -> None:
        assert self._handover is not None
        assert self._child is not None
        self.state = "busy"
        self.responded = False
        self.invocations += 1
        self._event = event
        self._asking.clear()
        self._child.thaw()
        self._handover.set_result((event, int((time.time() + left_s) * 1000)))

    def crash(self, request_id: str) -> Outcome:
        """What Lambda says, and logs, of a process that ended before it answered."""
        return self.init_error or self._note(exited(request_id, self.status))

    def late(self, request_id: str) -> Outcome:
        """What Lambda says, and logs, of a process that was killed since its time was over."""
        return self._note(timed_out(request_id, self.function.timeout_s))

    def _note(self, outcome: Outcome) -> Outcome:
        if self._log is not None:
            self._log(outcome.payload.decode())
        return outcome

    async def _either(self, what: asyncio.Event | asyncio.Future[Outcome], within_s: float) -> None:
        """Waits for `what`, for the end of the process, or for the time to be over."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._over.wait())]
        waits.append(asyncio.ensure_future(what.wait()) if isinstance(what, asyncio.Event) else what)
        try:
            await asyncio.wait(waits, timeout=max(0.0, within_s), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                if wait is not what:
                    wait.cancel()

    async def _watch(self, child: Child) -> None:
        self.status = await child.wait()
        self.ended = time.time()
        self.state = "ended"
        self._over.set()
        if self._handover and not self._handover.done():
            self._handover.set_exception(RuntimeGoneError())
            self._handover.exception()  # the request it belonged to may be gone as well
        self._on_end(self)


def timed_out(request_id: str, timeout_s: float) -> Outcome:
    """What Lambda says of a function that ran for longer than its timeout."""
    message = f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds"
    return Outcome.error("Sandbox.Timedout", message)


def exited(request_id: str, status: int | None) -> Outcome:
    """What Lambda says of a runtime that ended with this status (negative: the signal)."""
    if status is not None and status < 0:
        names = {signal.SIGKILL: "killed", signal.SIGTERM: "terminated", signal.SIGSEGV: "segmentation fault"}
        why = "Runtime exited with error: signal: " + names.get(signal.Signals(-status), signal.Signals(-status).name)
    elif status:
        why = f"Runtime exited with error: exit status {status}"
    else:
        why = "Runtime exited without providing a reason"
    return Outcome.error("Runtime.ExitError", f"RequestId: {request_id} Error: {why}")
