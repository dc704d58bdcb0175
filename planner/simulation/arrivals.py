"""Visits: when they come and what each does, drawn ahead of the simulation.

Every quantity has a random stream of its own, seeded by its name, and visits are numbered: two variants of a place or a
model see the very same visitors (common random numbers), so that their difference is the variant's alone.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from planner.scenario import Scenario, ScenarioError

DAY_S, HOUR_S = 86_400.0, 3_600.0
#: Visits drawn at a time: the memory of a long simulation does not grow with it.
BLOCK = 8_192
#: Share of the visits that fall in the busy hours of a pattern, and these hours.
BUSY_SHARE, EVENING, OFFICE = 0.8, range(16, 24), range(9, 17)
#: A launch: how many times the later rate the first hour has, and the hours in which the surplus halves.
LAUNCH_TIMES, LAUNCH_HALF_H = 20.0, 12.0
_Z95 = 1.6448536269514722


class Visitor(NamedTuple):
    """One visit. Lists are by line; the opening is line 0, and its think time is not used."""

    number: int
    at: float
    think_s: Sequence[float]
    tokens: Sequence[float]
    #: Line i is answered from the index.
    by_index: Sequence[bool]
    patience_s: float
    address: int


def hourly_weights(pattern: str, hours: int) -> NDArray[np.float64]:
    """Relative rates of the hours of a horizon that begins on a Monday at midnight. Their mean is 1."""
    of_day = np.arange(hours) % 24
    if pattern == "flat":
        weights = np.ones(hours)
    elif pattern == "evening":
        weights = _busy(np.isin(of_day, EVENING), len(EVENING) / 24)
    elif pattern == "office":
        workday = (np.arange(hours) // 24) % 7 < 5
        weights = _busy(np.isin(of_day, OFFICE) & workday, len(OFFICE) * 5 / 168)
    elif pattern == "launch":
        weights = 1 + (LAUNCH_TIMES - 1) * 0.5 ** (np.arange(hours) / LAUNCH_HALF_H)
    else:
        raise ValueError(pattern)
    return np.asarray(weights / weights.mean(), dtype=np.float64)


def arrival_times(scenario: Scenario, days: int, seed: int) -> NDArray[np.float64]:
    """When the visits come, in seconds and in order. A trace is repeated until the horizon is full."""
    if scenario.traffic.pattern.endswith(".csv"):
        return _repeat(read_trace(Path(scenario.traffic.pattern)), days, scenario.traffic.growth, seed)
    hours = days * 24
    rates = hourly_weights(scenario.traffic.pattern, hours) * scenario.visits_per_day / 24
    rng = _stream(seed, "arrivals")
    # By time change: unit-rate arrivals, mapped through the cumulated rate. A higher rate keeps the same visitors.
    cumulated = np.concatenate([[0.0], np.cumsum(rates)])
    expected = cumulated[-1]
    gaps = rng.exponential(size=int(expected + 6 * math.sqrt(expected) + 20))
    unit = np.cumsum(gaps)
    unit = unit[unit < expected]
    return np.asarray(np.interp(unit, cumulated, np.arange(hours + 1) * HOUR_S), dtype=np.float64)


def visitors(scenario: Scenario, times: NDArray[np.float64], seed: int) -> Iterator[Visitor]:
    """The visits at these times, block by block."""
    visit, traffic = scenario.visit, scenario.traffic
    sigma = math.log(visit.reply_tokens_p95 / visit.reply_tokens) / _Z95
    turns = visit.turns
    for first in range(0, len(times), BLOCK):
        count = min(BLOCK, len(times) - first)
        block = first // BLOCK
        shape = (count, turns)
        think = _stream(seed, "think", block).exponential(visit.think_s or 1.0, shape) * (visit.think_s > 0)
        tokens = visit.reply_tokens * np.exp(_stream(seed, "tokens", block).standard_normal(shape) * sigma)
        by_index = _stream(seed, "book", block).random(shape) < visit.index_share
        by_index[:, 0] = False
        patience = np.full(count, math.inf)
        if traffic.abandon_after_s is not None:
            patience = _stream(seed, "patience", block).exponential(traffic.abandon_after_s, count)
        address = np.arange(first, first + count)
        if traffic.addresses:
            address = _stream(seed, "address", block).integers(traffic.addresses, size=count)
        rows: tuple[Any, ...] = (
            times[first : first + count].tolist(),
            think.tolist(),
            np.maximum(1.0, tokens).tolist(),
            by_index.tolist(),
            patience.tolist(),
            address.tolist(),
        )
        for number, row in enumerate(zip(*rows, strict=True), first):
            yield Visitor(number, *row)


def read_trace(path: Path) -> NDArray[np.float64]:
    """The arrival times of a CSV trace, from 0. Raises `ScenarioError` for a gap or a cell that is no number."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = tuple(reader.fieldnames or ())
        if names == ("at",):
            return _events(path, [row["at"] for row in reader])
        if names == ("hour", "visits"):
            return _counts(path, [(row["hour"], row["visits"]) for row in reader])
    raise ScenarioError(
        f"{path} has the columns {', '.join(names) or 'none'}: a trace has one column `at`, or the two `hour,visits`."
    )


def _events(path: Path, cells: Sequence[str | None]) -> NDArray[np.float64]:
    times = []
    for line, cell in enumerate(cells, 2):
        try:
            text = (cell or "").strip()
            times.append(float(text) if _numeric(text) else datetime.fromisoformat(text).timestamp())
        except ValueError:
            raise ScenarioError(
                f"{path}, line {line}: `at` is {cell!r}; write seconds or an ISO 8601 time, and leave no cell empty."
            ) from None
        if len(times) > 1 and times[-1] < times[-2]:
            raise ScenarioError(f"{path}, line {line}: `at` goes back in time ({cell}); sort the trace.")
    if not times:
        raise ScenarioError(f"{path} has no visits; add a line for each.")
    return np.array(times) - times[0]


def _counts(path: Path, rows: Sequence[tuple[str | None, str | None]]) -> NDArray[np.float64]:
    times: list[float] = []
    for index, (hour, visits) in enumerate(rows):
        line = index + 2
        if not (hour or "").strip().isdigit() or int(hour or "") != index:
            raise ScenarioError(
                f"{path}, line {line}: hour is {hour!r} where {index} was expected; a trace has every hour once, "
                "from 0, so write the missing ones with 0 visits."
            )
        if not (visits or "").strip().isdigit():
            raise ScenarioError(f"{path}, line {line}: visits is {visits!r}; write a whole number, 0 for none.")
        count = int(visits or "")
        times += [(index + (one + 0.5) / count) * HOUR_S for one in range(count)]
    if not times:
        raise ScenarioError(f"{path} has no visits; write at least one.")
    return np.array(times)


def _repeat(trace: NDArray[np.float64], days: int, growth: float, seed: int) -> NDArray[np.float64]:
    """The trace over and over, from midnight to midnight; growth thins or doubles its visits."""
    period = max(DAY_S, math.ceil((trace[-1] + 1) / DAY_S) * DAY_S)
    rounds = max(1, math.ceil(days * DAY_S / period))
    times = np.concatenate([trace + one * period for one in range(rounds)])
    rng = _stream(seed, "arrivals")
    copies = math.floor(growth) + (rng.random(len(times)) < growth - math.floor(growth))
    times = np.repeat(times, copies)
    return np.asarray(np.sort(times[times < days * DAY_S]), dtype=np.float64)


def _busy(busy: NDArray[np.bool_], share_of_time: float) -> NDArray[np.float64]:
    return np.where(busy, BUSY_SHARE / share_of_time, (1 - BUSY_SHARE) / (1 - share_of_time))


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _stream(seed: int, name: str, block: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, crc32(name.encode()), block])
