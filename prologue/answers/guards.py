"""What the words of a line say that similarity cannot see: negation, opposites, speech. English only.

"Can I save" and "can't I save" lie close; they are not the same. What a disagreement weighs is learned
(see `acceptance`). Guards for names, numbers, persons and forms of speech were tried as well: on held-out
lines none of them separated better than the scores without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from prologue.answers.lexicon import CONTRACTIONS, NEGATIONS, OPPOSITES

_WORD = re.compile(r"[^\W_]+(?:'[^\W\d_]+)?|/[a-z]+")
_QUOTED = re.compile(r"[“\"«]([^“”\"«»]*)(?:[”\"»]|$)|(?:^|\s)[‘']([^'’]*)[’'](?=\W|$)")
_TALE = re.compile(r"\*[^*]+\*|^>")
#: Fewer words in quotation marks are a name ("what is “Backstage”?") and no speech.
_SPEECH_WORDS = 3
_PREFACE = re.compile(
    r"^(?:(?:um+|uh|er|hm+|hey|hi|hello|oh|ok|okay|so|well|please|sorry|pardon|excuse me|pardon me|quick question"
    r"|just curious|out of curiosity|by the way|guardian|sir|i have a question|one question|question)\b[\s,.:;!-]*)+",
    re.IGNORECASE,
)
_TAIL = re.compile(r"(?<=\w)(?:[\s,]+(?:right now|now|exactly|please|anyway|then|really))+\W*$", re.IGNORECASE)
_SIDES: dict[str, set[tuple[int, int]]] = {}
for _axis, _pair in enumerate(OPPOSITES):
    for _side, _listed in enumerate(_pair):
        for _word in _listed.split():
            _SIDES.setdefault(_word, set()).add((_axis, _side))


@dataclass(frozen=True)
class Features:
    """What a line's words say. `exact`: what lines share that differ in case, punctuation, courtesies and
    contractions only. `sides`: of which opposites it names which side. `quoted`: it is speech in a tale."""

    exact: str
    negated: bool
    sides: frozenset[tuple[int, int]]
    quoted: bool


def read_features(line: str) -> Features:
    """The features of a line."""
    line = line.replace("’", "'").strip()
    bare = _PREFACE.sub("", line, count=1)
    bare = bare if _WORD.search(bare) else line
    plain = [part for word in _WORD.findall(bare) for part in _expand(word.casefold())]
    return Features(
        exact=" ".join(part for word in _WORD.findall(_TAIL.sub("", bare)) for part in _expand(word.casefold())),
        negated=any(word in NEGATIONS for word in plain),
        sides=_sides(plain),
        quoted=_is_speech(line),
    )


def _is_speech(line: str) -> bool:
    spoken = (found[1] or found[2] or "" for found in _QUOTED.finditer(line))
    return bool(_TALE.search(line)) or any(len(_WORD.findall(part)) >= _SPEECH_WORDS for part in spoken)


def opposed(line: Features, phrasing: Features) -> bool:
    """Whether on some axis the line is on one side only and the phrasing on the other only."""
    return any(
        (axis, 1 - side) in phrasing.sides and (axis, side) not in phrasing.sides and (axis, 1 - side) not in line.sides
        for axis, side in line.sides
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


def _sides(plain: list[str]) -> frozenset[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for place, word in enumerate(plain):
        found |= _SIDES.get(word, set())
        if place and word in ("in", "out"):
            found |= _SIDES.get(f"{plain[place - 1]}_{word}", set())
    return frozenset(found)
