"""Events beyond a function's environments wait for their turn, in order, and no longer than they may."""

from __future__ import annotations

import asyncio

import pytest

from local.aws.functions.environment import Event, Outcome
from local.aws.functions.pool import Pool, ThrottledError
from local.plan import Function, LambdaLimits


async def nothing(*_: object) -> None:
    """Neither starts a process nor tidies up after one."""


class Counted(Pool):
    """Runs events without processes; counts how many run at once."""

    def __init__(self, function: Function) -> None:
        super().__init__(function, LambdaLimits(), launch=nothing, forget=nothing)
        self.running = self.most = 0
        self.order: list[str] = []

    async def _run(self, event: Event) -> Outcome:
        self.running += 1
        self.most = max(self.most, self.running)
        self.order.append(event.request_id)
        await asyncio.sleep(0.01)
        self.running -= 1
        return Outcome(b"{}")


async def test_a_crowd_takes_turns() -> None:
    pool = Counted(Function("f", "m.f", concurrency=3, queue_s=30))
    events = [Event(str(n), b"{}", "") for n in range(20)]
    outcomes = await asyncio.gather(*(pool.run(event) for event in events))
    assert outcomes == [Outcome(b"{}")] * 20
    assert pool.most == 3
    assert pool.order == [event.request_id for event in events]


async def test_nobody_waits_longer_than_they_may() -> None:
    pool = Counted(Function("f", "m.f", concurrency=1, queue_s=0.001))
    event = Event("1", b"{}", "")
    found = await asyncio.gather(*(pool.run(event) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in found].count(ThrottledError) == 2


async def test_without_a_queue_what_exceeds_the_cap_is_refused() -> None:
    pool = Pool(Function("f", "m.f", concurrency=1), LambdaLimits(), launch=nothing, forget=nothing)
    busy = pool._open()
    assert busy.state == "starting"
    with pytest.raises(ThrottledError):
        await pool.run(Event("1", b"{}", ""))
