"""Win rate and Elo difference of a candidate, from verdicts, with and without its style held equal.

Arena-Hard-Auto's way: a verdict "much better" counts three times as much as "slightly better", a tie is half a win;
a logistic regression (Bradley and Terry's model for two players) gives the difference of strength, and with the
differences of style as covariates, what is left of it at equal style (Li et al., 2024). That can be told only where the
style differs now one way and now the other. Intervals are of 95%, by drawing prompts with both their games.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.judge import JudgeError
from bench.judge.arena import Pair

Array = npt.NDArray[np.float64]

#: A verdict as the share of a win that A has, and its weight.
OUTCOMES = {"A>>B": (1.0, 3.0), "A>B": (1.0, 1.0), "A=B": (0.5, 1.0), "B>A": (0.0, 1.0), "B>>A": (0.0, 3.0)}
STYLES = ("length", "headings", "list items", "bold text")
#: How many times prompts are drawn for an interval.
DRAWS = 1000
#: Penalties on the squares of strength and of each style: the first only keeps a candidate that always wins from an
#: infinite strength, the second is scikit-learn's default, which Arena-Hard-Auto began with.
STRENGTH_RIDGE, STYLE_RIDGE = 0.01, 1.0
ELO = 400 / math.log(10)

_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_MARKS = (r"^ {0,3}#{1,6} ", r"^\s*(?:[-*+]|\d+[.)]) ", r"\*\*[^*\n]+\*\*|__[^_\n]+__")


class Estimate(NamedTuple):
    """A figure and its 95% interval."""

    value: float
    low: float
    high: float


class Score(NamedTuple):
    """What a comparison found."""

    win_rate: Estimate
    elo: Estimate
    win_rate_at_equal_style: Estimate
    elo_at_equal_style: Estimate
    #: Elo that one standard deviation more of each style is worth to the judge.
    styles: dict[str, Estimate]
    #: Pairs with two readable verdicts: what all figures are of.
    pairs: int
    #: Share of the pairs in which one order prefers the baseline and the other the candidate.
    flips: float
    #: Share of A among the verdicts that prefer one; not a number where none does.
    first: float


def score(pairs: Sequence[Pair], seed: int = 0, draws: int = DRAWS) -> Score:
    """The figures of all pairs whose verdicts can be read in both orders. Raises JudgeError where there is none."""
    read = [pair for pair in pairs if pair.baseline_first and pair.candidate_first]
    if not read:
        raise JudgeError(
            "No pair has a readable verdict in both orders: see what the judge said in the cache, and take a judge "
            "that keeps to the verdicts, or give it more tokens (--judge-tokens)."
        )
    games = [_outcome(pair, candidate_first) for pair in read for candidate_first in (False, True)]
    won, weight = np.array(games, np.float64).T
    styles = np.repeat(style_differences(read), 2, axis=0)
    strength = np.ones((len(games), 1))
    columns = np.hstack([strength, styles])

    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(read), np.full(len(read), 1 / len(read)), size=draws)
    weights = weight * np.repeat(np.vstack([np.ones(len(read)), drawn]), 2, axis=1)  # the first row is of all pairs
    rates = weights @ won / weights.sum(1)
    plain, held = fit(strength, won, weights)[:, 0], fit(columns, won, weights)
    tilts = [(_winner(pair.baseline_first, "bc"), _winner(pair.candidate_first, "cb")) for pair in read]
    preferred = [winner == first for pair in tilts for winner, first in zip(pair, "bc", strict=True) if winner]
    return Score(
        win_rate=_estimate(rates),
        elo=_estimate(ELO * plain),
        win_rate_at_equal_style=_estimate(1 / (1 + np.exp(-held[:, 0]))),
        elo_at_equal_style=_estimate(ELO * held[:, 0]),
        styles={name: _estimate(ELO * held[:, at]) for at, name in enumerate(STYLES, 1)},
        pairs=len(read),
        flips=sum(bool(one and other and one != other) for one, other in tilts) / len(read),
        first=sum(preferred) / len(preferred) if preferred else math.nan,
    )


def fit(columns: Array, won: Array, weights: Array) -> Array:
    """The coefficients [draws, coefficients] of logistic regressions with a ridge, by Newton's method.

    `columns` [games, coefficients], of which the first is the candidate's strength; `won` [games], from 0 to 1;
    `weights` [draws, games].
    """
    count = columns.shape[1]
    ridge = np.full(count, STYLE_RIDGE)
    ridge[0] = STRENGTH_RIDGE
    squares = (columns[:, :, None] * columns[:, None]).reshape(len(columns), -1)

    def loss(found: Array) -> Array:
        logits = found @ columns.T
        lost: Array = (weights * (np.logaddexp(0, logits) - won * logits)).sum(1) + found**2 @ ridge / 2
        return lost

    found = np.zeros((len(weights), count))
    for _ in range(100):
        chance = 1 / (1 + np.exp(-(found @ columns.T)))
        gradient = (weights * (chance - won)) @ columns + ridge * found
        hessian = ((weights * chance * (1 - chance)) @ squares).reshape(-1, count, count) + np.diag(ridge)
        step, now = np.linalg.solve(hessian, gradient[..., None])[..., 0], loss(found)
        for _ in range(30):
            worse = loss(found - step) > now + 1e-9  # more than rounding
            if not worse.any():
                break
            step[worse] /= 2
        found = found - step
        if np.abs(step).max() < 1e-8:
            break
    return found


def style_differences(pairs: Sequence[Pair]) -> Array:
    """[pairs, styles]: the candidate's style less the baseline's, in standard deviations about no difference.

    The length differs by its share of both lengths, marks by how many come to a word. Zero is equal style, and not
    the mean: a candidate that is mostly longer would keep what its length wins.
    """
    found = np.array([_difference(style(pair.candidate), style(pair.baseline)) for pair in pairs])
    spread = np.sqrt((found**2).mean(0))
    scaled: Array = np.divide(found, spread, out=np.zeros_like(found), where=spread > 0)
    return scaled


def style(answer: str) -> tuple[int, int, int, int]:
    """Words, and headings, list items and bold passages outside of code."""
    prose = _CODE.sub("", answer)
    headings, items, bold = (len(re.findall(mark, prose, re.MULTILINE)) for mark in _MARKS)
    return len(answer.split()), headings, items, bold


def _difference(ours: Sequence[int], theirs: Sequence[int]) -> list[float]:
    length = (ours[0] - theirs[0]) / max(1, ours[0] + theirs[0])
    densities = [
        (our / max(1, ours[0]), their / max(1, theirs[0])) for our, their in zip(ours[1:], theirs[1:], strict=True)
    ]
    return [length, *((our - their) / (our + their + 1) for our, their in densities)]


def _outcome(pair: Pair, candidate_first: bool) -> tuple[float, float]:
    """The candidate's share of a win in one game, and the game's weight."""
    verdict = pair.candidate_first if candidate_first else pair.baseline_first
    assert verdict is not None, pair.prompt
    share, weight = OUTCOMES[verdict]
    return (share if candidate_first else 1 - share), weight


def _winner(verdict: str | None, letters: str) -> str:
    """Which of the two letters, for A and for B, a verdict prefers; empty for a tie."""
    share = OUTCOMES[verdict or "A=B"][0]
    return "" if share == 0.5 else letters[0] if share == 1.0 else letters[1]


def _estimate(drawn: Array) -> Estimate:
    """The first value, and the interval that the others give."""
    low, high = np.percentile(drawn[1:], [2.5, 97.5])
    return Estimate(float(drawn[0]), float(low), float(high))
