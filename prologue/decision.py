"""The book's decision on a line, given how near its phrasings are; shared by asking and calibrating.

The nearest phrasing names the answer and gives the score, which must reach the threshold of the state
of the play. A guard that objects to it is content if the answer has another phrasing that it lets
pass: who asks "where" may be answered if the answer was ever asked for with "where". Where none is,
the book is silent; in the lobby, where nobody is inside a tale yet, a guard that tells a tale from a
question only lowers the score. If the answer named may not be given in this state, the book is silent
as well: the second best is no substitute. Knows no files, no vectors.
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


#: Guards that a phrasing passes by saying nothing of the matter: another one's passing proves little,
#: and its own score counts.
OPPOSING = frozenset({"opposite", "roles"})
#: Guards that in the lobby lower the score by `DOUBT` (flat from 0.05 to 0.2, bench/answers.py).
DOUBTING = frozenset({"question", "story", "leaning", "speech"})
DOUBT = 0.1
#: How far below any threshold a guard puts a score; what is silent stays comparable with what is not.
FORBIDDEN = 10.0
#: How sure the threshold is to keep the budget, if lines to come are like the negatives.
SURE = 0.9


class Finding(NamedTuple):
    """The leaf that may answer, or None with the reason in a word; the score is -inf where none is near."""

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
        self._places: list[list[int]] = [[] for _ in pages]
        for place, leaf in enumerate(leaves):
            self._places[leaf.page].append(place)
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
        ranked = list(near)
        if not ranked:
            return Finding(None, -math.inf, "nothing near")
        nearest, best = ranked[0]
        page = self.pages[number := self.leaves[nearest].page]
        if state not in page.when:
            return Finding(None, -math.inf, "state")
        objected = self._objection(signs, nearest, page, state)
        if objected is None:
            return Finding(nearest, best, "")
        for place, score in ranked[1:]:
            if self.leaves[place].page == number and self._objection(signs, place, page, state) is None:
                return Finding(place, score if objected in OPPOSING else best, "")
        if objected not in OPPOSING:
            for place in self._places[number]:
                if self._objection(signs, place, page, state) is None:
                    return Finding(place, best, "")
        if state == "lobby" and objected in DOUBTING:
            return Finding(nearest, best - DOUBT, "")
        return Finding(None, best - FORBIDDEN, objected)

    def _objection(self, signs: Signs, place: int, page: Page, state: State) -> str | None:
        return objection(signs, self._leaf_signs(place), page.words, page.any_name, state == "story")

    def _leaf_signs(self, place: int) -> Signs:
        if place not in self._signs:
            self._signs[place] = self.read(self.leaves[place].text)
        return self._signs[place]


def threshold(scores: Sequence[float], count: int, budget: float) -> float:
    """The least threshold that keeps false answers within the budget; `inf` where too few lines can tell.

    `scores`, in any order, are those of the negatives, of `count` in all, that no guard silenced. A line
    must score more than the k-th highest. The share of lines that do is Beta(k, count + 1 - k); k is the
    largest for which it is within the budget with probability `SURE`. Where not even the highest is
    sure enough, it serves if it keeps the budget on average.
    """
    allowed = _allowed(count, budget) or min(1, math.floor(budget * (count + 1)))
    if allowed < 1:
        return math.inf
    ranked = sorted(scores, reverse=True)
    return math.nextafter(ranked[allowed - 1], math.inf) if allowed <= len(ranked) else -1.0


def _allowed(count: int, budget: float) -> int:
    """The largest k with P(Binomial(count, budget) >= k) >= SURE."""
    if budget >= 1:
        return count
    k, fewer = 0, 0.0
    while k <= count and budget > 0:
        ways = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        fewer += math.exp(ways + k * math.log(budget) + (count - k) * math.log1p(-budget))
        if 1 - fewer < SURE:
            break
        k += 1
    return k
