"""Reads what is true of a world from `facts.yaml`: a list of {id, text, about?}.

An entry is a fact in one or two sentences. Those that bear on a visitor's line are put before it for
the storyteller.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from prologue.yaml_file import Key, OneOrMore, Text, as_tuple, one_line, read_yaml, refuse_twice

FILE = "facts.yaml"
#: A fact is read by a model that pays for each word, three of them with every line.
WORDS = 40


@dataclass(frozen=True)
class Fact:
    """Something true of the world. `about`: other words for what the text is about."""

    id: str
    text: str
    about: tuple[str, ...] = ()


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    id: Key
    text: Text
    about: OneOrMore = ()

    def __post_init__(self) -> None:
        words = len(self.text.split())
        if words > WORDS:
            raise ValueError(f"`text` has {words} words; say it in {WORDS}, or make two entries of it")
        if "(" in self.text or ")" in self.text:
            raise ValueError("`text` has round brackets, which the storyteller's prompt puts around it; remove them")


def read_facts(path: Path) -> list[Fact]:
    """The facts of a file, in its order; none where there is no such file.

    Raises `WorldError` naming the entry and the field.
    """
    if not path.is_file():
        return []
    entries: list[_Entry] = read_yaml(path, list[_Entry])
    refuse_twice(f"{path}, fact", [entry.id for entry in entries])
    return [Fact(entry.id, one_line(entry.text), tuple(dict.fromkeys(as_tuple(entry.about)))) for entry in entries]
