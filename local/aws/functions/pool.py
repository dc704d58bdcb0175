"""The environments of one function: which gets an event, when one more is started, when one is reaped.

HTTP, retries and destinations are in `service`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from local.aws.functions.environment import Environment, Event, Outcome
from local.plan import Function, LambdaLimits

#: How long a prestarted environment may initialise; AWS grants the same to provisioned concurrency.
PRESTART_INIT_S = 130.0


class ThrottledError(Exception):
    """All environments that the function may have are busy."""


class Pool:
    """Every environment a function has or had, the ended ones included, oldest first.

    `launch(environment, prestarted)` starts the process of one, `forget(environment)` tidies up after
    one that has ended.
    """

    def __init__(
        self,
        function: Function,
        limits: LambdaLimits,
        *,
        launch: Callable[[Environment, bool], Coroutine[Any, Any, None]],
        forget: Callable[[Environment], Coroutine[Any, Any, None]],
    ) -> None:
        self.function = function
        self.environments: list[Environment] = []
        self._limits = limits
        self._launch = launch
        self._forget = forget
        self._dying: set[Environment] = set()
        self._turns = asyncio.Semaphore(function.concurrency or 1)
        self._timers: dict[Environment, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def living(self) -> list[Environment]:
        """Those that have not ended."""
        return [one for one in self.environments if one.state != "ended"]

    async def prestart(self) -> list[Outcome]:
        """Starts the environments that the plan asks for, together; gives what went wrong."""
        wanted = self.function.prestart
        if self.function.concurrency is not None:
            wanted = min(wanted, self.function.concurrency)
        found = await asyncio.gather(*(self._prestart_one() for _ in range(wanted)))
        return [error for error in found if error is not None]

    async def run(self, event: Event) -> Outcome:
        """Runs one event in the environment that is free, or in a new one. Raises `ThrottledError`."""
        if self.function.concurrency is None or not self.function.queue_s:
            return await self._run(event)
        try:
            async with asyncio.timeout(self.function.queue_s):
                await self._turns.acquire()
        except TimeoutError:
            raise ThrottledError(self.function.name) from None
        try:
            return await self._run(event)
        finally:
            self._turns.release()

    async def _run(self, event: Event) -> Outcome:
        while True:
            environment = self._claim()
            if environment is None:
                return await self._run_cold(event)
            if environment.alive:
                outcome = await environment.work(event, within_s=self.function.timeout_s)
                if outcome is not None:
                    return outcome
            # It was killed while it slept: the event never reached it.
            await environment.kill()

    async def close(self) -> None:
        """Kills every environment."""
        await asyncio.gather(*(one.kill() for one in self.living))
        await asyncio.gather(*self._tasks)

    # --- inside -------------------------------------------------------------------------------

    def _claim(self) -> Environment | None:
        """The environment last used that is free, else one that is just coming back, else None."""
        free = [one for one in self.environments if one.claimable]
        if not free:
            return None
        best = max(free, key=lambda one: (one.state == "idle", one.idle_since))
        best.reserved = True
        if timer := self._timers.pop(best, None):
            timer.cancel()
        return best

    def _open(self) -> Environment:
        environment = Environment(self.function, on_idle=self._idle, on_end=self._ended)
        self.environments.append(environment)
        return environment

    async def _run_cold(self, event: Event) -> Outcome:
        cap = self.function.concurrency
        if cap is not None and len(self.living) - len(self._dying) >= cap:
            raise ThrottledError(self.function.name)
        environment = self._open()
        await self._launch(environment, False)
        left = self.function.timeout_s
        if not await environment.initialised(self._limits.init_s):
            # AWS throws a failed or overlong init away, and runs it once more as a part of the invocation.
            began = time.monotonic()
            environment = self._open()
            await self._launch(environment, False)
            ready = await environment.initialised(left)
            left -= time.monotonic() - began
            if not ready:
                late = left <= 0 and environment.init_error is None
                return environment.late(event.request_id) if late else environment.crash(event.request_id)
        return await environment.work(event, within_s=left) or environment.crash(event.request_id)

    async def _prestart_one(self) -> Outcome | None:
        environment = self._open()
        await self._launch(environment, True)
        if await environment.initialised(max(PRESTART_INIT_S, self.function.timeout_s)):
            environment.release()
            return None
        return environment.crash("prestart")

    def _idle(self, environment: Environment) -> None:
        loop = asyncio.get_running_loop()
        self._timers[environment] = loop.call_later(self._limits.idle_s, self._reap, environment)

    def _ended(self, environment: Environment) -> None:
        if timer := self._timers.pop(environment, None):
            timer.cancel()
        self._dying.discard(environment)
        self._spawn(self._forget(environment))

    def _reap(self, environment: Environment) -> None:
        self._timers.pop(environment, None)
        if environment.claimable and len(self.living) - len(self._dying) > self.function.prestart:
            environment.reserved = True
            self._dying.add(environment)
            self._spawn(environment.kill())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
