from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from overture.accounting.grid import GRIDS
from planner import explain, report
from planner.__main__ import main
from planner.analysis import decisions
from planner.analysis.evaluation import Evaluation, evaluate
from planner.deployment import check
from planner.scenario import Scenario, ScenarioError, parse

SMALL = "model: {shape: 1B}\nplace: {ceiling_gb_s: 0"


def answer(text: str, visits: int = 1_500, **more: bool) -> Evaluation:
    return evaluate(parse(text), visits=visits, **more)


def test_items_parts_and_phases_add_up() -> None:
    found = answer(f"{SMALL}}}")
    assert sum(found.items.values()) == pytest.approx(found.usd_month.likely)
    assert sum(part.wh.likely for part in found.parts.values()) == pytest.approx(found.visit.wh.likely)
    assert found.visit.gco2e.likely == pytest.approx(found.visit.operational_g.likely + found.visit.embodied_g.likely)


def test_ranges_contain_the_likely_value() -> None:
    found = answer(f"{SMALL}}}")
    for value in (found.usd_month, found.visit.wh, found.visit.gco2e, found.opening_p95):
        assert value.low <= value.likely <= value.high
    assert found.visit.wh.low < found.visit.wh.likely < found.visit.wh.high


def test_one_visit_alone_is_the_arithmetic_of_the_prices() -> None:
    """A visit a day with fixed lengths: one start, ten replies of 120 tokens, nothing else."""
    text = (
        "traffic: {visits_per_day: 1, pattern: flat}\n"
        "visit: {reply_tokens: 120, reply_tokens_p95: 120, think_s: 5}\n"
        "model: {tokens_per_s: 4}\nplace: {ceiling_gb_s: 0, keep_s: 600}"
    )
    found = answer(text, visits=300)
    out = found.outcome
    assert out.starts == pytest.approx(out.visits, rel=0.03)
    assert out.decode_s == pytest.approx(out.replies * 119 / 4)
    gb_s = 10 * 0.0000133334 * 30 / found.days
    assert found.items["starts"] == pytest.approx(out.starts * 50 * gb_s)
    assert found.items["telling"] == pytest.approx((out.prefill_s + out.decode_s) * gb_s, rel=0.01)


def test_a_region_changes_carbon_and_neither_money_nor_waiting() -> None:
    dirty, clean = answer(f"{SMALL}, region: ap-south-1}}"), answer(f"{SMALL}, region: eu-north-1}}")
    assert dirty.visit.operational_g.likely / clean.visit.operational_g.likely == pytest.approx(713 / 41)
    assert dirty.visit.embodied_g == clean.visit.embodied_g
    assert (dirty.usd_month, dirty.opening) == (clean.usd_month, clean.opening)


def test_a_cap_trades_waiting_for_starts() -> None:
    text = "traffic: {visits_per_day: 200}\nplace: {ceiling_gb_s: 0, cap: "
    two, ten = answer(f"{text}2}}"), answer(f"{text}10}}")
    assert two.opening.p95 > 5 * ten.opening.p95
    assert two.cold_share < ten.cold_share


def test_the_answer_index_saves_the_replies_it_gives() -> None:
    without, with_index = answer(f"{SMALL}}}"), answer(f"{SMALL}}}\nvisit: {{index_share: 0.3}}")
    assert with_index.index_share == pytest.approx(0.27, abs=0.02)  # the opening is never of the index
    assert with_index.visit.wh.likely < without.visit.wh.likely
    assert with_index.saving.usd > 0
    assert without.saving.usd == 0


def test_the_default_kill_switch_acts_at_the_published_speed() -> None:
    """8B at 2.5 tokens/s: a visit takes 5,800 GB-s, so a day of the default ceiling has 26 visits."""
    found = evaluate(Scenario(), visits=1_500)
    assert found.kill_chance > 0.9
    assert any("kill switch (raise place.ceiling_gb_s)" in sentence for sentence in found.broken())


@pytest.mark.parametrize("kind", ["lambda", "snapstart", "provisioned", "managed_instances", "ec2", "api"])
def test_every_kind_of_place_is_evaluated(kind: str) -> None:
    found = answer(f"{SMALL}, kind: {kind}}}", visits=400)
    assert found.usd_month.likely > 0
    assert found.visit.gco2e.likely > 0
    assert found.outcome.replies > 0
    assert "Money" in report.text(found)
    assert (found.utilisation is None) == (kind == "api")


def test_what_is_held_ready_costs_more_and_waits_less() -> None:
    cold, held = (answer(f"{SMALL}, kind: {kind}, provisioned: 2}}") for kind in ("lambda", "provisioned"))
    assert held.usd_month.likely > cold.usd_month.likely
    assert held.visit.wh.likely > cold.visit.wh.likely
    assert held.outcome.starts == 0


def test_limits_that_do_not_hold_are_named() -> None:
    found = answer(f"{SMALL}}}\nlimits: {{p95_wait_s: 0.01, usd_month: 1, gco2e_visit: 0.001, quality: 99}}")
    assert [sentence.split(" is ")[0] for sentence in found.broken()] == [
        "p95 wait, s", "$ a month", "gCO2e a visit", "quality",
    ]  # fmt: skip


# --- choices ------------------------------------------------------------------------------------


def test_a_sweep_keeps_what_nothing_beats_and_says_why_not_the_rest() -> None:
    axes: dict[str, list[object]] = {
        "place.kind": ["lambda", "ec2", "api"],
        "model.shape": ["1B", "3B"],
        "place.ceiling_gb_s": [0],
    }
    choices, refused = decisions.sweep(Scenario(), axes, visits=300)
    assert not refused
    assert len(choices) == 6
    kept = [one for one in choices if not one.reason]
    assert kept
    assert choices[: len(kept)] == kept
    for one in kept:
        mine = decisions._scores(one.answer)
        for other in choices:
            theirs = decisions._scores(other.answer)
            if not other.answer.broken():
                assert not (all(b <= a for a, b in zip(mine, theirs, strict=True)) and mine != theirs)
    assert all("not one's own" in one.reason for one in choices if "api" in one.name)
    assert "worth having" in report.sweep_text(choices, refused)


def test_a_choice_that_cannot_be_is_told_and_left_out() -> None:
    choices, refused = decisions.sweep(parse(SMALL + "}"), {"model.shape": ["1B", "70B"]}, visits=200)
    assert len(choices) == 1
    assert refused[0].startswith("70B: model.shape is '70B'")


def test_what_moves_the_answer_comes_first() -> None:
    found, swings = decisions.why(parse(f"{SMALL}}}"), visits=300)
    sizes = [one.size(found) for one in swings]
    assert sizes == sorted(sizes, reverse=True)
    assert {"visit.turns", "model.tokens_per_s", "traffic.visits_per_day"} <= {one.name for one in swings}
    turns = next(one for one in swings if one.name == "visit.turns")
    assert turns.usd[0] < turns.usd[1]
    assert "One assumption at a time" in report.why_text(found, swings)


def test_break_evens_differ_by_measure() -> None:
    found = {one.measure: one for one in decisions.break_even(Scenario())}
    assert set(found) == {"money", "energy", "carbon", "wait"}
    money, energy = found["money"].visits_per_day, found["energy"].visits_per_day
    assert money is not None
    assert energy is not None
    assert 100 < money < 500
    assert energy > 1.5 * money
    assert "They disagree" in report.break_even_text(list(found.values()), "r8g.4xlarge")
    readme = " ".join((Path(__file__).parents[3] / "README.md").read_text().split())
    said = re.search(r"some (\d+) visits a day by money, (\d+) by carbon and (\d+) by energy", readme)
    assert said, "README has lost its break-even"
    for number, measure in zip(said.groups(), ("money", "carbon", "energy"), strict=True):
        assert found[measure].visits_per_day == pytest.approx(int(number), abs=5), measure


def test_a_break_even_of_what_is_always_on_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"place.kind is always on already"):
        decisions.break_even(parse("place: {kind: ec2}"))


def test_a_crossing_is_found_or_not() -> None:
    assert decisions._crossing(lambda visits: visits - 77) == pytest.approx(77, rel=0.02)
    assert decisions._crossing(lambda visits: -1.0) is None
    assert decisions._crossing(lambda visits: 1.0) == decisions.RANGE[0]


def test_the_procedure_of_the_thesis_has_an_answer_for_each_question() -> None:
    steps = explain.explain(answer(f"{SMALL}}}", visits=300))
    assert [step.question[:2] for step in steps] == [f"Q{number}" for number in range(1, 9)]
    assert all(step.lines for step in steps)
    cleanest = min(GRIDS, key=lambda name: GRIDS[name].lifecycle.likely)
    assert cleanest in steps[5].answer


# --- drift --------------------------------------------------------------------------------------


def emf(timestamp: int, **values: object) -> str:
    return "storyteller[12] " + json.dumps({"_aws": {"Timestamp": timestamp}, **values})


def test_a_log_of_the_local_stack_is_compared_with_the_plan(tmp_path: Path) -> None:
    day = 86_400_000
    lines = ["a line without metrics", 'broken {"_aws": ']
    for visit in range(40):
        at = visit * day // 10
        lines += [emf(at, Sessions=[1.0]), emf(at, Answers=1)]
        lines += [emf(at, Replies=1, Tokens=[60.0], TimeToFirstToken=[500.0]) for _ in range(9)]
    (tmp_path / "storyteller.log").write_text("\n".join(lines))
    counted = check.read(str(tmp_path), "eu-north-1")
    assert counted.days == pytest.approx(3.9)
    found = check.text(answer(f"{SMALL}}}", visits=300), counted)
    assert "40 visits counted" in found
    assert "set visit.reply_tokens (its mean) to 60" in found
    assert "visit.index_share to 0.1" in found


def test_a_few_visits_tell_nothing() -> None:
    counted = check.from_lines([emf(0, Sessions=1), emf(0, Replies=1, Tokens=10, TimeToFirstToken=100)])
    found = check.text(answer(f"{SMALL}}}", visits=300), counted)
    assert "too few to tell" in found
    assert "To plan with" not in found


def test_a_log_without_visits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "front.log").write_text("nothing\n")
    with pytest.raises(ScenarioError, match="no session is counted there"):
        check.read(str(tmp_path), "eu-north-1")
    with pytest.raises(ScenarioError, match="there is no such file"):
        check.read(str(tmp_path / "no"), "eu-north-1")


def test_cloudwatch_is_asked_for_the_metrics_of_one_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    services: list[str] = []

    class CloudWatch:
        def get_metric_data(self, MetricDataQueries: list[dict[str, Any]], **_: Any) -> dict[str, Any]:
            asked = [one["MetricStat"]["Metric"] for one in MetricDataQueries]
            services.extend(sorted({one["Dimensions"][0]["Value"] for one in asked}))
            return {"MetricDataResults": [{"Values": [40.0]} for _ in asked]}

    monkeypatch.setattr("boto3.client", lambda *_, **__: CloudWatch())
    assert check.read("cloudwatch", "eu-north-1").sums["Sessions"] == 40
    assert check.read("cloudwatch:Second", "eu-north-1").percentiles_ms == {50: 40.0, 95: 40.0}
    assert services == ["Overture-front", "Overture-storyteller", "Second-front", "Second-storyteller"]


# --- the command --------------------------------------------------------------------------------


def test_the_command_answers_and_refuses_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("name: mine\nmodel: {shape: 1B}\nplace: {ceiling_gb_s: 0}\n")
    assert main([str(file), "--visits", "300"]) == 0
    assert capsys.readouterr().out.startswith("mine: 1B int4 on lambda")
    assert main([str(file), "--sweep", "place.cap=1,4"]) == 0
    assert "worth having" in capsys.readouterr().out
    assert main([str(file), "--explain", "--visits", "300"]) == 0
    assert "(thesis, lines" in capsys.readouterr().out
    file.write_text("traffic: {visits: 1}")
    assert main([str(file)]) == 2
    assert capsys.readouterr().err.startswith("traffic.visits is not a field")
    assert main([str(file), "--sweep", "place.cap"]) == 2


def test_defaults_and_calibration_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--defaults"]) == 0
    assert "| place.cap" in capsys.readouterr().out
    assert main(["--calibration"]) == 0
    assert "(fitted)" in capsys.readouterr().out


def test_nobody_told_is_never() -> None:
    assert report.seconds(math.nan) == "never"
