"""The planner's simulation against the real handlers on the local stack, on a clock five times as fast."""

from __future__ import annotations

import os

import pytest

from bench.replay.__main__ import SCENARIO, SEED, Compared, compare, replay
from planner.scenario import load

FIGURES = ("p95 wait beyond the prologue, s", "p95 wait of a later line, s", "cold share of the visits", "starts")


#: Processes that wait for each core, above which a start's imports take longer than the start that is simulated.
BUSY = 4


async def _compared() -> dict[str, Compared]:
    outcome, played, _ = await replay(load(SCENARIO), speed=5, visits=8, seed=SEED)
    assert played.errors == []
    return {one.name: one for one in compare(outcome, played, 8)}


def _off(found: dict[str, Compared]) -> bool:
    return any(abs(found[name].error) > 0.1 for name in FIGURES)


async def test_waits_and_cold_share_are_as_the_simulation_says() -> None:
    found = await _compared()
    if _off(found):
        found = await _compared()  # other work on this machine may stop its clock for a second or two: once
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if _off(found) and load > BUSY * cores:
        pytest.skip(f"no clock is kept here: a load of {load:.0f} on {cores} cores")
    for name in FIGURES:
        assert found[name].predicted == pytest.approx(found[name].played, rel=0.1), name
    assert 0 < found["cold share of the visits"].played < 1
