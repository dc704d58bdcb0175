"""What a scenario comes to: its waits, money and footprint, by simulation and `planner.costs`.

Two scenarios that simulate the same (another region, say) share one run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from infra.deploy.prices import FRONT_GB
from overture.accounting.energy import Footprint
from overture.accounting.grid import grid
from overture.accounting.ledger import Saving, saved
from overture.accounting.ranges import Range
from planner.costs import energy, prices
from planner.costs.speeds import Speeds, quality, speeds, weights_gb
from planner.scenario import Scenario, Traffic, Visit
from planner.simulation.arrivals import DAY_S, arrival_times, visitors
from planner.simulation.simulate import simulate
from planner.simulation.system import Outcome, System

#: Visits that are simulated for the likely case, and for each bound.
VISITS, BOUND_VISITS = 20_000, 6_000
#: The longest horizon, so that a scenario of a visit a day ends too.
MOST_DAYS = 3_650
#: Losing more visits than this share is reported beside the limits.
MOST_LOST = 0.05


class Waits(NamedTuple):
    """Percentiles in seconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a scenario comes to."""

    scenario: Scenario
    days: float
    outcome: Outcome
    #: US dollars a month by item at the likely speed, and the sum with bounds.
    items: dict[str, float]
    usd_month: Range
    #: Footprint of one visit, by part and together.
    parts: dict[str, Footprint]
    visit: Footprint
    #: From the prologue's end to the first word of the opening, with bounds on its p95; from a later line to its first.
    opening: Waits
    opening_p95: Range
    later: Waits
    tokens_per_s: Range
    quality: float
    saving: Saving

    @property
    def visits_month(self) -> float:
        """Visits in 30 days."""
        return self.outcome.visits / self.days * 30

    @property
    def lost_share(self) -> float:
        """Visits that gave up, or that a cap or the kill switch refused."""
        return (self.outcome.left + self.outcome.refused_wakes) / max(1, self.outcome.visits)

    @property
    def usd_visit(self) -> Range:
        """US dollars for each visit that was served, what is paid for nobody included."""
        return self.usd_month / max(1e-9, self.visits_month * (1 - self.lost_share))

    @property
    def gco2e_1000_tokens(self) -> Range:
        """The SCI for a thousand tokens."""
        return self.visit.gco2e * (1_000 * _served(self.outcome) / max(1.0, self.outcome.tokens))

    @property
    def cold_share(self) -> float:
        """Visits that needed a start."""
        return self.outcome.visits_cold / max(1, self.outcome.visits)

    @property
    def index_share(self) -> float:
        """Lines that the answer index replied to."""
        return self.outcome.index_lines / max(1, self.outcome.lines)

    @property
    def queued_share(self) -> float:
        """Lines that found their session waiting for a slot."""
        return self.outcome.queued_lines / max(1, self.outcome.lines)

    @property
    def utilisation(self) -> float | None:
        """Share of the slots' time that is at work; None without a cap."""
        place = self.scenario.place
        slots = prices.machines(place) or place.cap
        if place.kind == "api" or not slots:
            return None
        busy = self.outcome.busy_s if prices.machines(place) else self.outcome.billed_s
        return busy / (slots * self.days * DAY_S)

    @property
    def kill_chance(self) -> float:
        """The chance that the kill switch acts in a month."""
        return 1 - math.exp(-len(self.outcome.kills) / (self.days / 30))

    def _lost_to(self) -> str:
        out = self.outcome
        if out.refused_wakes > out.left:
            return "to wakes_per_day"
        return "to the kill switch (raise place.ceiling_gb_s)" if out.refused_lines > out.left / 2 else "to the waiting"

    def broken(self) -> list[str]:
        """The limits that do not hold, each as a sentence."""
        limits = self.scenario.limits
        found = []
        if self.lost_share > MOST_LOST:
            found.append(f"{self.lost_share:.0%} of the visits are lost, most of them {self._lost_to()}")
        if limits.own_model and self.scenario.place.kind == "api":
            found.append("a hosted API runs a model that is not one's own")
        checks: list[tuple[str, float | None, float, bool]] = [
            ("p95 wait, s", limits.p95_wait_s, self.opening.p95, True),
            ("$ a month", limits.usd_month, self.usd_month.likely, True),
            ("gCO2e a visit", limits.gco2e_visit, self.visit.gco2e.likely, True),
            ("quality", limits.quality, self.quality, False),
        ]
        for name, limit, value, most in checks:
            if limit is not None and (value > limit if most else value < limit):
                found.append(f"{name} is {value:.2f}, the limit {limit:g}")
        return found


def evaluate(scenario: Scenario, *, visits: int = VISITS, seed: int = 1, bounds: bool = True) -> Evaluation:
    """What a scenario comes to. Raises `ScenarioError`."""
    fast = speeds(scenario)
    days = horizon(scenario, visits)
    outcome = _played(
        _system_at(scenario, fast, fast.tokens_per_s.likely), scenario.traffic, scenario.visit, days, seed
    )
    items, visit = _sums(scenario, outcome, days)
    parts = {name: part * (1 / _served(outcome)) for name, part in energy.by_part(scenario, outcome, days).items()}
    usd, opening = sum(items.values()), _percentiles(outcome.opening)
    usd_range, p95 = Range.exactly(usd), Range.exactly(opening.p95)
    if bounds and fast.tokens_per_s.low != fast.tokens_per_s.high:
        fewer = min(days, horizon(scenario, BOUND_VISITS))
        rates = (fast.tokens_per_s.high, fast.tokens_per_s.low)
        found = []
        for rate in rates:
            bound = _played(_system_at(scenario, fast, rate), scenario.traffic, scenario.visit, fewer, seed)
            found.append((bound, *_sums(scenario, bound, fewer)))
        sums = [sum(money.values()) for _, money, _ in found]
        waits = [_percentiles(bound.opening).p95 for bound, _, _ in found]
        usd_range = Range(min(usd, *sums), usd, max(usd, *sums))
        p95 = Range(min(opening.p95, *waits), opening.p95, max(opening.p95, *waits))
        visit = energy.widened(visit, found[0][2], found[1][2])
    here = grid(scenario.place.region)
    saving = saved(energy.ledger(scenario, outcome), scenario.place.memory_mb, FRONT_GB * 1024, here)
    return Evaluation(
        scenario, days, outcome, items, usd_range, parts, visit, opening, p95, _percentiles(outcome.later),
        fast.tokens_per_s, quality(scenario.model), saving,
    )  # fmt: skip


def horizon(scenario: Scenario, visits: int) -> int:
    """Days that hold this many visits: whole weeks, so that every weekday counts the same; a launch is four weeks."""
    if scenario.traffic.pattern == "launch":
        return 28
    return min(MOST_DAYS, 7 * max(1, math.ceil(visits / scenario.visits_per_day / 7)))


def _served(outcome: Outcome) -> int:
    return max(1, outcome.visits - outcome.left - outcome.refused_wakes)


def _sums(scenario: Scenario, outcome: Outcome, days: int) -> tuple[dict[str, float], Footprint]:
    whole = energy.total(energy.by_part(scenario, outcome, days))
    return prices.month(scenario, outcome, days, weights_gb(scenario.model)), whole * (1 / _served(outcome))


def system_of(scenario: Scenario) -> System:
    """What is simulated for a scenario at its likely speed. Raises `ScenarioError`."""
    fast = speeds(scenario)
    return _system_at(scenario, fast, fast.tokens_per_s.likely)


def _system_at(scenario: Scenario, fast: Speeds, tokens_per_s: float) -> System:
    place, visit, model = scenario.place, scenario.visit, scenario.model
    fixed = prices.machines(place) > 0
    # A hosted API is one machine with room for everybody, whose streams do not slow each other.
    machines = 1 if place.kind == "api" else prices.machines(place)
    reused = visit.reused if model.prefix_shipped else 0.0
    return System(
        tokens_per_s=tokens_per_s,
        prefill_per_s=fast.prefill_per_s * tokens_per_s / fast.tokens_per_s.likely,
        first_fixed_s=fast.first_fixed_s,
        prompt_tokens=visit.prompt_tokens * (1 - reused),
        turn_tokens=visit.reply_tokens + 20,
        cache_slots=model.cache_slots,
        start_s=fast.start_s,
        cap=0 if fixed or place.kind == "api" else place.cap,
        keep_s=place.keep_s,
        linger_s=0.0 if fixed or place.kind == "api" else place.linger_s,
        prologue_s=visit.prologue_s,
        provisioned=min(place.provisioned, place.cap or place.provisioned) if place.kind == "provisioned" else 0,
        machines=machines,
        streams=place.streams if fixed else 1_000_000 if place.kind == "api" else 1,
        batch_cost=place.batch_cost if fixed else 0.0,
        memory_gb=place.memory_mb / 1024,
        ceiling_gb_s=0.0 if fixed or place.kind == "api" else place.ceiling_gb_s,
        wakes_per_day=place.wakes_per_day,
    )


@lru_cache(maxsize=256)
def _played(system: System, traffic: Traffic, visit: Visit, days: int, seed: int) -> Outcome:
    scenario = Scenario(traffic=traffic, visit=visit)
    return simulate(system, visitors(scenario, arrival_times(scenario, days, seed), seed))


def _percentiles(waits: Sequence[float]) -> Waits:
    if not len(waits):
        return Waits(math.nan, math.nan, math.nan)
    return Waits(*(float(value) for value in np.percentile(np.asarray(waits), [50, 95, 99])))
