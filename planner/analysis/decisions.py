"""Decisions: which choices are worth having, what moves the answer, and where it turns.

Each of them evaluates many scenarios (`planner.analysis.evaluation`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from planner.analysis.evaluation import BOUND_VISITS, Evaluation, evaluate
from planner.costs.speeds import speeds
from planner.scenario import Scenario, ScenarioError, with_values

# --- which choices are worth having -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """One point of a sweep. `reason` is empty for a choice worth having, else it says why it is not."""

    values: dict[str, object]
    answer: Evaluation
    reason: str = ""

    @property
    def name(self) -> str:
        """The values that were swept."""
        return ", ".join(str(value) for value in self.values.values())


#: What is minimised; quality is turned over.
OBJECTIVES: dict[str, Callable[[Evaluation], float]] = {
    "$ a month": lambda answer: answer.usd_month.likely,
    "gCO2e a visit": lambda answer: answer.visit.gco2e.likely,
    "p95 wait": lambda answer: answer.opening.p95,
    "quality": lambda answer: -answer.quality,
}
#: What `--sweep` sweeps when nothing is named.
AXES: dict[str, list[object]] = {
    "place.kind": ["lambda", "snapstart", "provisioned", "managed_instances", "ec2", "api"],
    "model.shape": ["1B", "3B", "8B"],
}


def sweep(
    scenario: Scenario, axes: Mapping[str, Sequence[object]], *, visits: int = BOUND_VISITS, seed: int = 1
) -> tuple[list[Choice], list[str]]:
    """All combinations of the axes: the choices, the Pareto set first, and what could not be evaluated."""
    found, refused = [], []
    for combination in itertools.product(*axes.values()):
        values = dict(zip(axes, combination, strict=True))
        try:
            answer = evaluate(with_values(scenario, values), visits=visits, seed=seed, bounds=False)
        except ScenarioError as error:
            refused.append(f"{', '.join(map(str, combination))}: {error}")
            continue
        found.append(Choice(values, answer))
    judged = [Choice(one.values, one.answer, _why_not(one, found)) for one in found]
    return sorted(judged, key=lambda one: (bool(one.reason), one.answer.usd_month.likely)), refused


def _why_not(one: Choice, others: Sequence[Choice]) -> str:
    """Empty when no other choice is at least as good in everything and better in something, within the limits."""
    if broken := one.answer.broken():
        return "over a limit: " + "; ".join(broken)
    mine = _scores(one.answer)
    best: tuple[float, str] | None = None
    for other in others:
        theirs = _scores(other.answer)
        if other is one or other.answer.broken() or any(b > a for a, b in zip(mine, theirs, strict=True)):
            continue
        better = [name for name, a, b in zip(OBJECTIVES, mine, theirs, strict=True) if b < a]
        if better:
            gain = sum(abs(a - b) / (abs(a) + abs(b)) for a, b in zip(mine, theirs, strict=True) if b < a)
            if best is None or gain > best[0]:
                best = gain, f"{other.name} is no worse in anything and better in {', '.join(better)}"
    return best[1] if best else ""


def _scores(answer: Evaluation) -> tuple[float, ...]:
    """The objectives, rounded to what means something: a hundredth of a dollar and a gram, a tenth of a second."""
    usd, grams, wait, good = (objective(answer) for objective in OBJECTIVES.values())
    return round(usd, 2), round(grams, 2), math.inf if math.isnan(wait) else round(wait, 1), round(good, 1)


# --- what moves the answer ----------------------------------------------------------------------------


class Swing(NamedTuple):
    """An assumption at its low and at its high value, and what each makes of the answer."""

    name: str
    low: object
    high: object
    usd: tuple[float, float]
    gco2e: tuple[float, float]
    wait: tuple[float, float]

    def size(self, answer: Evaluation) -> float:
        """The largest relative change of any of the three; a wait counts by seconds beside a floor of 10."""
        return max(
            abs(self.usd[1] - self.usd[0]) / answer.usd_month.likely,
            abs(self.gco2e[1] - self.gco2e[0]) / answer.visit.gco2e.likely,
            abs(self.wait[1] - self.wait[0]) / max(10.0, answer.opening.p95),
        )


def assumptions(scenario: Scenario) -> dict[str, tuple[object, object]]:
    """The assumptions that `why` moves, each with a low and a high value. None of them was measured on AWS."""
    visit, place, traffic = scenario.visit, scenario.place, scenario.traffic
    fast = speeds(scenario)
    found: dict[str, tuple[object, object]] = {
        "traffic.visits_per_day": (traffic.visits_per_day / 2, traffic.visits_per_day * 2),
        "traffic.pattern": ("flat", "office"),
        "visit.turns": (max(1, visit.turns // 2), visit.turns * 2),
        "visit.reply_tokens": (visit.reply_tokens / 1.5, min(visit.reply_tokens * 1.5, visit.reply_tokens_p95)),
        "visit.think_s": (visit.think_s / 2, visit.think_s * 2),
        "visit.index_share": (0.0, 0.3),
        "visit.prologue_s": (visit.prologue_s / 2, visit.prologue_s * 2),
        "model.tokens_per_s": (fast.tokens_per_s.likely / 1.6, fast.tokens_per_s.likely * 1.6),
    }
    if place.kind in ("lambda", "snapstart", "provisioned"):
        found["model.start_s"] = (fast.start_s / 2, fast.start_s * 2)
        found["place.keep_s"] = (300.0, 900.0)
        found["place.cap"] = (max(1, place.cap // 2), place.cap * 2) if place.cap else (1, 10)
    if traffic.pattern.endswith(".csv"):
        del found["traffic.pattern"], found["traffic.visits_per_day"]
    return found


def why(scenario: Scenario, *, visits: int = BOUND_VISITS, seed: int = 1) -> tuple[Evaluation, list[Swing]]:
    """One assumption at a time, the others as they are: the largest swing first."""
    answer = evaluate(scenario, visits=visits, seed=seed, bounds=False)
    swings = []
    for name, ends in assumptions(scenario).items():
        low, high = (
            evaluate(with_values(scenario, {name: end}), visits=visits, seed=seed, bounds=False) for end in ends
        )
        swings.append(
            Swing(
                name,
                *ends,
                (low.usd_month.likely, high.usd_month.likely),
                (low.visit.gco2e.likely, high.visit.gco2e.likely),
                (low.opening.p95, high.opening.p95),
            )
        )
    return answer, sorted(swings, key=lambda one: -one.size(answer))


# --- where it turns -----------------------------------------------------------------------------------


class BreakEven(NamedTuple):
    """Visits a day above which an always-on machine is better by one measure; None: nowhere in the range.

    By wait it is the visits a day up to which the scenario's place keeps the limit, whatever the machine does.
    """

    measure: str
    visits_per_day: float | None
    says: str


#: Visits of each of the many runs that it takes.
BREAK_EVEN_VISITS = 1_000
#: Visits a day between which a turning point is looked for.
RANGE = (1.0, 4_000.0)
#: The longest p95 wait that counts as served when a scenario sets no limit: half the published cold start.
WAIT_LIMIT_S = 25.0


def break_even(scenario: Scenario, *, instance: str = "r8g.4xlarge", seed: int = 1) -> list[BreakEven]:
    """Visits a day at which one `instance` that never sleeps is as good as the scenario's place, by each measure."""
    if scenario.place.kind in ("ec2", "managed_instances"):
        raise ScenarioError(
            "place.kind is always on already: --break-even compares a place that scales to zero with it."
        )
    if scenario.traffic.pattern.endswith(".csv"):
        raise ScenarioError(
            "traffic.pattern is a trace: --break-even varies visits_per_day, so name a pattern instead."
        )
    measures: dict[str, Callable[[Evaluation], float]] = {
        "money": lambda answer: answer.usd_month.likely,
        "energy": lambda answer: answer.visit.wh.likely,
        "carbon": lambda answer: answer.visit.gco2e.likely,
    }

    @lru_cache(maxsize=128)
    def side(visits_per_day: float, machine: bool) -> Evaluation:
        one = with_values(scenario, {"traffic.visits_per_day": visits_per_day, "place.ceiling_gb_s": 0})
        if machine:
            one = with_values(one, {"place.kind": "ec2", "place.instance": instance, "place.replicas": 1})
        return evaluate(one, visits=BREAK_EVEN_VISITS, seed=seed, bounds=False)

    def both(visits_per_day: float) -> tuple[Evaluation, Evaluation]:
        return side(visits_per_day, False), side(visits_per_day, True)

    found = []
    for name, measure in measures.items():

        def difference(visits: float, measure: Callable[[Evaluation], float] = measure) -> float:
            here, there = both(visits)
            return measure(here) - measure(there)

        at = _crossing(difference)
        found.append(BreakEven(name, at, _at(name, at, both)))
    limit = scenario.limits.p95_wait_s or WAIT_LIMIT_S
    ends = [
        _crossing(lambda visits, machine=machine: side(visits, machine).opening.p95 - limit - 1e-9)  # type: ignore[misc]
        for machine in (False, True)
    ]
    here, there = ("any number of" if end is None else f"{end:,.0f}" for end in ends)
    says = f"a p95 wait of {limit:g} s holds up to {here} visits a day here, and up to {there} on the machine"
    return [*found, BreakEven("wait", ends[0], says)]


def _crossing(difference: Callable[[float], float]) -> float | None:
    """Where a difference that is negative at few visits becomes positive; None where it never does."""
    low, high = math.log(RANGE[0]), math.log(RANGE[1])
    steps = [low + (high - low) * step / 10 for step in range(11)]
    before = steps[0]
    if difference(math.exp(before)) > 0:
        return RANGE[0]
    for at in steps[1:]:
        if difference(math.exp(at)) > 0:
            for _ in range(6):
                middle = (before + at) / 2
                before, at = (before, middle) if difference(math.exp(middle)) > 0 else (middle, at)
            return math.exp((before + at) / 2)
        before = at
    return None


def _at(name: str, visits: float | None, both: Callable[[float], tuple[Evaluation, Evaluation]]) -> str:
    if visits is None:
        return f"scaling to zero is never worse by {name} below {RANGE[1]:,.0f} visits a day"
    if visits <= RANGE[0]:
        return f"the machine is better by {name} at any number of visits"
    here, there = both(visits)
    return (
        f"above {visits:,.0f} visits a day the machine is better by {name}; the p95 wait there is "
        f"{_wait(here)} here and {_wait(there)} on the machine"
    )


def _wait(answer: Evaluation) -> str:
    """A wait, or that it has no end: with more work than slots the line grows as long as one looks."""
    used = answer.utilisation
    return "without end" if used is not None and used >= 0.99 else f"{answer.opening.p95:,.0f} s"
