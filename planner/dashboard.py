"""The planner as a page: `make dashboard` (Streamlit and Altair; the group `planner` of pyproject.toml).

Works offline. The scenario stands in the address, so that a link shares it; it can be taken along as YAML, and every
table as CSV. Colours are Okabe and Ito's, which colour-blind readers can tell apart; shapes and words say it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import altair as alt
import msgspec
import pandas as pd
import streamlit as st
import yaml

from overture.accounting.energy import hosted_api
from overture.accounting.grid import GRIDS, grid
from overture.accounting.ranges import significant
from planner import explain, report
from planner.analysis import decisions, evaluation, thesis
from planner.analysis.evaluation import Evaluation
from planner.analysis.ladder import climb
from planner.costs.prices import INSTANCES
from planner.costs.speeds import INTERACTIVE_TOKENS_S, LLAMAS, READING_WPM, WORDS_A_TOKEN, calibration
from planner.deployment import check, days
from planner.scenario import PATTERNS, Engine, Kind, Precision, Scenario, ScenarioError, Shape, parse, with_values

#: Okabe and Ito (2008).
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#999999"
VISITS = 4_000

#: Fields that the side shows: their choices, or the least, the most and the step of a number.
CHOICES: dict[str, Sequence[str]] = {
    "traffic.pattern": PATTERNS,
    "model.shape": get_args(Shape),
    "model.precision": get_args(Precision),
    "model.engine": get_args(Engine),
    "place.kind": get_args(Kind),
    "place.region": list(GRIDS),
    "place.instance": list(INSTANCES),
}
NUMBERS: dict[str, tuple[float, float, float]] = {
    "traffic.visits_per_day": (1, 2_000, 1),
    "visit.turns": (1, 50, 1),
    "visit.think_s": (0, 120, 5),
    "visit.index_share": (0, 0.9, 0.05),
    "visit.prologue_s": (0, 120, 5),
    "place.cap": (0, 100, 1),
    "place.linger_s": (0, 600, 10),
    "place.ceiling_gb_s": (0, 5_000_000, 50_000),
}
WHOLE = {"visit.turns", "place.cap", "place.ceiling_gb_s"}


@st.cache_data(show_spinner="Simulating …", max_entries=64)
def evaluated(text: str) -> Evaluation:
    """The answer to a scenario, given as YAML."""
    return evaluation.evaluate(parse(text), visits=VISITS)


def main() -> None:
    """Draws the page."""
    st.set_page_config(page_title="Overture planner", layout="wide")
    st.title("What to run where")
    page = st.sidebar.radio("Page", list(PAGES), key="page")
    try:
        scenario = chosen()
        text = as_yaml(scenario)
        answer = evaluated(text)
    except ScenarioError as error:
        st.error(str(error))
        return
    st.sidebar.download_button("Scenario as YAML", text, "scenario.yaml", "application/yaml")
    st.caption(report.heading(scenario))
    try:
        PAGES[page](scenario, answer)
    except ScenarioError as error:
        st.warning(str(error))


def chosen() -> Scenario:
    """The scenario of the address, as the side changes it; what is not a default goes back into the address."""
    default = Scenario()
    given = st.query_params
    values: dict[str, object] = {}
    for name, options in CHOICES.items():
        value = given.get(name, str(_field(default, name)))
        index = list(options).index(value) if value in options else 0
        values[name] = st.sidebar.selectbox(_label(name), options, index=index, key=name)
    for name, (least, most, step) in NUMBERS.items():
        kind: Callable[[float], float] = int if name in WHOLE else float
        try:
            value_now = float(str(given.get(name, _field(default, name))))
        except ValueError:
            raise ScenarioError(f"{name} is {given[name]!r} in the address: write a number.") from None
        values[name] = st.sidebar.slider(
            _label(name), kind(least), kind(most), kind(min(most, max(least, value_now))), kind(step), key=name
        )
    for name, now in values.items():
        if now == _field(default, name):
            given.pop(name, None)
        else:
            given[name] = str(now)
    return with_values(default, values)


def overview(scenario: Scenario, answer: Evaluation) -> None:
    """Money, energy, carbon and waiting, with bounds."""
    visit = answer.visit
    figures = [
        ("a month", report.dollars(answer.usd_month.likely), str(answer.usd_month)),
        ("energy a visit", f"{significant(visit.wh.likely)} Wh", str(visit.wh)),
        ("carbon a visit", f"{significant(visit.gco2e.likely)} g", str(visit.gco2e)),
        ("p95 wait", report.seconds(answer.opening.p95), "beyond the prologue, to the first word"),
    ]
    for column, (name, value, bounds) in zip(st.columns(len(figures)), figures, strict=True):
        column.metric(name, value, help=bounds)
    for sentence in answer.broken():
        st.warning(sentence)
    left, right = st.columns(2)
    parts = [(name, one.wh.low, one.wh.likely, one.wh.high) for name, one in answer.parts.items()]
    left.altair_chart(_bars(parts, "Wh a visit, by part", BLUE), width="stretch")
    items = [(name, value, value, value) for name, value in answer.items.items()]
    right.altair_chart(_bars(items, "US dollars a month, by item", ORANGE), width="stretch")
    rate = answer.tokens_per_s
    st.write(
        f"{rate} tokens/s are {rate.likely * WORDS_A_TOKEN * 60:.0f} words a minute; people read {READING_WPM}, and an "
        f"interactive chat is expected to make {INTERACTIVE_TOKENS_S:g} tokens/s."
    )
    with st.expander("The whole answer"):
        st.code(report.text(answer), language=None)
    with st.expander("The decision procedure of the thesis"):
        st.text(explain.text(answer))


def choices(scenario: Scenario, answer: Evaluation) -> None:
    """The Pareto set and why the others are not in it."""
    found, refused = _sweep(as_yaml(scenario))
    frame = pd.DataFrame(found, columns=["choice", "$ a month", "gCO2e a visit", "p95 wait, s", "quality", "reason"])
    frame["kept"] = ["worth having" if not reason else "not" for reason in frame["reason"]]
    points = (
        alt.Chart(frame)
        .mark_point(filled=True, size=120)
        .encode(
            x=alt.X("$ a month", scale=alt.Scale(type="log")),
            y=alt.Y("gCO2e a visit", scale=alt.Scale(type="log")),
            color=alt.Color("kept", scale=alt.Scale(domain=["worth having", "not"], range=[GREEN, GREY])),
            shape="kept",
            tooltip=list(frame.columns),
        )
    )
    st.altair_chart(points + points.mark_text(dy=-12).encode(text="choice"), width="stretch")
    _frame(frame, "choices")
    for sentence in refused:
        st.caption(f"not evaluated: {sentence}")


def break_evens(scenario: Scenario, answer: Evaluation) -> None:
    """Where a machine that never sleeps is better."""
    instance = st.selectbox("Machine", list(INSTANCES), index=list(INSTANCES).index("r8g.4xlarge"))
    if st.button("Look for the turning points (a minute)"):
        found = decisions.break_even(scenario, instance=instance)
        st.code(report.break_even_text(found, instance), language=None, wrap_lines=True)


def tornado(scenario: Scenario, answer: Evaluation) -> None:
    """The assumptions that move the answer most."""
    measure = st.radio("Measure", ["usd", "gco2e", "wait"], horizontal=True)
    frame = _why(as_yaml(scenario))
    frame = frame[frame["measure"] == measure]
    bars = alt.Chart(frame).mark_bar().encode(
        y=alt.Y("assumption", sort=None), x=alt.X("low", title=measure), x2="high", color=alt.value(BLUE),
        tooltip=list(frame.columns),
    )  # fmt: skip
    st.altair_chart(bars, width="stretch")
    _frame(frame, "assumptions")


def regions(scenario: Scenario, answer: Evaluation) -> None:
    """The same visit in every region: the electricity changes, the hardware does not."""
    here = grid(scenario.place.region).lifecycle.likely
    rows = []
    for name, one in GRIDS.items():
        operational = answer.visit.operational_g.likely * one.lifecycle.likely / here
        rows += [(name, one.place, "operational", operational, one.year, one.source)]
        rows += [(name, one.place, "embodied", answer.visit.embodied_g.likely, one.year, one.source)]
    frame = pd.DataFrame(rows, columns=["region", "where", "kind", "g CO2e a visit", "year", "source"])
    bars = alt.Chart(frame).mark_bar().encode(
        y=alt.Y("region", sort="-x"), x="g CO2e a visit",
        color=alt.Color("kind", scale=alt.Scale(domain=["operational", "embodied"], range=[BLUE, ORANGE])),
        tooltip=list(frame.columns),
    )  # fmt: skip
    st.altair_chart(bars, width="stretch")
    st.caption("Means of a year. Hours differ, and no hourly data that may be passed on are part of this project.")
    _frame(frame, "regions")


def ladder(scenario: Scenario, answer: Evaluation) -> None:
    """The published references' story, step by step."""
    rows = [
        (
            one.name,
            one.reply_s,
            one.answer.usd_visit.likely,
            one.at_work_wh * 1000,
            one.answer.visit.wh.likely * 1000,
            one.answer.visit.gco2e.likely,
            one.source,
        )
        for one in climb(scenario, visits=600)
    ]
    names = ["step", "a reply, s", "$ a visit", "mWh at work", "mWh a visit", "g CO2e a visit", "rests on"]
    frame = pd.DataFrame(rows, columns=names)
    scale = alt.Scale(type="log")
    points = alt.Chart(frame).mark_point(filled=True, size=150, color=GREEN)
    encoded = points.encode(y=alt.Y("step", sort=None), x=alt.X("g CO2e a visit", scale=scale), tooltip=names)
    st.altair_chart(encoded, width="stretch")
    _frame(frame, "ladder")


def thesis_mode(scenario: Scenario, answer: Evaluation) -> None:
    """The thesis' dashboard of 2024, and where its answers mislead."""
    left, right = st.columns(2)
    before = left.selectbox("Bits before", thesis.PRECISIONS, index=0)
    after = right.selectbox("Bits after", thesis.PRECISIONS, index=2)
    pairs = []
    for name, most in (("Input tokens", 1_000_000), ("Output tokens", 100_000)):
        one = left.number_input(f"{name} before", 1, most, 256)
        pairs.append((one, right.number_input(f"{name} after", 1, most, 256)))
    size = left.number_input("Billions of parameters before", 0.1, 4_000.0, 70.0)
    to = right.number_input("Billions of parameters after", 0.1, 4_000.0, 8.0)
    factors = [
        thesis.precision(before, after),
        thesis.input_tokens(*pairs[0]),
        thesis.output_tokens(*pairs[1]),
        thesis.model_size(size, to),
    ]
    st.metric("All measures together", f"{thesis.together(factors):.3g} times the energy")
    for factor in factors:
        if factor.factor != 1:
            st.write(f"**{factor.name}**: {factor.factor:.3g} times. {factor.caution}")
    front = pd.DataFrame(thesis.pareto(), columns=["Wh for 1,000 prompts", "score", "setup"])
    line = alt.Chart(front).mark_line(point=True, color=VERMILION)
    scale = alt.Scale(type="log")
    encoded = line.encode(x=alt.X("Wh for 1,000 prompts", scale=scale), y="score", tooltip=list(front.columns))
    st.altair_chart(encoded, width="stretch")
    st.caption("Tables 10 and 11: a 12B with guidance on one GPU equals a 70B on eight for a tenth of the energy.")


def benches(scenario: Scenario, answer: Evaluation) -> None:
    """How far the predictions lie from what is published and measured."""
    rows = [(one.what, one.published, one.predicted, one.error, one.fitted, one.source) for one in calibration()]
    _frame(pd.DataFrame(rows, columns=["what", "figure", "predicted", "error", "fitted", "source"]), "calibration")
    here = grid(scenario.place.region)
    wh = hosted_api(LLAMAS[scenario.model.shape].parameters_b, 1e6, here).wh
    st.write(f"A million tokens of this shape on a batched GPU take {wh} Wh, as EcoLogits models it.")


def backstage(scenario: Scenario, answer: Evaluation) -> None:
    """What a running stack counts, beside the plan."""
    source = st.text_input("A log of a local stack, a folder of logs, or `cloudwatch`", key="source")
    if source:
        st.code(check.text(answer, check.read(source, scenario.place.region)), language=None)
    name = st.text_input("The table of a running stack, for what it used on each day (UTC)", key="table")
    if name:
        used = days.rows(days.read(name, scenario.place.region), scenario.place)
        _frame(pd.DataFrame(used, columns=list(days.HEAD)), "days")


PAGES: dict[str, Callable[[Scenario, Evaluation], None]] = {
    "Overview": overview,
    "Choices": choices,
    "Break-even": break_evens,
    "What moves it": tornado,
    "Regions": regions,
    "Ladder": ladder,
    "Thesis": thesis_mode,
    "Benches": benches,
    "Backstage": backstage,
}


def as_yaml(scenario: Scenario) -> str:
    """A scenario as a file: what differs from the defaults."""
    plain: dict[str, Any] = msgspec.to_builtins(scenario)
    default: dict[str, Any] = msgspec.to_builtins(Scenario())
    kept: dict[str, Any] = {"name": scenario.name}
    for section, fields in plain.items():
        if isinstance(fields, dict):
            changed = {name: value for name, value in fields.items() if value != default[section][name]}
            kept.update({section: changed} if changed else {})
    return str(yaml.safe_dump(kept, sort_keys=False))


@st.cache_data(show_spinner="Comparing …", max_entries=16)
def _sweep(text: str) -> tuple[list[tuple[Any, ...]], list[str]]:
    found, refused = decisions.sweep(parse(text), decisions.AXES, visits=1_000)
    return [(one.name, *_figures(one.answer), one.reason) for one in found], refused


def _figures(answer: Evaluation) -> tuple[float, ...]:
    return answer.usd_month.likely, answer.visit.gco2e.likely, answer.opening.p95, answer.quality


@st.cache_data(show_spinner="Moving assumptions …", max_entries=16)
def _why(text: str) -> pd.DataFrame:
    _, swings = decisions.why(parse(text), visits=1_000)
    rows = [
        (f"{one.name}: {report.plain(one.low)} to {report.plain(one.high)}", measure, *getattr(one, measure))
        for one in swings
        for measure in ("usd", "gco2e", "wait")
    ]
    return pd.DataFrame(rows, columns=["assumption", "measure", "low", "high"])


def _bars(rows: Sequence[tuple[str, float, float, float]], title: str, colour: str) -> alt.LayerChart | alt.FacetChart:
    frame = pd.DataFrame(rows, columns=["part", "low", title, "high"])
    base = alt.Chart(frame).encode(y=alt.Y("part", sort="-x", title=None), tooltip=list(frame.columns))
    bars = base.mark_bar(color=colour).encode(x=alt.X(title, title=title))
    return alt.layer(bars, base.mark_rule(color="black").encode(x=alt.X("low", title=title), x2="high"))


def _frame(frame: pd.DataFrame, name: str) -> None:
    st.dataframe(frame, hide_index=True, width="stretch")
    st.download_button("CSV", frame.to_csv(index=False), f"{name}.csv", "text/csv", key=f"csv-{name}")


def _field(scenario: Scenario, name: str) -> object:
    section, _, field = name.partition(".")
    return getattr(getattr(scenario, section), field)


def _label(name: str) -> str:
    return name.partition(".")[2].replace("_", " ")


if __name__ == "__main__":
    main()
