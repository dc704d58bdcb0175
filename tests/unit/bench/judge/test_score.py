"""The arithmetic of the judge: the regression, what counts as style, intervals and ties."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.judge.arena import Pair
from bench.judge.score import ELO, STRENGTH_RIDGE, STYLE_RIDGE, fit, score, style, style_differences


def pair(baseline_first: str, candidate_first: str, baseline: str = "one two", candidate: str = "one two") -> Pair:
    return Pair("p", baseline, candidate, baseline_first, candidate_first)


def test_the_strength_is_the_logarithm_of_the_odds() -> None:
    won, weights = np.array([1.0, 0.0, 0.5]), np.array([[500.0, 100.0, 200.0], [100.0, 500.0, 200.0]])
    ours, theirs = fit(np.ones((3, 1)), won, weights)[:, 0]
    assert ours == pytest.approx(math.log(600 / 200), abs=1e-4)
    assert ours == pytest.approx(-theirs)


def test_the_regression_ends_where_the_gradient_is_nought() -> None:
    random = np.random.default_rng(3)
    columns, won = random.normal(size=(60, 3)), random.integers(0, 2, 60).astype(float)
    weights = random.integers(0, 4, (5, 60)).astype(float)
    for found, weight in zip(fit(columns, won, weights), weights, strict=True):
        chance = 1 / (1 + np.exp(-columns @ found))
        gradient = columns.T @ (weight * (chance - won)) + np.array([STRENGTH_RIDGE, STYLE_RIDGE, STYLE_RIDGE]) * found
        assert np.abs(gradient).max() < 1e-6


def test_a_candidate_that_always_wins_has_a_finite_strength() -> None:
    found = score([pair("B>>A", "A>>B")] * 50)
    assert found.win_rate == (1, 1, 1)
    assert 800 < found.elo.value < 2000


def test_strong_verdicts_weigh_three_times_as_much() -> None:
    found = score([pair("B>>A", "A>>B"), pair("A>B", "B>A")] * 20, draws=200)
    assert found.win_rate.value == 0.75
    assert found.win_rate.low < 0.75 < found.win_rate.high
    assert found.elo.value == pytest.approx(ELO * math.log(3), abs=1)


def test_a_tie_in_one_order_is_no_change_of_the_winner() -> None:
    found = score([pair("A=B", "A>B"), pair("A>B", "A>>B"), pair("A=B", "A=B"), pair("B>A", "A>B")])
    assert found.flips == 1 / 4
    assert found.first == 4 / 5
    assert math.isnan(score([pair("A=B", "A=B")]).first)


def test_the_intervals_come_again_with_the_seed() -> None:
    pairs = [pair("A>B", "B>A"), pair("B>A", "A>B"), pair("B>A", "B>A"), pair("A=B", "A>>B")]
    assert score(pairs, seed=1, draws=20) == score(pairs, seed=1, draws=20)
    assert score(pairs, seed=1, draws=20) != score(pairs, seed=2, draws=20)


def test_a_style_that_only_the_winners_have_is_held_equal() -> None:
    marked = "# Gate\n\n- a **green** door\n- a bell\n" + "word " * 20
    plain = "word " * 29
    pairs = [pair("B>A", "A>B", plain, marked)] * 12 + [pair("A>B", "B>A", marked, plain)] * 4
    pairs += [pair("A=B", "A=B", plain, plain)] * 4
    found = score(pairs, draws=200)
    assert found.win_rate.value == 0.7
    assert abs(found.elo_at_equal_style.value) < found.elo.value / 3
    assert found.styles["headings"].value > 0


def test_marks_are_counted_outside_of_code() -> None:
    text = "# One\n## Two\n- a\n  * b\n3. c\n**bold** and __bold too__, not # this - or * that\n"
    assert style(text)[1:] == (2, 3, 2)
    code = "```sh\n# no heading\n- no item\n**no**\n```"
    assert style(code)[1:] == (0, 0, 0)
    assert style(code)[0] == 9
    assert style("") == (0, 0, 0, 0)


def test_styles_are_in_standard_deviations_about_no_difference() -> None:
    longer, shorter = pair("A=B", "A=B", "a", "a b c"), pair("A=B", "A=B", "a b c", "a")
    assert style_differences([longer, shorter, longer])[:, 0] == pytest.approx([1, -1, 1])
    assert style_differences([pair("A=B", "A=B", "", "")]).tolist() == [[0, 0, 0, 0]]
