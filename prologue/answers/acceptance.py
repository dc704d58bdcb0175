"""Whether the nearest answer is the right one: a logistic regression over a few figures of a line.

Which answer is nearest says a cosine; whether the line asks for it at all is another question. The figures
compare the line with the answer's phrasings, with other answers, with lines that have no answer, and with
the answer's classifier. The weights are learned from phrasings and negatives held out, and are drawn
towards `PRIOR`, so that an index of a few phrasings decides much as a large one does. Free of their signs and of the
prior, they fit the near-misses among the negatives so closely that lines far from everything scored too high.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

#: The cosine to the nearest phrasing and the mean of the three nearest; to the nearest other answer; to the
#: nearest negative and the mean of three; the higher of the two rivals; the classifier's score; the share of
#: the line's words, by rarity, that the answer's phrasings know; disagreement in negation.
FIGURES = (
    "nearest",
    "nearest3",
    "other",
    "negative",
    "negative3",
    "rival",
    "classifier",
    "known",
    "negation",
)
#: Centre and scale of each figure, the weights that a fit is drawn towards (the last is the offset), and the sign
#: that each may have: a line nearer to an answer's phrasings never scores less.
CENTRE = np.array([0.62, 0.55, 0.45, 0.45, 0.40, 0.50, 0.0, 0.80, 0.08])
SCALE = np.array([0.20, 0.18, 0.12, 0.14, 0.12, 0.13, 2.0, 0.20, 0.27])
PRIOR = np.array([0.4, 0.7, -0.1, -0.1, -0.3, -0.6, 1.2, 0.8, -0.35, 0.4])
SIGNS = np.array([1, 1, -1, -1, -1, -1, 1, 1, -1, 0])
#: How strongly: the penalty on the squared distance to the prior.
STRENGTH = 1_000.0
#: How sure the threshold is to keep the budget, if lines to come are like the negatives.
SURE = 0.9
#: No threshold is lower: an even chance.
FLOOR = 0.0


def figures(
    own: Sequence[float],
    other: float,
    away: Sequence[float],
    classifier: float,
    known: float,
    negation: bool,
) -> list[float]:
    """The figures of a line. `own`: cosines to the answer's phrasings, `away`: to negatives; the highest first."""
    negative, negative3 = (away[0], sum(away[:3]) / len(away[:3])) if len(away) else (0.0, 0.0)
    return [
        own[0],
        sum(own[:3]) / len(own[:3]),
        other,
        negative,
        negative3,
        max(other, negative),
        classifier,
        known,
        float(negation),
    ]


def score(rows: Doubles, weights: Doubles) -> Doubles:
    """The log odds [n] that the answer is right, from figures [n, len(FIGURES)]."""
    scored: Doubles = (rows - CENTRE) / SCALE @ weights[:-1] + weights[-1]
    return scored


def fit(rows: Doubles, right: npt.NDArray[np.bool_]) -> Doubles:
    """The weights, by Newton's method, drawn towards `PRIOR` and held to `SIGNS`."""
    lines = np.concatenate([(rows - CENTRE) / SCALE, np.ones((len(rows), 1))], axis=1)
    weights, loss = PRIOR.copy(), _loss(PRIOR, lines, right)
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(lines @ weights, -30, 30)))
        slope = STRENGTH * (weights - PRIOR) + lines.T @ (chance - right)
        bend = (lines * (chance * (1 - chance))[:, None]).T @ lines + STRENGTH * np.eye(lines.shape[1])
        # A weight at zero stays there while the loss would have it beyond.
        free = (SIGNS * weights > 0) | (SIGNS * slope < 0) | (SIGNS == 0)
        step = np.zeros_like(weights)
        step[free] = np.linalg.solve(bend[np.ix_(free, free)], slope[free])
        while (after := _loss(_held(weights - step), lines, right)) > loss and np.abs(step).max() > 1e-7:
            step = step / 2  # a whole step may overshoot
        weights, before, loss = _held(weights - step), weights, after
        if np.abs(weights - before).max() < 1e-6:
            break
    return weights


def _held(weights: Doubles) -> Doubles:
    return np.where(SIGNS * weights < 0, 0.0, weights)


def _loss(weights: Doubles, lines: Doubles, right: npt.NDArray[np.bool_]) -> float:
    given = lines @ weights
    return float((np.logaddexp(0, given) - right * given).sum() + STRENGTH / 2 * ((weights - PRIOR) ** 2).sum())


def threshold(scores: Sequence[float], count: int, budget: float) -> float:
    """The least threshold that keeps false answers within the budget; `inf` where too few lines can tell.

    `scores`, in any order, are those of negatives that have a candidate, of `count` negatives in all. A line
    must score more than the k-th highest. The share of lines that do is Beta(k, count + 1 - k); k is the
    largest for which it is within the budget with probability `SURE`. Where not even the highest is
    sure enough, it serves if it keeps the budget on average.
    """
    allowed = _allowed(count, budget) or min(1, math.floor(budget * (count + 1)))
    if allowed < 1:
        return math.inf
    ranked = sorted(scores, reverse=True)
    return max(FLOOR, math.nextafter(ranked[allowed - 1], math.inf) if allowed <= len(ranked) else FLOOR)


def _allowed(count: int, budget: float) -> int:
    """The largest k with P(Binomial(count, budget) >= k) >= SURE."""
    if budget >= 1:
        return count
    k, fewer = 0, 0.0
    while k <= count and budget > 0:
        ways = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        fewer += math.exp(ways + k * math.log(budget) + (count - k) * math.log1p(-budget))
        if 1 - fewer < SURE:
            break
        k += 1
    return k
