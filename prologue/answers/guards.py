"""What the words of a line say that similarity cannot see: negation. English only.

"Can I save" and "can't I save" lie close; they are not the same. What a disagreement weighs is learned
(see `acceptance`). Guards for opposites, speech, names, numbers, persons and forms of speech were tried as well:
on lines held out none of them separated better than the scores without it (`bench.answers.guards`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from prologue.answers.lexicon import CONTRACTIONS, NEGATIONS

_WORD = re.compile(r"[^\W_]+(?:'[^\W\d_]+)?|/[a-z]+")
_PREFACE = re.compile(
    r"^(?:(?:um+|uh|er|hm+|hey|hi|hello|oh|ok|okay|so|well|please|sorry|pardon|excuse me|pardon me|quick question"
    r"|just curious|out of curiosity|by the way|guardian|sir|i have a question|one question|question)\b[\s,.:;!-]*)+",
    re.IGNORECASE,
)
_TAIL = re.compile(r"(?<=\w)(?:[\s,]+(?:right now|now|exactly|please|anyway|then|really))+\W*$", re.IGNORECASE)


@dataclass(frozen=True)
class Features:
    """What a line's words say. `exact`: what lines share that differ in case, punctuation, courtesies and
    contractions only. `negated`: it has a word of negation."""

    exact: str
    negated: bool


def read_features(line: str) -> Features:
    """The features of a line."""
    line = line.replace("’", "'").strip()
    bare = _PREFACE.sub("", line, count=1)
    bare = bare if _WORD.search(bare) else line
    plain = [part for word in _WORD.findall(bare) for part in _expand(word.casefold())]
    return Features(
        exact=" ".join(part for word in _WORD.findall(_TAIL.sub("", bare)) for part in _expand(word.casefold())),
        negated=any(word in NEGATIONS for word in plain),
    )


def read_words(text: str) -> frozenset[str]:
    """The words of a text in lower case, contractions taken apart."""
    return frozenset(part for word in _WORD.findall(text.replace("’", "'")) for part in _expand(word.casefold()))


def _expand(word: str) -> list[str]:
    if word in ("can't", "cannot"):
        return ["can", "not"]
    if word == "won't":
        return ["will", "not"]
    if word.endswith("n't"):
        return [word[:-3], "not"]
    head, mark, tail = word.partition("'")
    return [head, CONTRACTIONS.get(mark + tail, tail)] if mark else [word]
