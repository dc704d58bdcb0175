"""The planner's answers as text: tables that say the unit, the bounds and what the figure rests on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from overture.accounting.grid import SOURCES, grid
from overture.accounting.ranges import Range, significant
from planner.analysis.decisions import BreakEven, Choice, Swing
from planner.analysis.evaluation import Evaluation
from planner.costs.prices import machines
from planner.costs.speeds import INTERACTIVE_TOKENS_S, READING_WPM, WORDS_A_TOKEN, calibration
from planner.scenario import Scenario, defaults

_INDENT = " " * 14


def heading(scenario: Scenario) -> str:
    """The scenario in a line."""
    place, model = scenario.place, scenario.model
    if count := machines(place):
        where = f"{count} x {place.instance} ({place.kind})"
    elif place.kind == "api":
        where = "a hosted API"
    else:
        where = f"{place.kind}, {place.memory_mb:,} MB, cap {place.cap or 'none'}"
    return (
        f"{scenario.name}: {model.shape} {model.precision} on {where} in {place.region}; "
        f"{scenario.visits_per_day:g} visits a day, {scenario.traffic.pattern}"
    )


def text(answer: Evaluation) -> str:
    """The whole answer."""
    parts = (_money(answer), _footprint(answer), _waiting(answer), _limits(answer))
    return "\n".join([heading(answer.scenario), "", *(line for part in parts for line in part)])


def _money(answer: Evaluation) -> Iterator[str]:
    yield f"Money         {_usd(answer.usd_month)} a month, {_usd(answer.usd_visit)} a visit"
    listed = sorted(answer.items.items(), key=lambda item: -item[1])
    yield _INDENT + ", ".join(f"{name} {dollars(value)}" for name, value in listed if value >= 0.005)
    if answer.scenario.place.kind in ("lambda", "snapstart", "provisioned"):
        yield f"{_INDENT}chance that the kill switch acts in a month: {percent(answer.kill_chance)}"
    yield ""


def _footprint(answer: Evaluation) -> Iterator[str]:
    visit = answer.visit
    here = grid(answer.scenario.place.region)
    yield f"Energy        {visit.wh} Wh a visit; water {visit.water_ml} ml"
    parts = sorted(answer.parts.items(), key=lambda item: -item[1].wh.likely)
    yield _INDENT + ", ".join(f"{name} {significant(part.wh.likely)}" for name, part in parts if part.wh.likely)
    yield f"Carbon (SCI)  {visit.gco2e} g CO2e a visit; {answer.gco2e_1000_tokens} g for 1,000 tokens"
    yield f"{_INDENT}operational {visit.operational_g}, embodied {visit.embodied_g}"
    yield (
        f"{_INDENT}grid of {here.place} ({here.zone} {here.year}): {here.lifecycle} g/kWh life-cycle, "
        f"{significant(here.direct)} direct; location-based"
    )
    yield f"{_INDENT}{SOURCES[here.source].name}"
    yield ""


def _waiting(answer: Evaluation) -> Iterator[str]:
    opening, later, out = answer.opening, answer.later, answer.outcome
    bounds, rate = answer.opening_p95, answer.tokens_per_s
    yield (
        f"Waiting       beyond the prologue: p50 {seconds(opening.p50)}, p95 {seconds(opening.p95)} "
        f"({seconds(bounds.low)} to {seconds(bounds.high)} with the speed), p99 {seconds(opening.p99)}"
    )
    yield (
        f"{_INDENT}first token of a later line: p50 {seconds(later.p50)}, p95 {seconds(later.p95)}, "
        f"p99 {seconds(later.p99)}"
    )
    verdict = "reaches" if rate.likely >= INTERACTIVE_TOKENS_S else "stays below"
    words = significant(rate.likely * WORDS_A_TOKEN * 60)
    yield (
        f"Speed         {rate} tokens/s: {words} words a minute against {READING_WPM} of a reader; "
        f"{verdict} the {INTERACTIVE_TOKENS_S:g} tokens/s of an interactive chat"
    )
    used = "" if answer.utilisation is None else f", utilisation {percent(answer.utilisation)}"
    yield (
        f"Load          cold visits {percent(answer.cold_share)}, lines that queue {percent(answer.queued_share)}, "
        f"longest line {out.longest_queue}, most at work {out.most_at_work}{used}"
    )
    visits = max(1, out.visits)
    yield (
        f"Index         {percent(answer.index_share)} of lines answered without the model; saved a visit: "
        f"{dollars(answer.saving.usd / visits)}, {significant(answer.saving.wh / visits)} Wh, "
        f"{significant(answer.saving.gco2e / visits)} g CO2e"
    )
    if answer.lost_share:
        yield f"Lost          {percent(answer.lost_share)} of visits; figures a visit are of those served"
    retained = f"published MMLU times what {answer.scenario.model.precision} retains; for ranking"
    yield f"Quality       {answer.quality:.0f} ({retained})"


def _limits(answer: Evaluation) -> Iterator[str]:
    yield "Limits        " + ("; ".join(answer.broken()) or "none is broken")
    yield (
        f"\n{answer.outcome.visits:,} visits of {answer.days:g} days were simulated. Ranges are low to high of the "
        "constants and the speed, not intervals of confidence; nothing of this was measured on AWS."
    )


def sweep_text(choices: Sequence[Choice], refused: Iterable[str]) -> str:
    """The Pareto set, then the others with the reason against each."""
    head = ["choice", "$ a month", "gCO2e a visit", "p95 wait", "quality", ""]
    rows = [
        [
            one.name,
            dollars(one.answer.usd_month.likely),
            significant(one.answer.visit.gco2e.likely),
            seconds(one.answer.opening.p95),
            f"{one.answer.quality:.0f}",
            one.reason or "worth having",
        ]
        for one in choices
    ]
    return "\n".join([*table(head, rows), *(f"not evaluated: {sentence}" for sentence in refused)])


def why_text(answer: Evaluation, swings: Sequence[Swing]) -> str:
    """The tornado as a table: the assumption that moves the answer most comes first."""
    head = ["assumption", "from", "to", "$ a month", "gCO2e a visit", "p95 wait", "moves"]
    rows = [
        [
            one.name,
            plain(one.low),
            plain(one.high),
            " to ".join(map(dollars, one.usd)),
            " to ".join(map(significant, one.gco2e)),
            " to ".join(map(seconds, one.wait)),
            percent(one.size(answer)),
        ]
        for one in swings
    ]
    as_it_is = (
        f"As it is: {dollars(answer.usd_month.likely)} a month, {significant(answer.visit.gco2e.likely)} g CO2e a "
        f"visit, p95 wait {seconds(answer.opening.p95)}. One assumption at a time:"
    )
    return "\n".join([as_it_is, *table(head, rows)])


def break_even_text(found: Sequence[BreakEven], instance: str) -> str:
    """Each measure's turning point, and whether they agree."""
    lines = [f"Against one {instance} that never sleeps:"]
    lines += [f"  {one.measure:<8}{one.says}" for one in found]
    at = {one.measure: one.visits_per_day for one in found if one.visits_per_day and one.measure != "wait"}
    if len(at) > 1 and max(at.values()) > 1.3 * min(at.values()):
        first, last = min(at, key=lambda name: at[name]), max(at, key=lambda name: at[name])
        lines.append(
            f"They disagree: between {at[first]:,.0f} and {at[last]:,.0f} visits a day the machine is better by "
            f"{first} and not by {last}."
        )
    return "\n".join(lines)


def calibration_text() -> str:
    """How far the predictions lie from the published points."""
    rows = [
        [
            one.what,
            significant(one.published),
            significant(one.predicted),
            f"{one.error:+.0%}",
            one.source + (" (fitted)" if one.fitted else ""),
        ]
        for one in calibration()
    ]
    return "\n".join(table(["published or measured", "figure", "predicted", "error", "source"], rows))


def defaults_text() -> str:
    """Every field with its default and the default's source."""
    rows = [[one.name, plain(one.value), one.description, one.source] for one in defaults()]
    return "\n".join(table(["field", "default", "what it is", "where the default comes from"], rows))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns line up."""
    everything = [list(head), *map(list, rows)]
    widths = [max(len(row[column]) for row in everything) for column in range(len(head))]
    lines = []
    for row in everything:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("| " + " | ".join(cells) + " |")
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def dollars(value: float) -> str:
    """US dollars with two significant digits."""
    return f"${significant(value)}"


def seconds(value: float) -> str:
    """A wait; `never` where nobody was told anything."""
    return f"{significant(value)} s" if math.isfinite(value) else "never"


def percent(share: float) -> str:
    """A share with two significant digits."""
    return f"{significant(100 * share)}%"


def plain(value: object) -> str:
    """A field's value."""
    return f"{value:g}" if isinstance(value, float) else "null" if value is None else str(value)


def _usd(value: Range) -> str:
    if value.low == value.high:
        return dollars(value.likely)
    return f"{dollars(value.likely)} ({dollars(value.low)} to {dollars(value.high)})"
