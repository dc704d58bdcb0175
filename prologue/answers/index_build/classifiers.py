"""A linear classifier for each answer, and the space in which lines are compared.

Both come from one covariance, that of phrasings about the mean of their answer: directions in which the
phrasings of one answer differ among themselves tell answers apart badly, and are scaled down (`whitening`);
and the best linear rule between an answer's phrasings and the negatives is, for equal covariances, known in
closed form (linear discriminant analysis). So thousands of answers cost one inverse.
"""

from __future__ import annotations

from collections.abc import Iterator

import faiss
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

FOLDS = 10
_SEED = 20
#: The covariance counts for half at most, and for less where few phrasings tell it.
MOST, HALFWAY = 0.5, 300


def whitening(vectors: Floats, labels: Ints) -> Floats:
    """The matrix [d, d] to multiply unit vectors with (then to be made units again)."""
    spread = _shrunk(vectors - _means(vectors, labels, int(labels.max()) + 1)[labels])
    sizes, axes = np.linalg.eigh(spread)
    matrix: Floats = ((axes / np.sqrt(sizes)) @ axes.T).astype(np.float32)
    return matrix


def fit_classifiers(vectors: Floats, labels: Ints, negatives: Floats, count: int) -> tuple[Floats, Floats]:
    """For answers 0 … count-1: w [count, d] and b [count], from phrasings `vectors` with `labels`.

    The score `x @ w + b` is in standard deviations. An answer without phrasings gets zeros.
    """
    if not len(vectors) or not len(negatives):
        return np.zeros((count, vectors.shape[1]), np.float32), np.zeros(count, np.float32)
    means, away = _means(vectors, labels, count), negatives.mean(axis=0)
    inverse = np.linalg.inv(_shrunk(np.concatenate([vectors - means[labels], negatives - away])))
    apart = means - away
    w = apart @ inverse
    b = -((means + away) * w).sum(axis=1) / 2
    scale = np.sqrt(np.maximum((apart * w).sum(axis=1), 1e-12))
    used = np.bincount(labels, minlength=count) > 0
    return (
        np.ascontiguousarray(w / scale[:, None] * used[:, None], dtype=np.float32),
        np.asarray(b / scale * used, np.float32),
    )


def cluster_folds(vectors: Floats, folds: int = FOLDS) -> Iterator[npt.NDArray[np.bool_]]:
    """For each fold, which vectors are held out: a whole cluster at a time.

    Random folds promise far less than they keep (measured: 1% promised, 5.3% given).
    """
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


def _means(vectors: Floats, labels: Ints, count: int) -> Floats:
    sums = np.zeros((count, vectors.shape[1]), np.float64)
    np.add.at(sums, labels, vectors)
    means: Floats = (sums / np.maximum(np.bincount(labels, minlength=count), 1)[:, None]).astype(np.float32)
    return means


def _shrunk(residuals: Floats) -> npt.NDArray[np.float64]:
    """The covariance of residuals, drawn towards a sphere of the same size."""
    count, width = residuals.shape
    covariance = residuals.T.astype(np.float64) @ residuals / max(count, 1)
    sphere = max(float(np.trace(covariance)) / width, 1e-6)
    share = MOST * count / (count + HALFWAY)
    shrunk: npt.NDArray[np.float64] = share * covariance + (1 - share) * sphere * np.eye(width)
    return shrunk
