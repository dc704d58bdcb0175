"""Decides on a line, given how near the phrasings are to it. Used for asking and for calibrating.

The nearest phrasing names the answer and gives the score, which must reach the threshold of the state
of the play. A guard that objects to it is content if the answer has another phrasing that it lets
pass: a question with "where" may be answered if some phrasing of the answer has "where". Otherwise there
is no answer. If the answer named may not be given in this state there is none either: the second best
is no substitute. Reads no files and computes no vectors.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from prologue.answers.answer import Answer, State
from prologue.answers.guards import Features, objection, read_features, read_words


class Phrasing(NamedTuple):
    """A phrasing: its text, the number of its answer, its normal form (`Features.exact`)."""

    text: str
    answer: int
    exact: str


#: Guards that a phrasing passes by saying nothing of the matter: another one's passing proves little,
#: and its own score counts.
OPPOSING = frozenset({"opposite", "roles"})
#: A word in so many answers is the world's own, and tells none of them from another.
COMMON = 6
#: How far below any threshold a guard puts a score; what is silent stays comparable with what is not.
FORBIDDEN = 10.0
#: How sure the threshold is to keep the budget, if lines to come are like the negatives.
SURE = 0.9


class Finding(NamedTuple):
    """The phrasing that may answer, or None with the reason in a word; the score is -inf where none is near."""

    phrasing: int | None
    score: float
    why: str


class Matcher:
    """Decides over the phrasings of one index. Safe to use from several threads."""

    def __init__(self, answers: Sequence[Answer], exact: Sequence[Sequence[str]], entities: Iterable[str] = ()) -> None:
        """`exact`: the normal forms of each answer's phrasings. `entities`: the names of the world, in lower case."""
        self.answers = answers
        self.phrasings = [
            Phrasing(text, number, form)
            for number, answer in enumerate(answers)
            for text, form in zip(answer.phrasings, exact[number], strict=True)
        ]
        self._entities = frozenset(entities)
        self._words = _known_words(answers)
        self._features: dict[int, Features] = {}
        self._exact: dict[str, int] = {}
        self._places: list[list[int]] = [[] for _ in answers]
        for place, phrasing in enumerate(self.phrasings):
            self._places[phrasing.answer].append(place)
            self._exact.setdefault(phrasing.exact, place)

    def read(self, line: str) -> Features:
        """The features of a line, with the names of this world."""
        return read_features(line, self._entities)

    def exact(self, features: Features, state: State) -> int | None:
        """The phrasing that is the line, but for case, punctuation, courtesies and contractions."""
        place = None if features.quoted or not features.exact else self._exact.get(features.exact)
        return place if place is not None and state in self.answers[self.phrasings[place].answer].when else None

    def find(self, features: Features, near: Iterable[tuple[int, float]], state: State) -> Finding:
        """The finding on a line from (phrasing, score) near it, the nearest first."""
        ranked = list(near)
        if not ranked:
            return Finding(None, -math.inf, "nothing near")
        nearest, best = ranked[0]
        number = self.phrasings[nearest].answer
        if state not in self.answers[number].when:
            return Finding(None, -math.inf, "state")
        objected = self._objection(features, nearest, state)
        if objected is None:
            return Finding(nearest, best, "")
        for place, score in ranked[1:]:
            if self.phrasings[place].answer == number and self._objection(features, place, state) is None:
                return Finding(place, score if objected in OPPOSING else best, "")
        if objected not in OPPOSING:
            for place in self._places[number]:
                if self._objection(features, place, state) is None:
                    return Finding(place, best, "")
        return Finding(None, best - FORBIDDEN, objected)

    def _objection(self, features: Features, place: int, state: State) -> str | None:
        number = self.phrasings[place].answer
        known, any_name = self._words[number], self.answers[number].any_name
        return objection(features, self._phrasing_features(place), known, any_name, state == "story")

    def _phrasing_features(self, place: int) -> Features:
        if place not in self._features:
            self._features[place] = self.read(self.phrasings[place].text)
        return self._features[place]


def _known_words(answers: Sequence[Answer]) -> list[frozenset[str]]:
    """For each answer the words of its text and phrasings, and those so common that they tell no answers apart."""
    own = [{word for text in (answer.text, *answer.phrasings) for word in read_words(text)} for answer in answers]
    spread = Counter(word for words in own for word in words)
    common = {word for word, count in spread.items() if count >= COMMON}
    return [frozenset(words | common) for words in own]


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
