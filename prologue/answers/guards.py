"""Guards: what similarity cannot see. "Can I save" and "can't I save" lie close; they are not the same.

A line's features (is it negated, which numbers, which names, who does it to whom, is it a question) are
read off its words, and a phrasing only answers for a line whose features agree with its own. English
only. Every rule here can only refuse an answer, never give one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from prologue.answers.lexicon import (
    ASKING,
    CONNECTING,
    CONTRACTIONS,
    FILLERS,
    FUNCTION,
    ME,
    MEASURES,
    NEGATIONS,
    NO_NAMES,
    NUMBERS,
    OPPOSITES,
    OTHERS,
    QUESTION,
    YOU,
)

Form = Literal["question", "wish", "told", "other"]

_WORD = re.compile(r"[^\W_]+(?:'[^\W\d_]+)?|/[a-z]+")
_QUOTES = re.compile(r"[“”\"«»]|(?:^|\s)[‘'][^'’]*\s[^'’]*[’'](?:\W|$)|\*[^*]+\*|^>")

_PREFACE = re.compile(
    r"^(?:(?:um+|uh|er|hm+|hey|hi|hello|oh|ok|okay|so|well|please|sorry|pardon|excuse me|pardon me|quick question"
    r"|just curious|out of curiosity|by the way|guardian|sir|i have a question|one question|question)\b[\s,.:;!-]*)+",
    re.IGNORECASE,
)
_INDIRECT = re.compile(
    r"^(?:i(?:'d| would) (?:like|love) to know|i(?: just)? (?:want|wanted|wish|need) to know"
    r"|i(?: was|'m| am)? wonder(?:ing|ed)?|i(?:'m| am) (?:just )?(?:curious|asking)"
    r"|(?:can|could|will|would) you (?:please )?(?:tell|explain to) me|(?:please )?(?:tell|explain to) me"
    r"|do you (?:happen to )?know|any idea|may i ask|can i ask|let me ask|is it true that|i take it)"
    r"\b(?: about)?[\s,:]*(?:if|whether)?\b[\s,:]*",
    re.IGNORECASE,
)
_TAIL = re.compile(r"(?<=\w)(?:[\s,]+(?:right now|now|exactly|please|anyway|then|really))+\W*$", re.IGNORECASE)
_WISH = re.compile(
    r"(?:i|we) ?(?:'d|would|really|just|do not|don't|cannot|can't|can not)*"
    r" ?(?:like to|want|wish|need|know|understand)\b"
)
_SIDES: dict[str, set[tuple[int, int]]] = {}
for _axis, _pair in enumerate(OPPOSITES):
    for _side, _listed in enumerate(_pair):
        for _word in _listed.split():
            _SIDES.setdefault(_word, set()).add((_axis, _side))


@dataclass(frozen=True)
class Features:
    """What a line's words say about how it is meant."""

    exact: str  # what lines share that differ in case, punctuation, courtesies and contractions only
    form: Form
    asks: str  # "who", "where", "when", "why", "how many", ... or nothing in particular
    negated: bool
    sides: frozenset[tuple[int, int]]
    numbers: frozenset[str]
    others: bool
    roles: str
    content: frozenset[str]
    names: frozenset[str]
    quoted: bool
    connecting: bool

    @property
    def leaning(self) -> bool:
        """Whether it says nothing by itself."""
        return not self.content or self.connecting


def read_features(line: str, entities: Collection[str] = ()) -> Features:
    """The features of a line. `entities`: names to be known even in lower case."""
    line = line.replace("’", "'").strip()
    bare, core = _core(line)
    tokens = [match.casefold() for match in _WORD.findall(core)]
    plain = [part for token in tokens for part in _expand(token)]
    return Features(
        exact=" ".join(part for word in _WORD.findall(_TAIL.sub("", bare)) for part in _expand(word.casefold())),
        form="question" if core != bare else _form(tokens, line),
        asks=_asks(plain),
        negated=any(word in NEGATIONS for word in plain),
        sides=_sides(plain),
        numbers=frozenset(NUMBERS.get(word, word) for word in plain if word in NUMBERS or word[0].isdigit()),
        others=any(word in OTHERS for word in plain),
        roles=_roles(plain),
        content=frozenset(word for word in plain if word not in FUNCTION),
        names=_names(line) | {word for word in plain if word in entities},
        quoted=bool(_QUOTES.search(line)),
        connecting=bool(tokens) and tokens[0] in CONNECTING,
    )


def objection(line: Features, phrasing: Features, known: frozenset[str], any_name: bool, in_story: bool) -> str | None:
    """Why the phrasing cannot answer for the line, in a word; None where nothing speaks against it.

    `known`: the words of the answer and all its phrasings, in lower case; names among them are no
    surprise. `any_name`: other names are none either.
    """
    if line.negated != phrasing.negated:
        return "negation"
    if _opposed(line.sides, phrasing.sides):
        return "opposite"
    if len(line.roles) == 2 and len(phrasing.roles) == 2 and line.roles != phrasing.roles:
        return "roles"
    if not any_name and not line.numbers <= phrasing.numbers:
        return "number"
    if not any_name and not line.names <= known:
        return "name"
    # What follows tells one way of speaking from another, and weighs less where nobody is in a tale.
    if line.quoted and not phrasing.quoted:
        return "speech"
    if line.leaning and not set(line.exact.split()) ^ set(phrasing.exact.split()) <= FILLERS:
        return "leaning"
    if line.form == "told" and phrasing.form not in ("told", "wish"):
        return "story"
    if in_story and line.form != phrasing.form:
        return "form"
    if line.asks and line.asks != phrasing.asks:
        return "question"
    if line.others and not phrasing.others:
        return "leaning"
    return None


def read_words(text: str) -> frozenset[str]:
    """The words of a text in lower case, contractions taken apart."""
    return frozenset(part for word in _WORD.findall(text.replace("’", "'")) for part in _expand(word.casefold()))


def find_entities(lines: Iterable[str]) -> set[str]:
    """Words, in lower case, that these lines only ever write with a capital: the names of a world."""
    capital: set[str] = set()
    small: set[str] = set()
    for line in lines:
        for place, word in enumerate(re.findall(r"[^\W\d_]+", line)):
            if word[0].islower():
                small.add(word)
            elif place and word not in NO_NAMES:
                capital.add(word.casefold())
    return capital - small


def _core(line: str) -> tuple[str, str]:
    """The line without its courtesies, and what it asks or says without "I'd like to know whether" either."""
    bare = _PREFACE.sub("", line, count=1)
    bare = bare if _WORD.search(bare) else line
    core = _INDIRECT.sub("", bare, count=1)
    return bare, core if _WORD.search(core) else bare


def _expand(word: str) -> list[str]:
    if word in ("can't", "cannot"):
        return ["can", "not"]
    if word == "won't":
        return ["will", "not"]
    if word.endswith("n't"):
        return [word[:-3], "not"]
    head, mark, tail = word.partition("'")
    return [head, CONTRACTIONS.get(mark + tail, tail)] if mark else [word]


def _form(tokens: list[str], line: str) -> Form:
    if not tokens:
        return "other"
    if tokens[0] in QUESTION or tokens[0].partition("'")[0] in ("what", "who", "where", "how", "when", "why"):
        return "question"
    if tokens[0].partition("'")[0] in ("i", "we", "im", "ive", "id"):
        return "wish" if _WISH.match(" ".join(tokens)) else "told"
    return "question" if line.rstrip(" )\"'").endswith("?") else "other"


def _asks(plain: list[str]) -> str:
    """What kind of thing is asked for, where the word for it cannot be swapped for another."""
    if not plain:
        return ""
    if plain[0] == "how" and len(plain) > 1:
        return f"how {MEASURES[plain[1]]}" if plain[1] in MEASURES else ""
    if plain[0] == "what" and plain[1:2] == ["time"]:
        return "when"
    return plain[0] if plain[0] in ASKING else ""


def _sides(plain: list[str]) -> frozenset[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for place, word in enumerate(plain):
        found |= _SIDES.get(word, set())
        if place and word in ("in", "out"):
            found |= _SIDES.get(f"{plain[place - 1]}_{word}", set())
    return frozenset(found)


def _opposed(line: frozenset[tuple[int, int]], phrasing: frozenset[tuple[int, int]]) -> bool:
    """Whether on some axis the line is on one side only and the phrasing on the other only."""
    return any(
        (axis, 1 - side) in phrasing and (axis, side) not in phrasing and (axis, 1 - side) not in line
        for axis, side in line
    )


def _roles(plain: list[str]) -> str:
    """ "my" where the visitor comes before the play's voice, "ym" the other way, else one of them or none."""
    order = ""
    for word in plain:
        role = "m" if word in ME else "y" if word in YOU else ""
        if role and role not in order:
            order += role
    return order


def _names(line: str) -> frozenset[str]:
    """Words with a capital where English asks for none, in lower case."""
    found = set()
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?|[.!?]", line)
    letters = [word for word in words if word[0].isalpha()]
    if len(letters) > 2 and all(word[0].isupper() for word in letters):
        return frozenset()  # a Title or SHOUTING says nothing of single words
    begins = True
    for word in words:
        if not word[0].isalpha():
            begins = True
            continue
        bare = word.partition("'")[0]
        if not begins and word[0].isupper() and bare not in NO_NAMES:
            found.add(bare.casefold())
        begins = False
    return frozenset(found)
