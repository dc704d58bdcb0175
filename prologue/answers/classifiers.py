"""Calibration: how near is near enough, learned from lines that have no answer.

Each answer gets a classifier, a logistic regression of its phrasings against the negatives and, with
less weight, the other answers' phrasings; and the cosine to a phrasing is corrected by its answer's:

    score(line, phrasing) = line · phrasing + weight * (line · w + b)   with w, b of the phrasing's answer

which folds into one inner product of `[line; 1]` with `[phrasing + weight*w; weight*b]`. The threshold
comes from scores of negatives by classifiers that saw neither them nor their like: the folds are
clusters, for random folds promise far less than they keep (measured: 1% promised, 5.3% given).

Needed where an index is built, not where it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator

import faiss
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: The classifier's weight against the cosine; measured by bench/answers.py, flat between 0.1 and 0.4.
WEIGHT = 0.2
#: The inverse strength of the classifiers' regularisation, and what another answer's phrasing weighs
#: against a negative.
STRENGTH, OTHERS = 10.0, 0.3
FOLDS = 10
_SEED = 20


def fit_classifiers(
    vectors: Floats, labels: Ints, negatives: Floats, count: int | None = None
) -> tuple[Floats, Floats]:
    """For answers 0 … count-1: w [count, d] and b [count], from phrasings `vectors` with `labels`.

    All classifiers are fitted at once, by Newton's method with conjugate gradients: they share their
    lines and differ in labels and weights only. Phrasings and the rest weigh the same in sum. An
    answer without phrasings, and every answer where there is nothing to tell it from, gets zeros.
    """
    count = (int(labels.max()) + 1 if len(labels) else 0) if count is None else count
    lines = extend(np.concatenate([vectors, negatives]).astype(np.float32))
    own = np.zeros((len(lines), count), np.float32)
    own[np.arange(len(vectors)), labels] = 1
    weights = 1 - own
    weights[: len(vectors)] *= OTHERS
    sums, others = own.sum(axis=0), weights.sum(axis=0)
    usable = (sums > 0) & (others > 0)
    total = STRENGTH * (sums + others) / 2
    weights = (weights * (total / np.maximum(others, 1)) + own * (total / np.maximum(sums, 1))) * usable
    ridge = np.ones((lines.shape[1], 1), np.float32)
    ridge[-1] = 1e-4  # the offset is hardly held back
    fitted = np.zeros((lines.shape[1], count), np.float32)
    loss = _loss(fitted, lines, own, weights, ridge)
    for _ in range(12):
        chance = 1 / (1 + np.exp(-np.clip(lines @ fitted, -30, 30)))
        slope = ridge * fitted + lines.T @ (weights * (chance - own))
        if np.abs(slope).max() < 1e-3 * STRENGTH:
            break
        step = _solve(lines, weights * chance * (1 - chance), ridge, -slope)
        scale = np.ones(count, np.float32)
        for _ in range(6):
            next_loss = _loss(fitted + scale * step, lines, own, weights, ridge)
            worse = next_loss > loss * (1 + 1e-5)
            if not worse.any():
                break
            scale[worse] /= 2
        fitted, loss = fitted + scale * step, next_loss
    return np.ascontiguousarray(fitted[:-1].T), fitted[-1]


def _loss(fitted: Floats, lines: Floats, own: Floats, weights: Floats, ridge: Floats) -> Floats:
    given = lines @ fitted
    loss: Floats = (ridge * fitted * fitted).sum(axis=0) / 2 + (weights * (np.logaddexp(0, given) - own * given)).sum(
        axis=0
    )
    return loss


def _solve(lines: Floats, curvature: Floats, ridge: Floats, right: Floats) -> Floats:
    """Conjugate gradients, a column a classifier: (lines' curvature lines + ridge) x = right, about."""
    x = np.zeros_like(right)
    rest = right.copy()
    way = rest.copy()
    size = (rest * rest).sum(axis=0)
    enough = 1e-4 * size
    for _ in range(20):
        bent = ridge * way + lines.T @ (curvature * (lines @ way))
        far = size / np.maximum((way * bent).sum(axis=0), 1e-20)
        x += far * way
        rest -= far * bent
        left = (rest * rest).sum(axis=0)
        if (left <= enough).all():
            break
        way = rest + left / np.maximum(size, 1e-20) * way
        size = left
    return x


def fold_classifiers(
    vectors: Floats, labels: Ints, classifiers: tuple[Floats, Floats], weight: float = WEIGHT
) -> Floats:
    """The rows to be searched, [n, d+1]: phrasings with their answers' classifiers folded in."""
    w, b = classifiers
    return np.concatenate([vectors + weight * w[labels], weight * b[labels][:, None]], axis=1).astype(np.float32)


def extend(vectors: Floats) -> Floats:
    """Lines as they are asked with, [n, d+1]: a 1 is appended."""
    return np.concatenate([vectors, np.ones((len(vectors), 1), np.float32)], axis=1)


def cluster_folds(vectors: Floats, folds: int = FOLDS) -> Iterator[npt.NDArray[np.bool_]]:
    """For each fold, which vectors are held out: a whole cluster at a time."""
    folds = min(folds, len(vectors))
    if folds < 2:
        return
    means = faiss.Kmeans(vectors.shape[1], folds, niter=25, seed=_SEED, min_points_per_centroid=1)
    means.train(np.ascontiguousarray(vectors))
    found = means.index.search(np.ascontiguousarray(vectors), 1)[1][:, 0]
    for fold in range(folds):
        held = found == fold
        if held.any():
            yield held


def phrasing_folds(labels: Ints, folds: int) -> Iterator[npt.NDArray[np.bool_]]:
    """For each fold, which phrasings are held out: the same share of every answer's."""
    place = np.zeros(len(labels), np.int64)
    for answer in np.unique(labels):
        rows = np.flatnonzero(labels == answer)
        place[rows] = np.random.default_rng(_SEED + int(answer)).permutation(len(rows)) % folds
    for fold in range(folds):
        yield place == fold
