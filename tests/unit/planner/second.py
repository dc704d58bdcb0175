"""A second implementation of the simulation's rules, in SimPy, as processes. It shares no code with the first."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

import simpy

from planner.simulation.arrivals import Visitor
from planner.simulation.system import System


@dataclass
class Result:
    """What is compared."""

    opening: list[float] = field(default_factory=list)
    later: list[float] = field(default_factory=list)
    starts: int = 0
    invocations: int = 0
    replies: int = 0
    left: int = 0
    start_s: float = 0.0
    told_s: float = 0.0
    linger_s: float = 0.0
    warm_s: float = 0.0


@dataclass(eq=False)
class Machine:
    """An environment."""

    ready: bool = False
    since: float = 0.0
    stories: dict[int, None] = field(default_factory=dict)


@dataclass(eq=False)
class Story:
    """A session."""

    visitor: Visitor
    asked: tuple[int, float] | None = None
    over: bool = False
    at_work: bool = False
    came: Any = None
    told: Any = None


def play(system: System, visitors: Iterable[Visitor]) -> Result:
    """Plays the visits to their end."""
    world = simpy.Environment()
    slots = simpy.Resource(world, capacity=system.cap or 1_000_000)
    idle: list[Machine] = []
    held = [Machine(ready=True) for _ in range(system.provisioned)]
    result = Result()

    def expire() -> None:
        while idle and idle[0].since + system.keep_s < world.now:
            idle.pop(0)
            result.warm_s += system.keep_s

    def visit(visitor: Visitor) -> Generator[simpy.Event, Any, None]:
        yield world.timeout(visitor.at)
        story = Story(visitor)
        story.at_work = True
        world.process(invocation(story))
        yield world.timeout(system.prologue_s)
        for line in range(len(visitor.tokens)):
            if line:
                yield world.timeout(visitor.think_s[line])
            if visitor.by_index[line]:
                story.over = line == len(visitor.tokens) - 1
                continue
            story.asked, story.told = (line, world.now), world.event()
            if not story.at_work:
                story.at_work = True
                world.process(invocation(story))
            elif story.came is not None:
                story.came.succeed()
                story.came = None
            stays = yield story.told
            if not stays:
                result.left += 1
                return

    def invocation(story: Story) -> Generator[simpy.Event, Any, None]:
        with slots.request() as slot:
            yield slot
            if story.asked and story.asked[1] + story.visitor.patience_s <= world.now:
                leave(story)
                story.at_work = False
                return
            result.invocations += 1
            expire()
            if held:
                machine = held.pop()
            elif idle:
                machine = idle.pop()
                result.warm_s += world.now - machine.since
            else:
                machine = Machine()
                result.starts += 1
                result.start_s += system.start_s
                yield world.timeout(system.start_s)
            while True:
                if story.asked:
                    yield from tell(story, machine)
                    if story.over:
                        break
                if story.asked:
                    continue
                if story.over or not system.linger_s:
                    break
                story.came, began = world.event(), world.now
                limit = world.timeout(system.linger_s)
                yield story.came | limit
                story.came = None
                result.linger_s += world.now - began
                if not story.asked:
                    break
            story.at_work = False
            machine.since = world.now
            (held if machine.ready else idle).append(machine)

    def leave(story: Story) -> None:
        story.asked, story.over = None, True
        story.told.succeed(False)

    def tell(story: Story, machine: Machine) -> Generator[simpy.Event, Any, None]:
        assert story.asked
        line, asked = story.asked
        visitor = story.visitor
        gone = asked + visitor.patience_s
        tokens = system.prompt_tokens
        if visitor.number not in machine.stories:
            tokens = min(system.context, tokens + line * system.turn_tokens)
        machine.stories.pop(visitor.number, None)
        machine.stories[visitor.number] = None
        for oldest in list(machine.stories)[: -system.cache_slots]:
            del machine.stories[oldest]
        first = system.first_fixed_s + tokens / system.prefill_per_s
        rest = max(0.0, visitor.tokens[line] - 1) / system.tokens_per_s
        began = world.now
        if gone < began + first:
            yield world.timeout(min(first + rest, max(gone, began) + system.grace_s - began))
            result.told_s += world.now - began
            leave(story)
            return
        yield world.timeout(first)
        (result.later if line else result.opening).append(world.now - asked)
        yield world.timeout(rest)
        result.told_s += world.now - began
        result.replies += 1
        story.asked = None
        story.over = line == len(visitor.tokens) - 1
        story.told.succeed(True)

    for visitor in visitors:
        world.process(visit(visitor))
    world.run()
    result.warm_s += system.keep_s * len(idle)
    return result
