"""Reads what is true of a world from `knowledge.yaml`: a list of {id, text, about?}.

An entry is a fact in one or two sentences. Those that bear on a visitor's line are put before it for
the storyteller (`prompt`). Knows the file only; which entry bears on which line is `notes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prologue.files import Entry, WorldError, read_yaml, refuse_twice

FILE = "knowledge.yaml"
#: An entry is read by a model that pays for each word, three of them with every line.
WORDS = 40


@dataclass(frozen=True)
class Fact:
    """Something true of the world. `about`: other words for what the text is about."""

    id: str
    text: str
    about: tuple[str, ...] = ()


def read_knowledge(path: Path) -> list[Fact]:
    """The facts of a file, in its order; none where there is no such file.

    Raises `WorldError` naming the entry and the field.
    """
    if not path.is_file():
        return []
    raw = read_yaml(path)
    if not isinstance(raw, list):
        raise WorldError(f"{path}: it must be a list of entries, each with id and text.")
    facts = [_fact(item, f"{path}, entry {place}") for place, item in enumerate(raw, 1)]
    refuse_twice(f"{path}, entry", [fact.id for fact in facts])
    return facts


def _fact(raw: object, where: str) -> Fact:
    entry = Entry(raw, where)
    name = entry.key("id")
    entry.where = f"{where} ({name})"
    fact = Fact(name, entry.text("text"), tuple(dict.fromkeys(entry.texts("about"))))
    entry.done()
    if len(fact.text.split()) > WORDS:
        raise entry.error(f"`text` has {len(fact.text.split())} words; say it in {WORDS}, or make two entries of it")
    if "(" in fact.text or ")" in fact.text:
        raise entry.error("`text` has round brackets, which the storyteller's prompt puts around it; write it without")
    return fact
