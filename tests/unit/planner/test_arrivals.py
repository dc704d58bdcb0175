from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planner.scenario import PATTERNS, ScenarioError, parse
from planner.simulation.arrivals import HOUR_S, arrival_times, hourly_weights, read_trace, visitors


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_has_the_visits_that_were_asked_for(pattern: str) -> None:
    scenario = parse(f"traffic: {{visits_per_day: 400, pattern: {pattern}}}")
    times = arrival_times(scenario, 28, 1)
    assert len(times) == pytest.approx(400 * 28, rel=0.05)
    assert np.all(np.diff(times) >= 0)
    assert times[-1] < 28 * 86_400


def test_four_fifths_of_an_evening_pattern_fall_in_the_evening() -> None:
    hours = np.arange(24 * 7) % 24
    weights = hourly_weights("evening", 24 * 7)
    assert weights[hours >= 16].sum() / weights.sum() == pytest.approx(0.8)


def test_an_office_is_empty_at_weekends_but_for_a_fifth_of_the_rest() -> None:
    weights = hourly_weights("office", 24 * 7).reshape(7, 24)
    assert weights[:5, 9:17].sum() / weights.sum() == pytest.approx(0.8)
    assert weights[6].max() < weights[0].max() / 10


def test_a_launch_begins_with_a_rush() -> None:
    weights = hourly_weights("launch", 24 * 28)
    assert weights[0] > 10 * weights[-1]


def test_variants_see_the_same_visitors() -> None:
    one = parse("model: {shape: 1B}")
    other = parse("model: {shape: 8B}\nplace: {cap: 9}")
    times = arrival_times(one, 7, 3)
    np.testing.assert_array_equal(times, arrival_times(other, 7, 3))
    assert list(visitors(one, times, 3)) == list(visitors(other, times, 3))


def test_another_seed_is_another_crowd() -> None:
    scenario = parse("")
    assert arrival_times(scenario, 7, 1)[0] != arrival_times(scenario, 7, 2)[0]


def test_lengths_and_thoughts_are_those_asked_for() -> None:
    scenario = parse(
        "traffic: {visits_per_day: 1000}\nvisit: {reply_tokens: 100, reply_tokens_p95: 200, index_share: 0.3}"
    )
    crowd = list(visitors(scenario, arrival_times(scenario, 7, 1), 1))
    tokens = np.array([one.tokens for one in crowd])
    assert np.median(tokens) == pytest.approx(100, rel=0.02)
    assert np.percentile(tokens, 95) == pytest.approx(200, rel=0.03)
    assert np.mean([one.think_s[1:] for one in crowd]) == pytest.approx(20, rel=0.03)
    index = np.array([one.by_index for one in crowd])
    assert not index[:, 0].any()
    assert index[:, 1:].mean() == pytest.approx(0.3, rel=0.03)


def trace(folder: Path, text: str) -> Path:
    path = folder / "trace.csv"
    path.write_text(text)
    return path


def test_a_trace_of_times_is_read_from_its_first_visit(tmp_path: Path) -> None:
    path = trace(tmp_path, "at\n2026-11-01T10:00:00\n2026-11-01T10:00:30\n")
    assert list(read_trace(path)) == [0, 30]


def test_a_trace_of_hours_spreads_their_visits(tmp_path: Path) -> None:
    times = read_trace(trace(tmp_path, "hour,visits\n0,2\n1,0\n2,1\n"))
    assert list(times) == [HOUR_S / 4, HOUR_S * 3 / 4, HOUR_S * 2.5]


def test_a_trace_is_repeated_from_midnight_and_grown(tmp_path: Path) -> None:
    trace(tmp_path, "hour,visits\n" + "".join(f"{hour},1\n" for hour in range(24)))
    scenario = parse("traffic: {pattern: trace.csv, growth: 2}", folder=tmp_path)
    assert len(arrival_times(scenario, 7, 1)) == 2 * 24 * 7


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hour,visits\n0,1\n2,1\n", r"line 3: hour is '2' where 1 was expected; .* write the missing ones with 0"),
        ("hour,visits\n0,many\n", r"line 2: visits is 'many'; write a whole number"),
        ("hour,visits\n0,0\n", r"has no visits"),
        ("at\n5\n\n", r"has no|line"),
        ("at\n5\nnoon\n", r"line 3: `at` is 'noon'; write seconds or an ISO 8601 time"),
        ("at\n5\n3\n", r"line 3: `at` goes back in time"),
        ("at\n", r"has no visits"),
        ("when\n5\n", r"has the columns when: a trace has one column `at`"),
    ],
)
def test_a_broken_trace_is_refused_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    if text == "at\n5\n\n":
        assert list(read_trace(trace(tmp_path, text))) == [0]
        return
    with pytest.raises(ScenarioError, match=sentence):
        read_trace(trace(tmp_path, text))
