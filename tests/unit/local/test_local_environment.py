"""An environment without its process: one event after another, however close."""

from __future__ import annotations

import asyncio

from local.aws.functions.environment import Environment, Event, Outcome
from local.plan import Function


class FakeChild:
    """A process that is never there, and never ends."""

    pid = 0
    alive = True

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...

    def kill(self) -> None:
        raise AssertionError("nothing was wrong with it")


async def test_an_event_claimed_at_the_very_moment_of_the_last_answer() -> None:
    environment = Environment(Function("f", "m.f"), on_idle=lambda _: None, on_end=lambda _: None)
    environment._child = FakeChild()  # type: ignore[assignment]
    first, second = Event("r1", b"1", "t"), Event("r2", b"2", "t")
    asking = asyncio.create_task(environment.next())
    work = asyncio.create_task(environment.work(first, within_s=20))
    event, _ = await asking
    assert event is first
    assert environment.respond(first.request_id, Outcome(b"one"))
    assert environment.claimable
    environment.reserved = True
    again = asyncio.create_task(environment.work(second, within_s=20))
    assert (await work) == Outcome(b"one")
    event, _ = await environment.next()
    assert event is second
    assert environment.respond(second.request_id, Outcome(b"two"))
    assert (await again) == Outcome(b"two")
