"""Makes an answer index: reads answers and negatives, embeds, calibrates, measures, writes the folder.

Runs where things are built; scikit-learn is needed here and by `calibration` only.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import msgspec
import numpy as np
import numpy.typing as npt

from prologue.answers.answer import STATES, Answer, State
from prologue.answers.answers_file import GENERAL_NEGATIVES, find_shared, read_answers, read_negatives
from prologue.answers.classifiers import cluster_folds, extend, fit_classifiers, fold_classifiers, phrasing_folds
from prologue.answers.embedder import Embedder
from prologue.answers.embedder_build import build_embedder, share_embedder
from prologue.answers.guards import find_entities, read_features
from prologue.answers.index import CONTENT, EMBEDDER, FORMAT, NEIGHBOURS, SHARES, VECTORS, Calibration, Content
from prologue.answers.matcher import Matcher, threshold
from prologue.knowledge.facts_file import FILE as FACTS
from prologue.knowledge.facts_file import read_facts
from prologue.knowledge.facts_index import phrases, write_facts

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: Held-out phrasings are scored by an index made of the other folds' phrasings.
RECALL_FOLDS = 5
#: Up to how many phrasings the index is exact, and up to how many it is searched as a whole.
FLAT_ROWS, BYTE_ROWS = 20_000, 50_000
#: Cells of a larger one, times the square root of its rows.
CELLS = 4.0


@dataclass(frozen=True)
class Report:
    """What a build found. Rates are shares; `interval` is of the recall, 95%, answers resampled."""

    answers: int
    phrasings: int
    negatives: int
    budget: float
    recall: dict[State, float]
    interval: dict[State, tuple[float, float]]
    wrong: dict[State, float]
    thresholds: dict[State, float]
    shared: list[tuple[str, str, str]]
    facts: int = 0


def build_answer_index(
    answers_file: Path, out: Path, *, negatives_file: Path | None = None, budget: float = 0.01, embedder: Path
) -> Report:
    """Makes the index of a file of answers in the folder `out`, replacing the one there.

    The negatives are those of `negatives_file`, or of `negatives.txt` beside the answers where there
    is one, together with the general set. The facts of `facts.yaml` beside the answers, where there
    is one, go into the same folder. `embedder` is the folder of the embedder, made if missing.
    Raises `WorldError` or `EmbedderError`.
    """
    answers = read_answers(answers_file)
    beside = answers_file.with_name("negatives.txt")
    own = negatives_file or (beside if beside.is_file() else None)
    negatives = list(dict.fromkeys([*(read_negatives(own) if own else []), *read_negatives(GENERAL_NEGATIVES)]))
    facts = read_facts(answers_file.with_name(FACTS))
    build_embedder(embedder)
    model = Embedder(embedder)
    content, rows, report = make_content(answers, negatives, model, budget)
    report = replace(report, facts=len(facts))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as aside:
        made = Path(aside) / "index"
        made.mkdir(mode=0o755)
        (made / CONTENT).write_bytes(msgspec.json.encode(content))
        faiss.write_index(make_index(rows), str(made / VECTORS))
        if facts:
            write_facts(made, facts, model.embed(phrases(facts)), model.id)
        share_embedder(embedder, made / EMBEDDER)
        if out.exists():
            shutil.rmtree(out)
        made.rename(out)
    return report


class AnswerIndexBuilder:
    """An index in the making: answers and negatives with their vectors, before anything is written.

    `vectors` [phrasings, d] are those of the answers' phrasings in order, `away` [negatives, d] those of
    the negatives.
    """

    def __init__(self, answers: Sequence[Answer], negatives: Sequence[str], vectors: Floats, away: Floats) -> None:
        self.texts = [phrasing for answer in answers for phrasing in answer.phrasings]
        self.labels: Ints = np.array([n for n, answer in enumerate(answers) for _ in answer.phrasings], np.int64)
        self.entities = sorted(find_entities([*self.texts, *negatives, *(answer.text for answer in answers)]))
        self.exact = [[read_features(text).exact for text in answer.phrasings] for answer in answers]
        self.matcher = Matcher(answers, self.exact, self.entities)
        # A negative that is also a phrasing would teach the classifier against itself.
        phrased = {phrasing.exact for phrasing in self.matcher.phrasings}
        kept = [n for n, line in enumerate(negatives) if read_features(line).exact not in phrased]
        self.negatives = [negatives[n] for n in kept]
        self.vectors, self.away = vectors, away[kept]
        self._count = len(answers)

    def rows(self) -> Floats:
        """The rows of the index, [phrasings, d+1]."""
        return self._rows(self.vectors, self.labels, self.away)

    def calibrate(self) -> dict[State, Calibration]:
        """For each state the scores of the negatives, each by classifiers that saw nothing like it."""
        scores: dict[State, list[float]] = {state: [] for state in STATES}
        for held in cluster_folds(self.away):
            rows = self._rows(self.vectors, self.labels, self.away[~held])
            lines = [line for line, out in zip(self.negatives, held, strict=True) if out]
            for state, found in self.ask(rows, lines, self.away[held]).items():
                scores[state] += [round(score, 5) for phrasing, score in found if phrasing >= 0]
        return {s: Calibration(len(self.negatives), sorted(scores[s], reverse=True)) for s in STATES}

    def hold_out(self) -> dict[State, list[tuple[int, float]]]:
        """For each state and phrasing (answer, score) by an index made without it."""
        found: dict[State, list[tuple[int, float]]] = {s: [(-1, -math.inf)] * len(self.texts) for s in STATES}
        for held in phrasing_folds(self.labels, RECALL_FOLDS):
            kept = np.flatnonzero(~held)
            if not len(kept) or not held.any():
                continue
            rows = self._rows(self.vectors[kept], self.labels[kept], self.away)
            lines = [text for text, out in zip(self.texts, held, strict=True) if out]
            for state, given in self.ask(rows, lines, self.vectors[held], kept).items():
                for place, one in zip(np.flatnonzero(held), given, strict=True):
                    found[state][place] = one
        return found

    def ask(
        self, rows: Floats, lines: Sequence[str], vectors: Floats, phrasings: Ints | None = None
    ) -> dict[State, list[tuple[int, float]]]:
        """For each state and line (answer or -1, score) from these rows; `phrasings` says what each row is."""
        scores = extend(vectors) @ rows.T
        near = np.argsort(-scores, axis=1)[:, :NEIGHBOURS]
        found: dict[State, list[tuple[int, float]]] = {state: [] for state in STATES}
        for line, places, given in zip(lines, near, scores, strict=True):
            features = self.matcher.read(line)
            ranked = [(int(place if phrasings is None else phrasings[place]), float(given[place])) for place in places]
            for state in STATES:
                phrasing, score, _ = self.matcher.find(features, ranked, state)
                found[state].append((-1 if phrasing is None else self.matcher.phrasings[phrasing].answer, score))
        return found

    def _rows(self, vectors: Floats, labels: Ints, away: Floats) -> Floats:
        return fold_classifiers(vectors, labels, fit_classifiers(vectors, labels, away, self._count))


def make_content(
    answers: Sequence[Answer], negatives: Sequence[str], model: Embedder, budget: float
) -> tuple[Content, Floats, Report]:
    """The content of `answers.json`, the rows of the index [phrasings, d+1] and what was measured."""
    texts = [phrasing for answer in answers for phrasing in answer.phrasings]
    builder = AnswerIndexBuilder(answers, negatives, model.embed(texts), model.embed(negatives))
    calibration = builder.calibrate()
    limits = {s: threshold(calibration[s].scores, calibration[s].count, budget * SHARES[s]) for s in STATES}
    found = builder.hold_out()
    labels = builder.labels
    recall, interval, wrong = {}, {}, {}
    for state in STATES:
        asked = np.array([state in answers[label].when for label in labels])
        given = np.array([label if score >= limits[state] else -1 for label, score in found[state]])
        hit, miss = given == labels, (given != labels) & (given >= 0)
        recall[state] = float(hit[asked].mean()) if asked.any() else 0.0
        wrong[state] = float(miss.mean())
        interval[state] = _interval(hit[asked], labels[asked])
    count = len(builder.negatives)
    report = Report(len(answers), len(texts), count, budget, recall, interval, wrong, limits, find_shared(answers))
    content = Content(
        format=FORMAT,
        embedder=model.id,
        budget=budget,
        about={"negatives": count, "recall": recall, "interval": interval, "wrong": wrong},
        calibration=calibration,
        entities=builder.entities,
        answers=list(answers),
        exact=builder.exact,
    )
    return content, builder.rows(), report


def make_index(rows: Floats) -> Any:
    """The FAISS index of rows [n, d+1], by inner product: exact for as long as that is fast enough.

    Above `FLAT_ROWS` every number takes a byte instead of four, and above `BYTE_ROWS` only the nearest
    cells are searched as well. (Coarser codes would be smaller, but their scores bear no threshold.)
    """
    count, width = rows.shape
    index: Any
    if count <= FLAT_ROWS:
        index = faiss.IndexFlatIP(width)
    elif count <= BYTE_ROWS:
        index = faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    else:
        cells = int(CELLS * math.sqrt(count))
        index = faiss.index_factory(width, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.nprobe = max(8, cells // 32)
    if not index.is_trained:
        index.train(rows)
    index.add(rows)
    return index


def _interval(hits: npt.NDArray[np.bool_], labels: Ints, draws: int = 2000) -> tuple[float, float]:
    """The 95% interval of the share of hits, whole answers resampled: their phrasings stand or fall together."""
    if not len(hits):
        return 0.0, 1.0
    owners = np.unique(labels)
    right = np.array([hits[labels == owner].sum() for owner in owners])
    count = np.array([(labels == owner).sum() for owner in owners])
    drawn = np.random.default_rng(20).integers(len(owners), size=(draws, len(owners)))
    rates = right[drawn].sum(axis=1) / count[drawn].sum(axis=1)
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)
