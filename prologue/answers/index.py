"""The answer index: finds the written answer to a line, or none.

A folder made by `builder` holds `answers.json` (answers, phrasings, calibration), `answers.faiss` (the
phrasings' vectors with their answers' classifiers folded in, see `classifiers`) and `embedder/`. `matcher`
decides on a line. Loading is cheap enough for a small function, and a loaded index may be asked from
several threads. The world's facts lie in the same folder and are found by the same vector. No torch, no
scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import msgspec
import numpy as np
import numpy.typing as npt

from prologue.answers.answer import STATES, Answer, State
from prologue.answers.embedder import Embedder, clean_text
from prologue.answers.matcher import Finding, Matcher, threshold
from prologue.errors import AnswerIndexError, EmbedderError
from prologue.knowledge.facts_index import MOST_FACTS, FactIndex, load_facts

__all__ = [
    "MOST_FACTS", "AnswerIndex", "AnswerIndexError", "Content", "Decision", "Found", "Match", "State",
    "load_answer_index",
]  # fmt: skip

CONTENT, VECTORS, EMBEDDER = "answers.json", "answers.faiss", "embedder"
#: Raised when the meaning of the files changes.
FORMAT = 3
#: How many phrasings near a line are looked at.
NEIGHBOURS = 32
#: The share of the false-answer budget that each state of the play may use: a wrong answer in the
#: middle of the story breaks it.
SHARES: dict[State, float] = {"prologue": 1.0, "story": 0.2}
#: What a token of English prose holds, in characters; only for the estimate of what an answer saved.
CHARACTERS_PER_TOKEN = 4.2

Floats = npt.NDArray[np.float32]


class Calibration(msgspec.Struct, frozen=True):
    """Scores of the negatives that no guard silenced, highest first, of `count` negatives in all."""

    count: int
    scores: list[float]


class Content(msgspec.Struct, frozen=True):
    """What `answers.json` holds. `exact`: the normal forms of each answer's phrasings."""

    format: int
    embedder: str
    budget: float
    about: dict[str, Any]
    calibration: dict[State, Calibration]
    entities: list[str]
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
    """What the index decides on a line: `score` is -inf where the state forbids, far down where a guard does;
    `why` there is no match."""

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
        facts: FactIndex,
        embed: Callable[[Sequence[str]], Floats],
        budget: float | None,
    ) -> None:
        self._matcher = Matcher(content.answers, content.exact, content.entities)
        self._vectors, self._facts, self._embed = vectors, facts, embed
        self.budget = content.budget if budget is None else budget
        #: What a score must reach, by state.
        self.thresholds: dict[str, float] = {
            state: threshold(content.calibration[state].scores, content.calibration[state].count, self.budget * share)
            for state, share in SHARES.items()
        }
        #: What `build` measured: recall, its interval and so on.
        self.about = content.about

    def find(self, text: str, state: State = "prologue") -> Match | None:
        """The written answer to a line said in this state of the play, or None.

        A line that is a phrasing, letter for letter, has the score 1 and needs no threshold.
        """
        return self.decide([text], state)[0].match

    def consult(self, text: str, state: State = "prologue") -> Found:
        """What `find` gives and, where that is nothing, what `facts` gives; the line is embedded once."""
        vectors = self._embed([text])
        match = self._decide([text], vectors, state)[0].match
        return Found(match, [] if match is not None else self._facts.find(vectors[0]))

    def facts(self, text: str) -> list[str]:
        """The facts of the world that bear on a text, the nearest first; often none."""
        return self._facts.find(self._embed([text])[0])

    def decide(self, texts: Sequence[str], state: State = "prologue") -> list[Decision]:
        """For each line what `find` gives, and how near it came."""
        return self._decide(texts, self._embed(list(texts)), state) if texts else []

    def _decide(self, texts: Sequence[str], vectors: Floats, state: State) -> list[Decision]:
        if state not in STATES:
            raise ValueError(f"the state is {state!r}; it must be one of {', '.join(STATES)}")
        lines = np.concatenate([vectors, np.ones((len(vectors), 1), np.float32)], axis=1)
        scores, places = self._vectors.search(lines, min(NEIGHBOURS, self._vectors.ntotal))
        return [
            self._decision(
                clean_text(text), [(int(p), float(s)) for p, s in zip(near, at, strict=True) if p >= 0], state
            )
            for text, near, at in zip(texts, places, scores, strict=True)
        ]

    def _decision(self, text: str, near: list[tuple[int, float]], state: State) -> Decision:
        features = self._matcher.read(text)
        same = self._matcher.exact(features, state)
        found = self._matcher.find(features, near, state) if same is None else Finding(same, 1.0, "")
        if found.phrasing is None:
            return Decision(None, found.score, found.why)
        if same is None and found.score < self.thresholds[state]:
            return Decision(None, found.score, "too far")
        phrasing = self._matcher.phrasings[found.phrasing]
        answer = self._matcher.answers[phrasing.answer]
        tokens = max(1, round(len(answer.text) / CHARACTERS_PER_TOKEN))
        return Decision(Match(answer.id, answer.text, phrasing.text, found.score, tokens), found.score, "")


def load_answer_index(folder: str | Path, budget: float | None = None) -> AnswerIndex:
    """Opens the index in a folder. `budget`: the share of lines without an answer that may get one.

    Raises `AnswerIndexError` where the folder holds no index, a broken one, or one made with another embedder.
    """
    folder = Path(folder)
    if not (folder / CONTENT).is_file() or not (folder / VECTORS).is_file():
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
        vectors = faiss.read_index(str(folder / VECTORS))
        if vectors.ntotal != sum(len(answer.phrasings) for answer in content.answers):
            raise AnswerIndexError(f"The vectors in {folder} belong to another index: build it again.")
        return AnswerIndex(content, vectors, load_facts(folder, embedder.id), embedder.embed, budget)
    except EmbedderError as error:
        raise AnswerIndexError(str(error)) from None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise AnswerIndexError(
            f"The answer index in {folder} is broken ({type(error).__name__}): build it again."
        ) from None


class _Format(msgspec.Struct):
    format: int
