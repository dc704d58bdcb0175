"""Rules that pick an answer by vectors alone, and how they are compared: recall at a share of false answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from prologue.answers.index_build.measure import auroc

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
BUDGETS = (0.005, 0.01, 0.05)


class Scored(NamedTuple):
    """What a rule makes of lines: the answer it names for each, and how surely."""

    answer: Ints
    score: Floats


Rule = Callable[[Floats], Scored]


def nearest(vectors: Floats, labels: Ints) -> Rule:
    """The answer of the nearest phrasing, by cosine: what GPTCache and redis-vl's cache rank by."""

    def rule(lines: Floats) -> Scored:
        scores = lines @ vectors.T
        best = scores.argmax(axis=1)
        return Scored(labels[best], scores[np.arange(len(lines)), best])

    return rule


def route_mean(vectors: Floats, labels: Ints) -> Rule:
    """The mean cosine over an answer's phrasings: redis-vl's router."""
    means = np.stack([vectors[labels == n].mean(axis=0) for n in range(int(labels.max()) + 1)])

    def rule(lines: Floats) -> Scored:
        scores = lines @ means.T
        return Scored(scores.argmax(axis=1), scores.max(axis=1))

    return rule


def limit(negative: Floats, budget: float) -> float:
    """The least threshold with at most this share of the negatives above it, in hindsight."""
    ranked = np.sort(negative)[::-1]
    return float(ranked[min(int(budget * len(ranked)), len(ranked) - 1)])


def recalls(positive: Scored, negative: Scored, asked: Ints) -> list[float]:
    """The recall at each of `BUDGETS`, then the AUROC."""
    right = positive.answer == asked
    row = [float((right & (positive.score > limit(negative.score, budget))).mean()) for budget in BUDGETS]
    everything = np.concatenate([positive.score, negative.score]).astype(np.float64)
    is_positive = np.arange(len(everything)) < len(positive.score)
    return [*row, auroc(everything, is_positive) or 0.0]


def curve(positive: Scored, negative: Scored, asked: Ints) -> list[tuple[float, float]]:
    """(share of false answers, recall) as the threshold moves."""
    right = positive.answer == asked
    shares = np.geomspace(0.001, 1, 60)
    return [(float(s), float((right & (positive.score > limit(negative.score, s))).mean())) for s in shares]


def at_threshold(positive: Scored, negative: Scored, asked: Ints, at: float) -> tuple[float, float]:
    """Recall and share of false answers at a fixed threshold."""
    return (
        float(((positive.score >= at) & (positive.answer == asked)).mean()),
        float((negative.score >= at).mean()),
    )
