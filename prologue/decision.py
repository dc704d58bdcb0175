"""The book's decision on a line, given how near its phrasings are; shared by asking and calibrating.

The nearest phrasing names the answer. Of that answer's phrasings near the line, the nearest that the
guards let pass gives the score, which must reach the threshold of the state of the play. If the
answer named may not be given in this state, the book is silent: the second best is no substitute.
Knows no files, no vectors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from prologue.answers import State
from prologue.guards import Signs, objection, read_signs


@dataclass(frozen=True)
class Page:
    """An answer in a book. `words`: those of its text and phrasings, in lower case."""

    id: str
    text: str
    when: frozenset[str]
    any_name: bool
    words: frozenset[str]


class Leaf(NamedTuple):
    """A phrasing: its text, the place of its page, what an equal line reads like (`Signs.exact`)."""

    text: str
    page: int
    exact: str


class Finding(NamedTuple):
    """The leaf that may answer, or None with the reason in a word; the score is -inf without a leaf."""

    leaf: int | None
    score: float
    why: str


class Judge:
    """Decides over the leaves of one book. Safe to use from several threads."""

    def __init__(self, pages: Sequence[Page], leaves: Sequence[Leaf], entities: Iterable[str] = ()) -> None:
        self.pages, self.leaves = pages, leaves
        self._entities = frozenset(entities)
        self._signs: dict[int, Signs] = {}
        self._exact: dict[str, int] = {}
        for place, leaf in enumerate(leaves):
            self._exact.setdefault(leaf.exact, place)

    def read(self, line: str) -> Signs:
        """The signs of a line, with the names of this book's world."""
        return read_signs(line, self._entities)

    def exact(self, signs: Signs, state: State) -> int | None:
        """The leaf that is the line, but for case, punctuation, courtesies and contractions."""
        place = None if signs.quoted or not signs.exact else self._exact.get(signs.exact)
        return place if place is not None and state in self.pages[self.leaves[place].page].when else None

    def find(self, signs: Signs, near: Iterable[tuple[int, float]], state: State) -> Finding:
        """The finding on a line from (leaf, score) near it, the nearest first."""
        named: int | None = None
        why = "nothing near"
        for place, score in near:
            page = self.leaves[place].page
            if named is None:
                named = page
                if state not in self.pages[page].when:
                    return Finding(None, -math.inf, "state")
            if page != named:
                continue
            words, any_name = self.pages[page].words, self.pages[page].any_name
            objected = objection(signs, self._leaf_signs(place), words, any_name, state == "story")
            if objected is None:
                return Finding(place, score, "")
            why = objected if why == "nothing near" else why
        return Finding(None, -math.inf, why)

    def _leaf_signs(self, place: int) -> Signs:
        if place not in self._signs:
            self._signs[place] = self.read(self.leaves[place].text)
        return self._signs[place]


def threshold(scores: Sequence[float], count: int, budget: float) -> float:
    """The least threshold that keeps false answers within the budget; `inf` where too few lines can tell.

    `scores`, in any order, are those of the negatives, of `count` in all, that no guard silenced. One
    more negative exceeds the k-th highest of n with probability k / (n + 1): k is the most the budget
    allows, and a line must score more than the (k + 1)-th highest.
    """
    allowed = math.floor(budget * (count + 1))
    if allowed < 1:
        return math.inf
    ranked = sorted(scores, reverse=True)
    return math.nextafter(ranked[allowed - 1], math.inf) if allowed <= len(ranked) else -1.0
