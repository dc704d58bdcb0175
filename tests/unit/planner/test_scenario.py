from __future__ import annotations

from pathlib import Path

import pytest

from infra.deploy import prices as stack_prices
from infra.settings import Settings
from overture import settings as run_time
from planner import documents
from planner.costs.prices import INSTANCES
from planner.costs.speeds import calibration, quality, speeds
from planner.deployment.hand_off import settings, write
from planner.scenario import Scenario, ScenarioError, defaults, load, parse, with_values

SCENARIOS = sorted((Path(__file__).resolve().parents[3] / "planner" / "scenarios").glob("*.yaml"))


def test_an_empty_file_is_all_defaults() -> None:
    assert parse("") == Scenario()


def test_bits_may_be_written_as_a_number() -> None:
    assert parse("model: {precision: 16, shape: 1B}").model.precision == "16"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("traffic: {visits: 3}", "traffic.visits is not a field: there are visits_per_day, pattern,"),
        ("trafic: {}", "trafic is not a field: there are name, traffic,"),
        ("traffic: {visits_per_day: -3}", r"traffic.visits_per_day is -3: .*> 0.0.*; correct it, or leave it out"),
        ("traffic: {visits_per_day: many}", "traffic.visits_per_day is 'many': expected `float`"),
        ("traffic: {pattern: daily}", "traffic.pattern is 'daily': expected one of flat, evening, office, launch"),
        ("traffic: {pattern: none.csv}", "traffic.pattern is 'none.csv': there is no file"),
        ("traffic: {abandon_after_s: 0}", "traffic.abandon_after_s is 0: expected a number above 0, or null"),
        ("place: {kind: fargate}", "place.kind is 'fargate': invalid enum value"),
        ("place: {region: mars-1}", "place.region is 'mars-1': no grid factor is known for it; take one of"),
        ("place: {memory_mb: 64}", "place.memory_mb is 64: .*>= 512"),
        ("visit: {reply_tokens: 500}", "visit.reply_tokens_p95 is 240, below reply_tokens"),
        ("visit: 5", "visit is 5: expected `object`"),
        ("model: {start_s: -1}", "model.start_s is -1: expected 0 or more"),
        ("- a list", "a scenario is a mapping"),
        ("a: [", "the scenario is no YAML"),
    ],
)
def test_bad_input_gets_one_sentence_that_names_the_field(text: str, sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ScenarioError, match=r"nowhere.yaml cannot be read: .*; name a YAML file"):
        load(Path("nowhere.yaml"))


def test_every_field_has_a_default_that_holds_and_a_source() -> None:
    found = list(defaults())
    assert len(found) > 35
    assert all(one.description and one.source for one in found)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_examples_are_scenarios_that_fit(path: Path) -> None:
    scenario = load(path)
    assert scenario.name != Scenario().name
    assert speeds(scenario).tokens_per_s.likely > 0


def test_there_are_examples() -> None:
    assert len(SCENARIOS) >= 3


def test_fields_are_changed_by_name_and_checked() -> None:
    assert with_values(Scenario(), {"place.cap": 4}).place.cap == 4
    with pytest.raises(ScenarioError, match=r"cap is not a field: write section.field"):
        with_values(Scenario(), {"cap": 4})
    with pytest.raises(ScenarioError, match=r"place.cap is -1"):
        with_values(Scenario(), {"place.cap": -1})


def test_defaults_are_those_of_the_stack() -> None:
    stack, place, visit = Settings(), Scenario().place, Scenario().visit
    assert (place.memory_mb, place.cap, place.linger_s) == (stack.memory_mb, stack.concurrency, stack.linger)
    assert (place.ceiling_gb_s, place.wakes_per_day) == (stack.ceiling, stack.wakes_per_day)
    assert (visit.turns, visit.reply_tokens) == (stack_prices.VISIT.turns, stack_prices.VISIT.reply_tokens)
    assert visit.reply_tokens_p95 < run_time.Settings().max_tokens


# --- speeds -------------------------------------------------------------------------------------


def test_the_published_points_are_met_where_fitted_and_reported_where_not() -> None:
    points = {one.what: one for one in calibration(Path("no results here"))}
    assert all(abs(one.error) < 0.005 for one in points.values() if one.fitted)
    assert all(abs(one.error) < 0.3 for one in points.values())
    assert len(points) == 6


def test_results_of_a_bench_are_compared_with_the_rule(tmp_path: Path) -> None:
    (tmp_path / "engine.json").write_text(
        '{"bench": "engine", "machine": {"read_gb_s": 40}, "rows": [{"quantity": "decode_tokens_per_s", '
        '"engine": "ours", "shape": "8B", "precision": "int4", "median": 8.3}]}'
    )
    last = list(calibration(tmp_path))[-1]
    assert last.predicted == pytest.approx(40 / 4.84)
    assert abs(last.error) < 0.01


def test_half_the_memory_has_half_the_speed() -> None:
    whole, half = parse("model: {shape: 1B}"), parse("model: {shape: 1B}\nplace: {memory_mb: 5120}")
    assert speeds(half).tokens_per_s.likely == pytest.approx(speeds(whole).tokens_per_s.likely / 2)


def test_a_model_that_does_not_fit_is_refused_with_the_remedy() -> None:
    with pytest.raises(ScenarioError, match=r"8B at precision 16 needs 16.7 GB and the place has 10.0 GB"):
        speeds(parse("model: {precision: '16'}"))
    with pytest.raises(ScenarioError, match=r"place.instance is 'p5.48xlarge': known are r8g.xlarge"):
        speeds(parse("place: {kind: ec2, instance: p5.48xlarge}"))


def test_fewer_bits_are_worth_less_quality() -> None:
    scores = [quality(parse(f"model: {{precision: '{bits}'}}").model) for bits in ("16", "int8", "int4")]
    assert scores == sorted(scores, reverse=True)


def test_the_stacks_own_instance_price_is_used() -> None:
    assert INSTANCES["r8g.4xlarge"].usd_hour == stack_prices.PRICES["r8g.4xlarge"].usd


# --- handing over -------------------------------------------------------------------------------


def test_a_plan_becomes_settings_that_the_stack_takes(tmp_path: Path) -> None:
    scenario = parse("place: {kind: snapstart, cap: 5, linger_s: 30, region: eu-north-1}\nlimits: {usd_month: 80}")
    given = settings(scenario)
    stack = Settings.read(given)
    assert (stack.start, stack.concurrency, stack.linger, stack.region) == ("snapstart", 5, 30, "eu-north-1")
    assert stack.budget == 80
    assert 'make deploy SET="' in write(scenario, tmp_path)
    assert (tmp_path / "settings").read_text().startswith("region=eu-north-1")


def test_a_place_that_the_stack_does_not_deploy_to_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"place.kind is ec2: the stack deploys to lambda or snapstart only"):
        settings(parse("place: {kind: ec2}"))


def test_the_pages_are_current() -> None:
    assert documents.main(["--check"]) == 0
