"""Finds the candidate for a line, the answer with the nearest phrasing, and the figures it is accepted by."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from prologue.answers.acceptance import figures
from prologue.answers.answer import Answer, State
from prologue.answers.guards import Features, read_features, read_words


class Phrasing(NamedTuple):
    """A phrasing: its text, the number of its answer, its normal form (`Features.exact`)."""

    text: str
    answer: int
    exact: str


class Neighbours(NamedTuple):
    """What is near a line, as cosines, each list the highest first: the nearest phrasing, those of the same
    answer, the nearest of another answer, the negatives; and the score of the answer's classifier."""

    phrasing: int
    own: Sequence[float]
    other: float
    away: Sequence[float]
    classifier: float


class Matcher:
    """The phrasings of one index and their words. Safe to use from several threads."""

    def __init__(self, answers: Sequence[Answer], exact: Sequence[Sequence[str]], rarity: Mapping[str, float]) -> None:
        """`exact`: the normal forms of each answer's phrasings. `rarity`: of each word that is known at all."""
        self.answers = answers
        self.phrasings = [
            Phrasing(text, number, form)
            for number, answer in enumerate(answers)
            for text, form in zip(answer.phrasings, exact[number], strict=True)
        ]
        self._rarity = rarity
        self._rarest = max(rarity.values(), default=1.0)
        self._words: dict[int, frozenset[str]] = {}
        self._features: dict[int, Features] = {}
        self._exact: dict[str, int] = {}
        #: Where each answer's phrasings begin; one more at the end.
        self.starts = [0]
        for answer in answers:
            self.starts.append(self.starts[-1] + len(answer.phrasings))
        for place, phrasing in enumerate(self.phrasings):
            self._exact.setdefault(phrasing.exact, place)

    def exact(self, features: Features, state: State) -> int | None:
        """The phrasing that is the line, but for case, punctuation, courtesies and contractions."""
        place = self._exact.get(features.exact) if features.exact else None
        return place if place is not None and state in self.answers[self.phrasings[place].answer].when else None

    def figures(self, line: str, near: Neighbours, hidden: Collection[int] = ()) -> list[float]:
        """The figures (`acceptance.FIGURES`) of a line. `hidden`: phrasings that do not count."""
        features, words = read_features(line), read_words(line)
        nearest = self._phrasing_features(near.phrasing)
        number = self.phrasings[near.phrasing].answer
        places = range(self.starts[number], self.starts[number + 1])
        known: set[str] = set().union(*(self._phrasing_words(place) for place in places if place not in hidden))
        weights = {word: self._rarity.get(word, self._rarest) for word in words}
        share = sum(weights[word] for word in words & known) / max(sum(weights.values()), 1e-6)
        return figures(
            own=near.own,
            other=near.other,
            away=near.away,
            classifier=near.classifier,
            known=share,
            negation=features.negated != nearest.negated,
        )

    def _phrasing_features(self, place: int) -> Features:
        if place not in self._features:
            self._features[place] = read_features(self.phrasings[place].text)
        return self._features[place]

    def _phrasing_words(self, place: int) -> frozenset[str]:
        if place not in self._words:
            self._words[place] = read_words(self.phrasings[place].text)
        return self._words[place]
