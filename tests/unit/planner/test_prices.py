"""A month's items that the arithmetic of one visit does not show."""

from __future__ import annotations

import dataclasses

import pytest

from infra.deploy.prices import SWEEP_WAIT_S, SWEEPS, sweeping
from infra.functions import FRONT, SWEEP_S
from overture.accounting.prices import of_seconds
from planner.analysis.evaluation import Evaluation, evaluate
from planner.costs.prices import month
from planner.scenario import parse


def plan(visits_per_day: float) -> Evaluation:
    return evaluate(parse(f"traffic: {{visits_per_day: {visits_per_day}}}\nmodel: {{shape: 1B}}"), visits=300)


def test_sweeps_cost_as_much_as_the_stack_says_and_wait_while_somebody_is_told() -> None:
    few = plan(1)
    assert few.items["sweep"] > sweeping()
    told_s = few.outcome.start_s + few.outcome.prefill_s + few.outcome.decode_s + few.outcome.linger_s
    waited = told_s / SWEEP_S * SWEEP_WAIT_S * 30 / few.days
    assert few.items["sweep"] - sweeping() == pytest.approx(of_seconds(waited, FRONT.memory_mb))


def test_sweeps_wait_no_longer_than_there_is_time() -> None:
    few = plan(1)
    crowded = dataclasses.replace(few.outcome, decode_s=1e9)  # many are told at once
    sweep = month(few.scenario, crowded, few.days, 1.0)["sweep"]
    assert sweep - sweeping() == pytest.approx(of_seconds(SWEEPS * SWEEP_WAIT_S, FRONT.memory_mb))
