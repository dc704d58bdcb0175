"""The decision procedure of the thesis behind this planner, walked with a scenario's own figures.

Daniel Wetzel, "Green Tech or Digital Polluter?" (TU Berlin, 2024), asks eight questions; it gives no thresholds, no
money and no waiting. The answers here are the simulation's. `lines` name the lines of its text as printed.
"""

from __future__ import annotations

from typing import NamedTuple

from overture.accounting.energy import hosted_api
from overture.accounting.grid import GRIDS, grid
from overture.accounting.ranges import significant
from planner.analysis.evaluation import Evaluation
from planner.costs.prices import machines
from planner.costs.speeds import BESIDE_GB, LLAMAS, quality, weights_gb
from planner.report import dollars, percent, seconds


class Step(NamedTuple):
    """A question, the answer taken, and the lines it rests on."""

    question: str
    answer: str
    lines: str


#: Thesis table 11: guidance over no guidance, and precisions over 16 bits at equal hardware.
GUIDANCE, FP8, INT4 = (1.30, 2.01), (0.51, 0.64), (0.37, 0.63)


def explain(answer: Evaluation) -> list[Step]:
    """The eight questions for one evaluated scenario."""
    return [
        Step("Q1 Is the machine busy most of its time? If not: an API, or serverless.", _q1(answer), "1417-1427, 1446"),
        Step("Q2 Does the model meet the quality with default settings?", _q2(answer), "1470-1478"),
        Step("Q3 If not: customise by retrieval, prompting or tools.", _q3(answer), "1480-1488, 1282"),
        Step("Q4 Assess quality, money, carbon and governance.", _q4(answer), "1490-1499"),
        Step("Q5 Optimise: engine, precision, machine, output, input.", _q5(answer), "1501-1510, 1168-1182"),
        Step("Q6 Choose the region by carbon, latency and sovereignty.", _q6(answer), "1533-1554"),
        Step(
            "Q7 Watch it live: latency, throughput, errors, energy.",
            "After a week, `python -m planner SCENARIO.yaml --check cloudwatch` compares the counts with this plan.",
            "1512-1521",
        ),
        Step(
            "Q8 Take sufficient quality at the least energy and cost, perhaps a model for each sub-task.",
            f"The answer index is one already: {percent(answer.index_share)} of the lines never reach the model. "
            "`--sweep` lists what is worth having.",
            "1523-1531",
        ),
    ]


def text(answer: Evaluation) -> str:
    """The walk as text."""
    return "\n\n".join(f"{step.question}\n  {step.answer}\n  (thesis, lines {step.lines})" for step in explain(answer))


def _q1(answer: Evaluation) -> str:
    place = answer.scenario.place
    used = answer.utilisation
    busy = "Nothing is held." if used is None else f"Its slots are at work {percent(used)} of the time."
    host = "a machine of one's own" if machines(place) else "a place that scales to zero"
    if place.kind == "api":
        host = "a hosted API"
    ours = answer.gco2e_1000_tokens.likely
    api = hosted_api(LLAMAS[answer.scenario.model.shape].parameters_b, 1_000, grid(place.region)).gco2e.likely
    return (
        f"{busy} Taken: {host}. A thousand tokens cost {significant(ours)} g CO2e here, all that is held and idle "
        f"included, and {significant(api)} g on a batched hosted API as EcoLogits models it: {significant(ours / api)} "
        "times."
    )


def _q2(answer: Evaluation) -> str:
    model, limit = answer.scenario.model, answer.scenario.limits.quality
    asked = "no limit is set" if limit is None else f"at least {limit:g} is asked for"
    return (
        f"{model.shape} at {model.precision} has {quality(model):.0f}, the published MMLU times what the precision "
        f"retains; {asked}. Only a benchmark of one's own questions decides."
    )


def _q3(answer: Evaluation) -> str:
    cost = f"Guidance cost the thesis {GUIDANCE[0]:.2f} to {GUIDANCE[1]:.2f} times the energy; here "
    if answer.scenario.model.prefix_shipped:
        return f"{cost}the shipped prefix has {percent(answer.scenario.visit.reused)} of a prompt ready beforehand."
    return f"{cost}no prefix is shipped, so that every token of a prompt is computed again."


def _q4(answer: Evaluation) -> str:
    return (
        f"{dollars(answer.usd_month.likely)} a month, {significant(answer.visit.gco2e.likely)} g CO2e a visit, p95 "
        f"wait {seconds(answer.opening.p95)}. Limits: {'; '.join(answer.broken()) or 'none is broken'}."
    )


def _q5(answer: Evaluation) -> str:
    model = answer.scenario.model
    weights = weights_gb(model)
    return (
        f"Engine {model.engine}, precision {model.precision} (thesis, over 16 bits at equal hardware: 8 bits "
        f"{FP8[0]:.2f}-{FP8[1]:.2f}, 4 bits {INT4[0]:.2f}-{INT4[1]:.2f}). It needs {weights + BESIDE_GB:.1f} GB; the "
        f"thesis' rule for a GPU server, weights x 1.4 + 3, gives {weights * 1.4 + 3:.1f} GB."
    )


def _q6(answer: Evaluation) -> str:
    region = answer.scenario.place.region
    cleanest = sorted(GRIDS, key=lambda name: GRIDS[name].lifecycle.likely)[:3]
    listed = ", ".join(f"{name} ({GRIDS[name].lifecycle.likely:g})" for name in cleanest)
    return (
        f"{region} has {grid(region).lifecycle} g/kWh; the cleanest are {listed}. The hardware's own "
        f"{significant(answer.visit.embodied_g.likely)} g a visit are the same everywhere."
    )
