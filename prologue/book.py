"""The answer book: finds the written answer to a line, or keeps silent.

A folder made by `book_build` holds `book.json` (answers, phrasings, calibration), `index.faiss` (the
phrasings with their answers' detectors folded in, see `calibration`) and `embedder/`. How a line is
decided on is `decision`. Loading is cheap enough for a small function, and a loaded book may be
asked from several threads. The facts that bear on a line (`notes`) lie in the same folder and are found
by the same vector. No torch, no scikit-learn.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt

from prologue.answers import STATES, State
from prologue.decision import Finding, Judge, Leaf, Page, threshold
from prologue.embedder import Embedder, clean_text
from prologue.errors import BookError, EmbedderError
from prologue.guards import read_words
from prologue.notes import MOST as MOST_NOTES
from prologue.notes import Notes, load_notes

__all__ = ["MOST_NOTES", "Book", "BookError", "Found", "Match", "State", "Verdict", "load_book", "make_judge"]

BOOK, INDEX, EMBEDDER = "book.json", "index.faiss", "embedder"
#: Raised when the meaning of the files changes.
FORMAT = 2
#: How many phrasings near a line are looked at.
NEIGHBOURS = 32
#: The share of the false-answer budget that each state of the play may use: a wrong answer in the
#: middle of the story breaks it.
SHARES: dict[State, float] = {"lobby": 1.0, "prologue": 1.0, "story": 0.2}
#: What a token of English prose holds, in characters; only for the estimate of what an answer saved.
CHARACTERS_PER_TOKEN = 4.2

#: A name in so many answers is the world's own, and tells none of them from another.
COMMON = 6

Floats = npt.NDArray[np.float32]


class Match(NamedTuple):
    """A written answer. `tokens`: about how many the storyteller would have written in its place."""

    id: str
    text: str
    matched: str
    score: float
    tokens: int


class Verdict(NamedTuple):
    """What the book makes of a line: `score` is -inf where the state forbids, far down where a guard does;
    `why` it is silent."""

    match: Match | None
    score: float
    why: str


class Found(NamedTuple):
    """What there is on a line: the written answer, or else the facts that bear on it, the nearest first."""

    match: Match | None
    facts: list[str]


class Book:
    """A loaded book. Made by `load_book`."""

    def __init__(
        self,
        raw: dict[str, Any],
        index: Any,
        notes: Notes,
        embed: Callable[[Sequence[str]], Floats],
        budget: float | None,
    ) -> None:
        self._judge = make_judge(raw["answers"], raw["entities"])
        self._index, self._notes, self._embed = index, notes, embed
        self.budget = float(raw["budget"] if budget is None else budget)
        #: What a score must reach, by state.
        self.thresholds: dict[str, float] = {
            state: threshold(
                raw["calibration"][state]["scores"], raw["calibration"][state]["count"], self.budget * share
            )
            for state, share in SHARES.items()
        }
        #: What `build` measured: recall, its interval and so on.
        self.about: dict[str, Any] = raw["about"]

    def find(self, text: str, state: State = "lobby") -> Match | None:
        """The written answer to a line said in this state of the play, or None: the book is silent.

        A line that is a phrasing, letter for letter, has the score 1 and needs no threshold.
        """
        return self.judge([text], state)[0].match

    def consult(self, text: str, state: State = "lobby") -> Found:
        """What `find` gives and, where that is nothing, what `facts` gives; the line is embedded once."""
        vectors = self._embed([text])
        match = self._judge_vectors([text], vectors, state)[0].match
        return Found(match, [] if match is not None else self._notes.find(vectors[0]))

    def facts(self, text: str) -> list[str]:
        """The facts of the world that bear on a text, the nearest first; often none."""
        return self._notes.find(self._embed([text])[0])

    def judge(self, texts: Sequence[str], state: State = "lobby") -> list[Verdict]:
        """For each line what `find` gives, and how near it came."""
        return self._judge_vectors(texts, self._embed(list(texts)), state) if texts else []

    def _judge_vectors(self, texts: Sequence[str], vectors: Floats, state: State) -> list[Verdict]:
        if state not in STATES:
            raise ValueError(f"the state is {state!r}; it must be one of {', '.join(STATES)}")
        lines = np.concatenate([vectors, np.ones((len(vectors), 1), np.float32)], axis=1)
        scores, places = self._index.search(lines, min(NEIGHBOURS, self._index.ntotal))
        return [
            self._verdict(
                clean_text(text), [(int(p), float(s)) for p, s in zip(near, at, strict=True) if p >= 0], state
            )
            for text, near, at in zip(texts, places, scores, strict=True)
        ]

    def _verdict(self, text: str, near: list[tuple[int, float]], state: State) -> Verdict:
        signs = self._judge.read(text)
        same = self._judge.exact(signs, state)
        found = self._judge.find(signs, near, state) if same is None else Finding(same, 1.0, "")
        if found.leaf is None:
            return Verdict(None, found.score, found.why)
        if same is None and found.score < self.thresholds[state]:
            return Verdict(None, found.score, "too far")
        leaf = self._judge.leaves[found.leaf]
        page = self._judge.pages[leaf.page]
        tokens = max(1, round(len(page.text) / CHARACTERS_PER_TOKEN))
        return Verdict(Match(page.id, page.text, leaf.text, found.score, tokens), found.score, "")


def load_book(folder: str | Path, budget: float | None = None) -> Book:
    """Opens the book in a folder. `budget`: the share of lines without an answer that may get one.

    Raises `BookError` where the folder holds no book, a broken one, or one made with another embedder.
    """
    folder = Path(folder)
    if not (folder / BOOK).is_file() or not (folder / INDEX).is_file():
        raise BookError(
            f"There is no answer book in {folder}: make it with"
            f" `python -m prologue build --answers FILE --out {folder}`."
        )
    if budget is not None and not 0 <= budget <= 1:
        raise BookError(f"The false-answer budget is {budget}; it must be from 0 to 1.")
    try:
        raw = json.loads((folder / BOOK).read_text(encoding="utf-8"))
        if raw["format"] != FORMAT:
            raise BookError(f"The answer book in {folder} has format {raw['format']}, not {FORMAT}: build it again.")
        embedder = Embedder(folder / EMBEDDER)
        if raw["embedder"] != embedder.id:
            raise BookError(
                f"The answer book in {folder} was made with the embedder {raw['embedder']}, but {embedder.id}"
                " is beside it: build it again."
            )
        index = faiss.read_index(str(folder / INDEX))
        if index.ntotal != sum(len(answer["phrasings"]) for answer in raw["answers"]):
            raise BookError(f"The index in {folder} belongs to another book: build it again.")
        return Book(raw, index, load_notes(folder, embedder.id), embedder.embed, budget)
    except EmbedderError as error:
        raise BookError(str(error)) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise BookError(f"The answer book in {folder} is broken ({type(error).__name__}): build it again.") from None


def make_judge(answers: Sequence[dict[str, Any]], entities: Sequence[str]) -> Judge:
    """The judge of answers as `book.json` has them. `entities`: the names of the world, in lower case."""
    pages, leaves = [], []
    own = [{word for text in (a["text"], *a["phrasings"]) for word in read_words(text)} for a in answers]
    spread = Counter(word for words in own for word in words)
    common = {word for word, count in spread.items() if count >= COMMON}
    for number, answer in enumerate(answers):
        words = frozenset(own[number] | common)
        pages.append(Page(answer["id"], answer["text"], frozenset(answer["when"]), answer["any_name"], words))
        for text, exact in zip(answer["phrasings"], answer["exact"], strict=True):
            leaves.append(Leaf(text, number, exact))
    return Judge(pages, leaves, entities)
