"""Calibration: how near is near enough, learned from lines that have no answer.

Each answer gets a detector (a logistic regression of its phrasings against the negatives), and the
cosine to a phrasing is tilted by its answer's detector:

    score(line, phrasing) = line · phrasing + weight * (line · w + b)   with w, b of the phrasing's answer

which folds into one inner product of `[line; 1]` with `[phrasing + weight*w; weight*b]`. The threshold
comes from scores of negatives by detectors that saw neither them nor their like: the folds are
clusters, for random folds promise far less than they keep (measured: 1% promised, 5.3% given).

Works on unit vectors; knows neither texts nor files. scikit-learn is needed here, at build time only.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: The detector's weight against the cosine, and the inverse strength of its regularisation.
WEIGHT, STRENGTH = 0.2, 10.0
FOLDS = 10
_SEED = 20


def fit_detectors(vectors: Floats, labels: Ints, negatives: Floats) -> tuple[Floats, Floats]:
    """For answers 0 … n-1: w [n, d] and b [n], from phrasings `vectors` with `labels` against `negatives`."""
    count = int(labels.max()) + 1 if len(labels) else 0
    w = np.zeros((count, vectors.shape[1]), np.float32)
    b = np.zeros(count, np.float32)
    if not len(negatives):
        return w, b
    for answer in range(count):
        own = vectors[labels == answer]
        if not len(own):
            continue
        x = np.concatenate([own, negatives])
        y = np.concatenate([np.ones(len(own)), np.zeros(len(negatives))])
        model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=200)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not quite converged is near enough for a tilt
            model.fit(x, y)
        w[answer], b[answer] = model.coef_[0], model.intercept_[0]
    return w, b


def tilt(vectors: Floats, labels: Ints, detectors: tuple[Floats, Floats], weight: float = WEIGHT) -> Floats:
    """The rows to be searched, [n, d+1]: phrasings with their answers' detectors folded in."""
    w, b = detectors
    return np.concatenate([vectors + weight * w[labels], weight * b[labels][:, None]], axis=1).astype(np.float32)


def extend(vectors: Floats) -> Floats:
    """Lines as they are asked with, [n, d+1]: a 1 is appended."""
    return np.concatenate([vectors, np.ones((len(vectors), 1), np.float32)], axis=1)


def cluster_folds(vectors: Floats, folds: int = FOLDS) -> Iterator[npt.NDArray[np.bool_]]:
    """For each fold, which vectors are held out: a whole cluster at a time."""
    folds = min(folds, len(vectors))
    if folds < 2:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = KMeans(folds, n_init=1, random_state=_SEED).fit_predict(vectors)
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


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95% interval of a rate (Wilson's)."""
    if not count:
        return 0.0, 1.0
    rate = hits / count
    middle = rate + z * z / (2 * count)
    spread = z * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max((middle - spread) / scale, 0.0), min((middle + spread) / scale, 1.0)
