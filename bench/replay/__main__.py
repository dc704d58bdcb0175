"""The planner's simulation against the real handlers: the same visitors, once predicted and once played.

    python -m bench.replay [SCENARIO.yaml] [--speed 5] [--visits 8] [--seed 2]

The local stack runs the deployed handlers with real frames, sessions, leases, slots and environments; only the
engine is a clock (bench/replay/paced.py). Every time of the scenario is divided by `--speed`, in both. What the machine
itself takes for a start and for a line is first measured on one visitor alone, and told to the simulation.
Prints p95 waits and the share of cold visits, predicted and played; writes build/bench/replay.json.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import numpy as np

from bench.results import row, write
from client.session.connection import Play
from client.session.events import AnswerCame, Event, Failed, Welcomed
from client.session.story import Change, Ended, Told
from local.plan import LambdaLimits, Plan
from local.play import overture
from local.stack import LocalStack
from overture.sessions import Sessions, key_of
from overture.table import Table
from planner.analysis.evaluation import system_of
from planner.report import table
from planner.scenario import Scenario, load
from planner.simulation.arrivals import Visitor, arrival_times, visitors
from planner.simulation.simulate import simulate
from planner.simulation.system import Outcome, System

SCENARIO, SEED = Path("planner/scenarios/replay.yaml"), 2
#: Seconds without anything after which a visitor of the replay has found a fault.
PATIENCE_S = 120.0
QUESTION = "What can you do?"
_FRONTS = 3
#: Lines of the visitor who is alone.
_ALONE = 6


class Overhead(NamedTuple):
    """What this machine takes beside the scenario's times, in seconds.

    To come in, until the welcome; for a start; from a line to its first word; from the end of a reply until its slot
    is free.
    """

    hello_s: float = 0.0
    start_s: float = 0.0
    line_s: float = 0.0
    handover_s: float = 0.0


@dataclass
class Played:
    """What visitors saw: seconds to a first word by visit and line, and which visits found no warm storyteller."""

    waits: dict[tuple[int, int], float] = field(default_factory=dict)
    #: Seconds from the first request until the welcome, by visit.
    hellos: dict[int, float] = field(default_factory=dict)
    cold: set[int] = field(default_factory=set)
    left: int = 0
    starts: int = 0
    errors: list[str] = field(default_factory=list)


class Compared(NamedTuple):
    """A figure, predicted and played."""

    name: str
    predicted: float
    played: float

    @property
    def error(self) -> float:
        """How far the prediction lies from what was played, relative to that."""
        return self.predicted / self.played - 1 if self.played else math.inf if self.predicted else 0.0


def compress(system: System, speed: float) -> System:
    """The system with every time divided by `speed`; a reply's first word takes the same for every line."""
    first_s = system.first_fixed_s + system.prompt_tokens / system.prefill_per_s
    times = ("start_s", "keep_s", "linger_s", "prologue_s", "grace_s")
    return replace(
        system,
        first_fixed_s=first_s / speed,
        prompt_tokens=0.0,
        turn_tokens=0.0,
        tokens_per_s=system.tokens_per_s * speed,
        **{name: getattr(system, name) / speed for name in times},
    )


def crowd_of(scenario: Scenario, visits: int, speed: float, seed: int) -> list[Visitor]:
    """The first visitors of a scenario, on the compressed clock, with whole tokens."""
    times = arrival_times(scenario, math.ceil(2 + 2 * visits / scenario.visits_per_day), seed)[:visits]
    times = times - times[0]
    return [
        one._replace(
            at=one.at / speed,
            think_s=[seconds / speed for seconds in one.think_s],
            tokens=[max(1, round(tokens)) for tokens in one.tokens],
            patience_s=one.patience_s / speed,
        )
        for one in visitors(scenario, times, seed)
    ]


def stack_of(system: System) -> Plan:
    """The play's plan with the system's times, and an engine that is a clock."""
    plan = overture(model=Path("none"), wait_s=system.start_s, concurrency=system.cap or 100).change(
        "storyteller",
        handler="bench.replay.paced_handler.lambda_handler",
        environment={
            "PACED_FIRST_S": str(system.first_fixed_s),
            "PACED_TOKENS_PER_S": str(system.tokens_per_s),
            "OVERTURE_LINGER_S": str(system.linger_s),
            "OVERTURE_GRACE_S": str(system.grace_s),
            "OVERTURE_GATHER_S": "0.5",
        },
    )
    # All come from one address, which would have its share otherwise.
    plan = plan.change("ticket", environment={"OVERTURE_TICKETS_PER_MINUTE": "0"})
    # The simulation has no starts of Front: as many as the plan allows are started before anybody comes.
    plan = plan.change("front", environment={"OVERTURE_WAKES_PER_DAY": "0"}, concurrency=_FRONTS, prestart=_FRONTS)
    for name in ("ticket", "authorizer"):
        plan = plan.change(name, concurrency=1)
    return replace(plan, lambdas=LambdaLimits(idle_s=system.keep_s, init_s=60))


class Stage:
    """A running stack with a clock that begins when the first visitor comes."""

    def __init__(self, stack: LocalStack, system: System) -> None:
        self.stack, self.system = stack, system
        self.began = time.monotonic()
        self.overhead = Overhead()
        self._sessions = Sessions(Table(stack.plan.table or "", _dynamodb(stack)))

    async def visit(self, visitor: Visitor, played: Played) -> None:
        """One visitor, from hello to the last reply, or until their patience is over."""
        await self._sleep_until(visitor.at - self.overhead.hello_s)
        came = time.monotonic()
        async with Play(self.stack.url) as play:
            await _seen(play, Welcomed)
            played.hellos[visitor.number] = time.monotonic() - came
            await play.remember({"companion": f"{visitor.tokens[0]} steps"})
            await self._sleep_until(visitor.at + self.system.prologue_s)
            for line, tokens in enumerate(visitor.tokens):
                if line:
                    await asyncio.sleep(visitor.think_s[line])
                if visitor.by_index[line]:
                    play.say(QUESTION)
                    await _seen(play, AnswerCame)
                    continue
                asked = time.monotonic()
                _ = play.say(f"I walk on for {tokens} steps.") if line else play.skip()
                try:
                    await _seen(play, Told, timeout_s=min(PATIENCE_S, visitor.patience_s))
                except TimeoutError:
                    if visitor.patience_s > PATIENCE_S:
                        raise
                    played.left += 1
                    break
                played.waits[visitor.number, line] = time.monotonic() - asked
                await _seen(play, Ended)
            secret = play.session
        assert secret is not None
        session = await asyncio.to_thread(self._sessions.read, key_of(secret))
        if session.ledger.starts:
            played.cold.add(visitor.number)

    async def play(self, crowd: Sequence[Visitor]) -> Played:
        """All of them."""
        played = Played()
        self.began = time.monotonic()

        async def come(visitor: Visitor) -> None:
            try:
                await self.visit(visitor, played)
            except Exception as error:  # every kind counts
                played.errors.append(f"visitor {visitor.number}: {type(error).__name__}: {error}")

        before = len(self.stack.environments("storyteller"))
        await asyncio.gather(*(come(visitor) for visitor in crowd))
        played.starts = len(self.stack.environments("storyteller")) - before
        return played

    async def measure(self) -> None:
        """Finds the overhead, from a visitor alone who goes in at once and says a few lines."""
        system = self.system
        lines, handovers, began = [], [], time.monotonic()
        async with Play(self.stack.url) as play:
            await _seen(play, Welcomed)
            welcomed = time.monotonic()
            await play.remember({"companion": "2 steps"})
            for line in range(_ALONE):
                asked = time.monotonic()
                _ = play.say("I walk on for 2 steps.") if line else play.skip()
                await _seen(play, Told)
                told = time.monotonic()
                await _seen(play, Ended)
                await asyncio.to_thread(self._wait_for_slots)
                handovers.append(time.monotonic() - told - 1 / system.tokens_per_s)
                if line:
                    lines.append(told - asked - system.first_fixed_s)
                else:
                    cold_s = told - welcomed - system.start_s - system.first_fixed_s
        line_s = statistics.median(lines)
        handover_s = statistics.median(handovers) if system.cap else 0.0
        self.overhead = Overhead(welcomed - began, cold_s - line_s, line_s, handover_s)
        for environment in self.stack.environments("storyteller"):
            await environment.kill()  # the first visitor shall find none

    def _wait_for_slots(self) -> None:
        """Returns when every slot is free."""
        ends = time.monotonic() + PATIENCE_S
        while any(one.holder for part in self._sessions.slots.read_all(self.system.cap) for one in part):
            if time.monotonic() > ends:
                raise TimeoutError("a slot is not given back")
            time.sleep(0.01)

    async def _sleep_until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, self.began + at - time.monotonic()))


def predict(system: System, crowd: Sequence[Visitor], overhead: Overhead) -> Outcome:
    """The simulation's outcome on a machine with these overheads."""
    slower = replace(
        system,
        first_fixed_s=system.first_fixed_s + overhead.line_s,
        start_s=system.start_s + overhead.start_s,
        handover_s=overhead.handover_s,
    )
    return simulate(slower, crowd)


async def replay(scenario: Scenario, *, speed: float, visits: int, seed: int) -> tuple[Outcome, Played, Overhead]:
    """Plays and predicts the same visits."""
    system, crowd = compress(system_of(scenario), speed), crowd_of(scenario, visits, speed, seed)
    with tempfile.TemporaryDirectory() as logs:
        async with LocalStack(stack_of(system), logs=Path(logs)) as stack:
            await stack.prestart()
            stage = Stage(stack, system)
            await stage.measure()
            played = await stage.play(crowd)
    return predict(system, crowd, stage.overhead), played, stage.overhead


def compare(outcome: Outcome, played: Played, visits: int) -> list[Compared]:
    """The figures that both have."""
    opening = [wait for (_, line), wait in played.waits.items() if line == 0]
    later = [wait for (_, line), wait in played.waits.items() if line]
    return [
        Compared("p50 wait beyond the prologue, s", _percentile(outcome.opening, 50), _percentile(opening, 50)),
        Compared("p95 wait beyond the prologue, s", _percentile(outcome.opening, 95), _percentile(opening, 95)),
        Compared("p95 wait of a later line, s", _percentile(outcome.later, 95), _percentile(later, 95)),
        Compared("cold share of the visits", outcome.visits_cold / visits, len(played.cold) / visits),
        Compared("starts", outcome.starts, played.starts),
        Compared("visits that gave up", outcome.left, played.left),
    ]


async def _seen(play: Play, kind: type[Event | Change], timeout_s: float = PATIENCE_S) -> None:
    def is_it(event: Event | Change) -> bool:
        return isinstance(event, Failed | kind)

    event = await play.until(is_it, timeout_s=timeout_s)
    if isinstance(event, Failed):
        raise RuntimeError(f"{event.code}: {event.message}")


def _dynamodb(stack: LocalStack) -> Any:
    return boto3.client(
        "dynamodb",
        endpoint_url=stack.dynamodb_url,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106
    )


def _percentile(waits: Sequence[float], percent: float) -> float:
    return float(np.percentile(np.asarray(waits), percent)) if len(waits) else math.nan


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays, predicts and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.replay", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenario", nargs="?", type=Path, default=SCENARIO)
    parser.add_argument("--speed", type=float, default=5.0, help="how much faster than the scenario's clock")
    parser.add_argument("--visits", type=int, default=8)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    found = asyncio.run(replay(load(options.scenario), speed=options.speed, visits=options.visits, seed=options.seed))
    outcome, played, overhead = found
    print(f"{options.visits} visits at {options.speed:g} times the scenario's speed, in seconds of that clock.")
    print(f"This machine alone: a start {overhead.start_s:.2f} s, a line {overhead.line_s:.2f} s.")
    compared = compare(outcome, played, options.visits)
    rows = [[one.name, f"{one.predicted:.2f}", f"{one.played:.2f}", f"{one.error:+.0%}"] for one in compared]
    print("\n".join(table(["figure", "predicted", "played", "error"], rows)))
    print("\n".join(played.errors))
    kept = [row(one.name, "", [one.played], predicted=one.predicted) for one in compared]
    about = {"speed": options.speed, "visits": options.visits, "seed": options.seed}
    print(write("replay", kept, threads=1, scenario=str(options.scenario), overhead=overhead._asdict(), **about))
    return 1 if played.errors else 0


if __name__ == "__main__":
    sys.exit(main())
