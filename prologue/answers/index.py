"""The answer index: finds the written answer to a line, or none.

A folder made by `index_build` holds `answers.json` (answers, phrasings, calibration), `answers.faiss` (the
phrasings' vectors), `answers.npz` (the negatives' vectors, the classifiers, the whitening) and `embedder/`.
A line is folded and spelt like the phrasings; the nearest phrasing names the answer; `acceptance` decides
whether it is given. Loading is cheap enough for a small function, and a loaded index may be asked from
several threads. The world's facts lie in the same folder. No torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from prologue.answers.acceptance import score, threshold
from prologue.answers.answer import STATES, Answer, State
from prologue.answers.embedder import Embedder, clean_text
from prologue.answers.guards import read_features
from prologue.answers.matcher import Matcher, Neighbours
from prologue.answers.normalize import Speller, fold
from prologue.errors import AnswerIndexError, EmbedderError
from prologue.knowledge.facts_index import MOST_FACTS, FactIndex, load_facts, map_index

__all__ = [
    "MOST_FACTS", "AnswerIndex", "AnswerIndexError", "Content", "Decision", "Found", "Match", "State",
    "load_answer_index",
]  # fmt: skip

CONTENT, VECTORS, ARRAYS, EMBEDDER = "answers.json", "answers.faiss", "answers.npz", "embedder"
#: Raised when the meaning of the files changes.
FORMAT = 6
#: How many phrasings near a line are looked at for another answer's.
NEIGHBOURS = 64
#: The share of the *negatives* that may pass, as a multiple of the budget: near-misses are many among them
#: and few among what visitors say.
SHARES: dict[State, float] = {"prologue": 4.0, "story": 2.7}
#: What a token of English prose holds, in characters; only for the estimate of what an answer saved.
CHARACTERS_PER_TOKEN = 4.2

Floats = npt.NDArray[np.float32]


class Calibration(msgspec.Struct, frozen=True):
    """The weights of `acceptance`, and the scores of held-out negatives, highest first, of `count` in all."""

    weights: list[float]
    count: int
    scores: list[float]


class Content(msgspec.Struct, frozen=True):
    """What `answers.json` holds. `exact`: the normal forms of each answer's phrasings."""

    format: int
    embedder: str
    budget: float
    about: dict[str, Any]
    calibration: dict[State, Calibration]
    rarity: dict[str, float]
    answers: list[Answer]
    exact: list[list[str]]


class Match(NamedTuple):
    """A written answer. `tokens`: about how many the storyteller would have written in its place."""

    id: str
    text: str
    matched: str
    score: float
    tokens: int


class Decision(NamedTuple):
    """What the index decides on a line: `score` is -inf where the state forbids; `why` there is no match."""

    match: Match | None
    score: float
    why: str


class Found(NamedTuple):
    """What there is on a line: the written answer, or else the facts that bear on it, the nearest first."""

    match: Match | None
    facts: list[str]


class AnswerIndex:
    """A loaded index. Made by `load_answer_index`."""

    def __init__(
        self,
        content: Content,
        vectors: Any,
        arrays: dict[str, Floats],
        facts: FactIndex,
        embedder: Embedder,
        budget: float | None,
    ) -> None:
        self._matcher = Matcher(content.answers, content.exact, content.rarity)
        self._vectors, self._facts, self._embed = vectors, facts, embedder.embed
        self._whitening, self._negatives = arrays["whitening"], arrays["negatives"]
        self._classifiers = arrays["w"], arrays["b"]
        self._speller = Speller(content.rarity, embedder.is_word)
        self._weights = {state: np.array(content.calibration[state].weights) for state in STATES}
        self.budget = content.budget if budget is None else budget
        #: What a score must reach, by state.
        self.thresholds: dict[str, float] = {
            state: threshold(content.calibration[state].scores, content.calibration[state].count, self.budget * share)
            for state, share in SHARES.items()
        }
        #: What `build` measured: recall, its interval and so on.
        self.about = content.about

    @property
    def answers(self) -> Sequence[Answer]:
        """Every answer, in the order of the file."""
        return self._matcher.answers

    def find(self, text: str, state: State = "prologue") -> Match | None:
        """The written answer to a line said in this state of the play, or None.

        A line that is a phrasing, letter for letter, has the score 1 and needs no threshold.
        """
        return self.decide([text], state)[0].match

    def consult(self, text: str, state: State = "prologue") -> Found:
        """What `find` gives and, where that is nothing, what `facts` gives; the line is embedded once."""
        match = self.decide([text], state)[0].match
        return Found(match, [] if match is not None else self.facts(text))

    def facts(self, text: str) -> list[str]:
        """The facts of the world that bear on a text, the nearest first; often none."""
        return self._facts.find(self._embed([text])[0])

    def decide(self, texts: Sequence[str], state: State = "prologue") -> list[Decision]:
        """For each line what `find` gives, and how near it came."""
        if state not in STATES:
            raise ValueError(f"the state is {state!r}; it must be one of {', '.join(STATES)}")
        return [self._decide(clean_text(text), state) for text in texts]

    def _decide(self, text: str, state: State) -> Decision:
        line = self._speller.correct(fold(text))
        whole = self._exact(text, line, state)
        if whole is not None:
            return whole
        parts = split_questions(text)
        found = [self._decide_one(part, state).match for part in parts] if len(parts) > 1 else []
        matches = list({match.id: match for match in found if match is not None}.values())
        if not matches or None in found:
            return self._nearest(line, state)
        # Several questions in one line, and an answer to each.
        first, tokens = matches[0], sum(match.tokens for match in matches)
        lowest = min(match.score for match in matches)
        joined = " ".join(match.text for match in matches)
        return Decision(first._replace(text=joined, score=lowest, tokens=tokens), lowest, "")

    def _decide_one(self, text: str, state: State) -> Decision:
        line = self._speller.correct(fold(text))
        return self._exact(text, line, state) or self._nearest(line, state)

    def _exact(self, text: str, line: str, state: State) -> Decision | None:
        """The answer that has a text for a phrasing, as it is written or folded and spelt (`line`)."""
        for form in (text, line):
            place = self._matcher.exact(read_features(form), state)
            if place is not None:
                return self._give(place, 1.0)
        return None

    def _nearest(self, line: str, state: State) -> Decision:
        near = self._neighbours(to_units(self._embed([line]), self._whitening)[0])
        answer = self._matcher.answers[self._matcher.phrasings[near.phrasing].answer]
        if state not in answer.when:
            return Decision(None, -np.inf, "state")
        row = np.array([self._matcher.figures(line, near)])
        odds = float(score(row, self._weights[state])[0])
        return self._give(near.phrasing, odds) if odds >= self.thresholds[state] else Decision(None, odds, "too far")

    def _neighbours(self, vector: Floats) -> Neighbours:
        cosines, places = self._vectors.search(vector[None], min(NEIGHBOURS, self._vectors.ntotal))
        near = [(int(place), float(cosine)) for place, cosine in zip(places[0], cosines[0], strict=True) if place >= 0]
        best = near[0][0]
        number = self._matcher.phrasings[best].answer
        start, end = self._matcher.starts[number : number + 2]
        own = np.sort(self._vectors.reconstruct_n(start, end - start) @ vector)[::-1][:3]
        other = next((cosine for place, cosine in near if not start <= place < end), near[-1][1])
        away = np.sort(self._negatives @ vector)[::-1][:3]
        w, b = self._classifiers
        return Neighbours(best, own.tolist(), other, away.tolist(), float(vector @ w[number] + b[number]))

    def _give(self, place: int, odds: float) -> Decision:
        phrasing = self._matcher.phrasings[place]
        answer = self._matcher.answers[phrasing.answer]
        tokens = max(1, round(len(answer.text) / CHARACTERS_PER_TOKEN))
        return Decision(Match(answer.id, answer.text, phrasing.text, odds, tokens), odds, "")


#: Where one question ends and another begins.
_BETWEEN = re.compile(
    r"(?<=[?!.;])\s+|\s+(?:and|also|oh and)\s+(?=(?:who|what|where|when|why|how|can|do|is|are)\b)", re.IGNORECASE
)
_COURTESIES = frozenset(
    ["hello", "hi", "hey", "thanks", "please", "ok", "okay", "wow", "cool", "nice", "great", "sorry", "yes", "no",
     "well", "thank you", "good morning", "good evening", "good day", "nice to meet you", "hello there", "hi there",
     "excuse me"]
)  # fmt: skip


def split_questions(text: str) -> list[str]:
    """The parts of a line that holds several questions; courtesies are left out."""
    parts = [re.sub(r"^(?:and|also|oh)\s+", "", part.strip(), flags=re.I) for part in _BETWEEN.split(text)]
    parts = [part for part in parts if read_features(part).exact]
    return [part for part in parts if read_features(part).exact not in _COURTESIES] or parts


def to_units(vectors: Floats, matrix: Floats) -> Floats:
    """Vectors [n, d] in the space of a whitening matrix."""
    moved = vectors @ matrix
    units: Floats = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
    return units


def load_answer_index(folder: str | Path, budget: float | None = None) -> AnswerIndex:
    """Opens the index in a folder. `budget`: the share of lines without an answer that may get one.

    Raises `AnswerIndexError` where the folder holds no index, a broken one, or one made with another embedder.
    """
    folder = Path(folder)
    if not all((folder / name).is_file() for name in (CONTENT, VECTORS, ARRAYS)):
        raise AnswerIndexError(
            f"There is no answer index in {folder}: make it with"
            f" `python -m prologue build --answers FILE --out {folder}`."
        )
    if budget is not None and not 0 <= budget <= 1:
        raise AnswerIndexError(f"The false-answer budget is {budget}; it must be from 0 to 1.")
    try:
        raw = (folder / CONTENT).read_bytes()
        made = msgspec.json.decode(raw, type=_Format).format
        if made != FORMAT:
            raise AnswerIndexError(f"The answer index in {folder} has format {made}, not {FORMAT}: build it again.")
        content = msgspec.json.decode(raw, type=Content)
        embedder = Embedder(folder / EMBEDDER)
        if content.embedder != embedder.id:
            raise AnswerIndexError(
                f"The answer index in {folder} was made with the embedder {content.embedder}, but {embedder.id}"
                " is beside it: build it again."
            )
        vectors = map_index(folder / VECTORS)
        if vectors.ntotal != sum(len(answer.phrasings) for answer in content.answers):
            raise AnswerIndexError(f"The vectors in {folder} belong to another index: build it again.")
        with np.load(folder / ARRAYS) as stored:
            arrays = {name: stored[name] for name in ("whitening", "negatives", "w", "b")}
        return AnswerIndex(content, vectors, arrays, load_facts(folder, embedder.id), embedder, budget)
    except EmbedderError as error:
        raise AnswerIndexError(str(error)) from None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise AnswerIndexError(
            f"The answer index in {folder} is broken ({type(error).__name__}): build it again."
        ) from None


class _Format(msgspec.Struct):
    format: int
