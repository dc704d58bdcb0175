"""Reads the sources of an answer index: a file of answers, and lines that have none.

answers.yaml    a list of {id, phrasings, answer, when?}
negatives.txt   one line a line, `#` begins a comment; beside the answers, or the general set
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from prologue.answers.answer import STATES, Answer
from prologue.answers.guards import read_features
from prologue.yaml_file import Key, OneOrMore, Text, as_tuple, one_line, read_text, read_yaml, refuse_twice

#: The negatives of any world, shipped with the program.
GENERAL_NEGATIVES = Path(__file__).with_name("negatives.txt")


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    id: Key
    phrasings: OneOrMore
    answer: Text
    when: OneOrMore = ()

    def __post_init__(self) -> None:
        if not self.phrasings:
            raise ValueError("`phrasings` is empty; give the ways a visitor may ask")
        if not set(as_tuple(self.when)) <= set(STATES):
            raise ValueError(f"`when` may be {' or '.join(STATES)}")


def read_answers(path: Path) -> list[Answer]:
    """The answers of a file, in its order. Raises `WorldError` naming the entry and the field."""
    entries: list[_Entry] = read_yaml(path, Annotated[list[_Entry], msgspec.Meta(min_length=1)])
    refuse_twice(f"{path}, answer", [entry.id for entry in entries])
    return [
        Answer(
            id=entry.id,
            phrasings=tuple(dict.fromkeys(as_tuple(entry.phrasings))),
            text=one_line(entry.answer),
            when=tuple(state for state in STATES if not entry.when or state in as_tuple(entry.when)),
        )
        for entry in entries
    ]


def find_shared(answers: Sequence[Answer]) -> list[tuple[str, str, str]]:
    """Phrasings that two answers share: (phrasing, one answer, the other)."""
    owner: dict[str, str] = {}
    shared = []
    for answer in answers:
        for phrasing in answer.phrasings:
            first = owner.setdefault(read_features(phrasing).exact, answer.id)
            if first != answer.id:
                shared.append((phrasing, first, answer.id))
    return shared


def read_negatives(path: Path) -> list[str]:
    """The lines of a file of negatives, each once. Raises `WorldError` where it cannot be read."""
    return read_lines(read_text(path).splitlines())


def read_lines(lines: Iterable[str]) -> list[str]:
    """The lines without comments, blank ones and repeats."""
    found = (" ".join(line.split()) for line in lines if not line.lstrip().startswith("#"))
    return list(dict.fromkeys(line for line in found if line))
