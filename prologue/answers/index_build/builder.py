"""Makes an answer index: reads answers and negatives, embeds, learns, calibrates, measures, writes the folder."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import msgspec
import numpy as np
import numpy.typing as npt

from prologue.answers.acceptance import FIGURES, fit, score, threshold
from prologue.answers.answer import STATES, Answer, State
from prologue.answers.embedder import Embedder
from prologue.answers.guards import read_features, read_words
from prologue.answers.index import ARRAYS, CONTENT, EMBEDDER, FORMAT, SHARES, VECTORS, Calibration, Content, to_units
from prologue.answers.index_build.answers_file import GENERAL_NEGATIVES, find_shared, read_answers, read_negatives
from prologue.answers.index_build.classifiers import cluster_folds, fit_classifiers, phrasing_folds, whitening
from prologue.answers.index_build.embedder_build import build_embedder, share_embedder
from prologue.answers.matcher import Matcher, Neighbours
from prologue.answers.normalize import fold
from prologue.knowledge.facts_file import FILE as FACTS
from prologue.knowledge.facts_file import read_facts
from prologue.knowledge.facts_index import phrases, write_facts

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Held-out phrasings are judged by classifiers of the other folds'.
PHRASING_FOLDS = 5
#: Phrasings of the same answer, and negatives, nearer than this to a held-out line are hidden from it: what a
#: visitor says is seldom so near.
HIDE = 0.7
#: The most phrasings that are held out; more of them tell nothing new.
MOST_HELD_OUT = 3_000
#: Up to how many phrasings the index is searched as a whole; cells of a larger one, times the root of its rows.
FLAT_ROWS, CELLS = 20_000, 4.0
#: Of an English index's words nearly all are tokens of the embedder (98% of the Emerald City's); of a German one 41%.
ENGLISH = 0.7
_CHUNK = 256


@dataclass(frozen=True)
class Report:
    """What a build found. Rates are shares; `interval` is of the recall, 95%, answers resampled.

    `thin`: answers whose held-out phrasings are found least, with that share. `confused`: (answer, taken for,
    times). `decisive`: the negatives just above and below the prologue's threshold. `five_more`: the recall
    that five more phrasings an answer would add, extrapolated. `foreign`: the embedder does not read its language.
    """

    answers: int
    phrasings: int
    negatives: int
    budget: float
    recall: dict[State, float]
    interval: dict[State, tuple[float, float]]
    wrong: dict[State, float]
    thresholds: dict[State, float]
    shared: list[tuple[str, str, str]]
    thin: list[tuple[str, float]] = field(default_factory=list)
    confused: list[tuple[str, str, int]] = field(default_factory=list)
    decisive: list[str] = field(default_factory=list)
    five_more: float = 0.0
    facts: int = 0
    foreign: bool = False


#: Is told of a step's name, and how many of how many lines are done.
Progress = Callable[[str, int, int], None]


class HeldOut(NamedTuple):
    """Held-out lines: their figures, the candidate of each, and the answer it should have (-1: none)."""

    rows: Doubles
    candidate: Ints
    wanted: Ints


def build_answer_index(
    answers_file: Path,
    out: Path,
    *,
    negatives_file: Path | None = None,
    budget: float = 0.01,
    embedder: Path,
    progress: Progress = lambda step, done, total: None,
) -> Report:
    """Makes the index of a file of answers in the folder `out`, replacing the one there.

    The negatives are those of `negatives_file`, or of `negatives.txt` beside the answers where there
    is one, together with the general set. The facts of `facts.yaml` beside the answers, where there
    is one, go into the same folder. `embedder` is the folder of the embedder, made if missing.
    `progress` is told how far each step is. Raises `WorldError` or `EmbedderError`.
    """
    answers, negatives = read_sources(answers_file, negatives_file)
    facts = read_facts(answers_file.with_name(FACTS))
    build_embedder(embedder)
    model = Embedder(embedder)
    builder = AnswerIndexBuilder.embedded(answers, negatives, model, progress)
    words = [word for text in builder.texts for word in read_words(text)]
    foreign = sum(map(model.is_word, words)) < ENGLISH * len(words)
    content, report = builder.measure(model.id, budget, foreign=foreign)
    report = replace(report, facts=len(facts))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as aside:
        made = Path(aside) / "index"
        made.mkdir(mode=0o755)
        (made / CONTENT).write_bytes(msgspec.json.encode(content))
        faiss.write_index(make_vectors(builder.vectors), str(made / VECTORS))
        np.savez(made / ARRAYS, **builder.arrays())  # type: ignore[arg-type]
        if facts:
            write_facts(made, facts, model.embed(phrases(facts)), model.id)
        share_embedder(embedder, made / EMBEDDER)
        if out.exists():
            shutil.rmtree(out)
        made.rename(out)
    return report


def read_sources(answers_file: Path, negatives_file: Path | None = None) -> tuple[list[Answer], list[str]]:
    """The answers of a file, and its negatives as `build_answer_index` finds them. Raises `WorldError`."""
    answers = read_answers(answers_file)
    beside = answers_file.with_name("negatives.txt")
    own = negatives_file or (beside if beside.is_file() else None)
    return answers, list(dict.fromkeys([*(read_negatives(own) if own else []), *read_negatives(GENERAL_NEGATIVES)]))


class AnswerIndexBuilder:
    """An index in the making, before anything is written.

    `vectors` [phrasings, d] are those of the answers' phrasings in order, `away` [negatives, d] those of
    the negatives.
    """

    def __init__(
        self,
        answers: Sequence[Answer],
        negatives: Sequence[str],
        vectors: Floats,
        away: Floats,
        progress: Progress = lambda step, done, total: None,
    ) -> None:
        self.answers, self._progress = answers, progress
        self.texts = [fold(phrasing) for answer in answers for phrasing in answer.phrasings]
        self.labels: Ints = np.array([n for n, answer in enumerate(answers) for _ in answer.phrasings], np.int64)
        self.exact = [[read_features(text).exact for text in answer.phrasings] for answer in answers]
        # A negative that is also a phrasing would teach the classifier against itself.
        phrased = {form for forms in self.exact for form in forms}
        kept = [n for n, line in enumerate(negatives) if read_features(line).exact not in phrased]
        self.negatives = [fold(negatives[n]) for n in kept]
        self.rarity = _rarity([*self.texts, *self.negatives])
        self.matcher = Matcher(answers, self.exact, self.rarity)
        self.whitening = whitening(vectors, self.labels)
        self.vectors, self.away = to_units(vectors, self.whitening), to_units(away[kept], self.whitening)

    @classmethod
    def embedded(
        cls,
        answers: Sequence[Answer],
        negatives: Sequence[str],
        model: Embedder,
        progress: Progress = lambda step, done, total: None,
    ) -> AnswerIndexBuilder:
        """One whose vectors are the model's, of lines that are folded."""
        texts = [fold(phrasing) for answer in answers for phrasing in answer.phrasings]
        vectors = _embed(model, texts, "phrasings", progress)
        away = _embed(model, [fold(line) for line in negatives], "negatives", progress)
        return cls(answers, negatives, vectors, away, progress)

    def arrays(self) -> dict[str, Floats]:
        """What `answers.npz` holds."""
        w, b = fit_classifiers(self.vectors, self.labels, self.away, len(self.answers))
        return {"whitening": self.whitening, "negatives": self.away, "w": w, "b": b}

    def hold_out_phrasings(self, hide_share: float = 0.0) -> HeldOut:
        """Phrasings against an index without them and their like. `hide_share`: of the others, hidden as well."""
        draw = np.random.default_rng(20)
        chosen = np.sort(draw.permutation(len(self.texts))[:MOST_HELD_OUT])
        hidden = draw.random(len(self.texts)) < hide_share
        rows, candidates, wanted, done = [], [], [], 0
        for held in phrasing_folds(self.labels, PHRASING_FOLDS):
            kept = ~held
            w, b = fit_classifiers(self.vectors[kept], self.labels[kept], self.away, len(self.answers))
            for places in _chunks(chosen[held[chosen]]):
                self._progress("holding out phrasings", done, len(chosen))
                done += len(places)
                cosines, away = self.vectors[places] @ self.vectors.T, self.vectors[places] @ self.away.T
                for place, near, far in zip(places, cosines, away, strict=True):
                    own = self.labels == self.labels[place]
                    out = (own & (near > HIDE)) | hidden
                    out[place] = True
                    if not (own & ~out).any():
                        continue
                    near[out] = -2
                    found = self._neighbours(self.vectors[place], near, far, w, b)
                    rows.append(self.matcher.figures(self.texts[place], found, set(np.flatnonzero(out).tolist())))
                    candidates.append(self.labels[found.phrasing])
                    wanted.append(self.labels[place])
        return _held_out(rows, candidates, wanted)

    def hold_out_negatives(self) -> HeldOut:
        """Negatives against an index that saw nothing like them."""
        rows: list[list[float]] = [[]] * len(self.negatives)
        candidates, done = np.zeros(len(self.negatives), np.int64), 0
        for held in cluster_folds(self.away):
            w, b = fit_classifiers(self.vectors, self.labels, self.away[~held], len(self.answers))
            for places in _chunks(np.flatnonzero(held)):
                self._progress("holding out negatives", done, len(self.negatives))
                done += len(places)
                cosines, away = self.away[places] @ self.vectors.T, self.away[places] @ self.away.T
                for place, near, far in zip(places, cosines, away, strict=True):
                    far[far > HIDE] = -2
                    found = self._neighbours(self.away[place], near, far, w, b)
                    rows[place] = self.matcher.figures(self.negatives[place], found)
                    candidates[place] = self.labels[found.phrasing]
        return _held_out(rows, candidates, [-1] * len(rows))

    def candidates(self, lines: Sequence[str], vectors: Floats, w: Floats, b: Floats) -> HeldOut:
        """Lines from elsewhere against the whole index; `vectors` are theirs in the index's space."""
        rows, candidates = [], []
        for places in _chunks(np.arange(len(lines))):
            cosines, away = vectors[places] @ self.vectors.T, vectors[places] @ self.away.T
            for place, near, far in zip(places, cosines, away, strict=True):
                found = self._neighbours(vectors[place], near, far, w, b)
                rows.append(self.matcher.figures(fold(lines[place]), found))
                candidates.append(int(self.labels[found.phrasing]))
        return _held_out(rows, candidates, [-1] * len(rows))

    def measure(self, embedder: str, budget: float, *, foreign: bool = False) -> tuple[Content, Report]:
        """The content of `answers.json` and what was measured.

        An index in a `foreign` language answers exact phrasings alone: to the embedder its lines are all alike.
        """
        negative = self.hold_out_negatives()
        asked = self.hold_out_phrasings()
        allowed = np.array([[state in answer.when for state in STATES] for answer in self.answers])
        calibration: dict[State, Calibration] = {}
        recall, interval, wrong, limits = {}, {}, {}, {}
        given: dict[State, npt.NDArray[np.bool_]] = {}
        for column, state in enumerate(STATES):
            may = allowed[:, column]
            count = 0 if foreign else len(self.negatives)  # of none, no threshold promises anything
            calibration[state] = found = calibrate(asked, negative, may, count)
            limits[state] = limit = threshold(found.scores, count, budget * SHARES[state])
            given[state] = may[asked.candidate] & (score(asked.rows, np.array(found.weights)) >= limit)
            right, counted = given[state] & (asked.candidate == asked.wanted), may[asked.wanted]
            recall[state] = float(right[counted].mean()) if counted.any() else 0.0
            wrong[state] = float((given[state] & ~right)[counted].mean()) if counted.any() else 0.0
            interval[state] = _interval(right[counted], asked.wanted[counted])
        report = Report(
            answers=len(self.answers),
            phrasings=len(self.texts),
            negatives=len(self.negatives),
            budget=budget,
            recall=recall,
            interval=interval,
            wrong=wrong,
            thresholds=limits,
            shared=find_shared(self.answers),
            foreign=foreign,
            thin=self._thin(asked, given["prologue"]),
            confused=self._confused(asked),
            decisive=self._decisive(negative, calibration["prologue"], limits["prologue"]),
            five_more=self._five_more(calibration["prologue"], limits["prologue"], recall["prologue"]),
        )
        content = Content(
            format=FORMAT,
            embedder=embedder,
            budget=budget,
            about={"negatives": len(self.negatives), "recall": recall, "interval": interval, "wrong": wrong},
            calibration=calibration,
            rarity={word: round(value, 3) for word, value in self.rarity.items()},
            answers=list(self.answers),
            exact=self.exact,
        )
        return content, report

    def _neighbours(self, vector: Floats, near: Floats, far: Floats, w: Floats, b: Floats) -> Neighbours:
        best = int(near.argmax())
        number = int(self.labels[best])
        start, end = self.matcher.starts[number : number + 2]
        own = np.sort(near[start:end])[::-1][:3]
        other = max(near[:start].max(initial=-2), near[end:].max(initial=-2))
        away = -np.partition(-far, 2)[:3] if len(far) > 3 else far
        return Neighbours(
            phrasing=best,
            own=[one for one in own.tolist() if one > -2],
            other=float(other) if other > -2 else float(own[-1]),
            away=sorted((one for one in away.tolist() if one > -2), reverse=True),
            classifier=float(vector @ w[number] + b[number]),
        )

    def _thin(self, asked: HeldOut, given: npt.NDArray[np.bool_]) -> list[tuple[str, float]]:
        right = given & (asked.candidate == asked.wanted)
        found = [
            (self.answers[number].id, float(right[asked.wanted == number].mean())) for number in np.unique(asked.wanted)
        ]
        return sorted(found, key=lambda one: one[1])[:5]

    def _confused(self, asked: HeldOut) -> list[tuple[str, str, int]]:
        pairs = Counter(
            (self.answers[wanted].id, self.answers[candidate].id)
            for wanted, candidate in zip(asked.wanted.tolist(), asked.candidate.tolist(), strict=True)
            if wanted != candidate
        )
        return [(one, other, count) for (one, other), count in pairs.most_common(5) if count > 1]

    def _decisive(self, negative: HeldOut, calibration: Calibration, limit: float) -> list[str]:
        scores = score(negative.rows, np.array(calibration.weights))
        order = np.argsort(np.abs(scores - limit)) if math.isfinite(limit) else np.argsort(-scores)
        return [self.negatives[place] for place in order[:5]]

    def _five_more(self, calibration: Calibration, limit: float, recall: float) -> float:
        """Recall grows about evenly with each doubling: what half of the phrasings lose says what more bring."""
        halved = self.hold_out_phrasings(0.5)
        if not len(halved.rows) or not math.isfinite(limit):
            return 0.0
        right = (halved.candidate == halved.wanted) & (score(halved.rows, np.array(calibration.weights)) >= limit)
        each = len(self.texts) / len(self.answers)
        gain = max(0.0, recall - float(right.mean())) * math.log2((each + 5) / each)
        return min(gain, 1 - recall)


def calibrate(asked: HeldOut, negative: HeldOut, may: npt.NDArray[np.bool_], count: int) -> Calibration:
    """What is learned from held-out lines with the answers that `may` [answers, boolean] be given."""
    ours, theirs = may[asked.candidate] & may[asked.wanted], may[negative.candidate]
    weights = fit(
        np.concatenate([asked.rows[ours], negative.rows[theirs]]),
        np.concatenate([(asked.candidate == asked.wanted)[ours], np.zeros(int(theirs.sum()), bool)]),
    )
    ranked = sorted((round(float(one), 5) for one in score(negative.rows[theirs], weights)), reverse=True)
    return Calibration(weights.tolist(), count, ranked)


def make_vectors(rows: Floats) -> Any:
    """The FAISS index of unit vectors, by inner product: exact for as long as that is fast enough."""
    count, width = rows.shape
    if count <= FLAT_ROWS:
        index: Any = faiss.IndexFlatIP(width)
    else:
        cells = int(CELLS * math.sqrt(count))
        index = faiss.index_factory(width, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.nprobe = max(8, cells // 32)
        index.train(rows)
    index.add(rows)
    if count > FLAT_ROWS:
        index.make_direct_map()  # so that an answer's rows can be read
    return index


def _embed(model: Embedder, texts: Sequence[str], what: str, progress: Progress) -> Floats:
    parts = []
    for start in range(0, len(texts), _CHUNK):
        progress(f"embedding {what}", start, len(texts))
        parts.append(model.embed(texts[start : start + _CHUNK]))
    return np.concatenate(parts)


def _rarity(texts: Sequence[str]) -> dict[str, float]:
    """Of each word, how rare it is: the logarithm of one over the share of texts that have it."""
    count = Counter(word for text in texts for word in read_words(text))
    return {word: math.log((len(texts) + 1) / number) for word, number in count.items()}


def _chunks(places: Ints) -> list[Ints]:
    return [places[start : start + _CHUNK] for start in range(0, len(places), _CHUNK)]


def _held_out(rows: list[list[float]], candidates: Sequence[int] | Ints, wanted: Sequence[int]) -> HeldOut:
    return HeldOut(
        np.array(rows, np.float64).reshape(-1, len(FIGURES)), np.array(candidates, np.int64), np.array(wanted, np.int64)
    )


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
