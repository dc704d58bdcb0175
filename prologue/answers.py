"""Reads what an answer book is made from: a file of answers, and lines that have none.

    answers.yaml    a list of {id, phrasings, answer, when?, names?}
    negatives.txt   one line a line, `#` begins a comment; beside the answers, or the general set

Knows the files, and finds phrasings that two answers share; what is made of them is `book_build`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from prologue.files import Entry, WorldError, read_text, read_yaml, refuse_twice
from prologue.guards import read_signs

State = Literal["lobby", "prologue", "story"]
STATES: tuple[State, ...] = get_args(State)

#: The negatives of any world, shipped with the program.
GENERAL_NEGATIVES = Path(__file__).with_name("negatives.txt")


@dataclass(frozen=True)
class Answer:
    """A written answer and the ways to ask for it.

    `when`: the states in which it may be given. `any_name`: a name of which the answer says nothing
    does not make another question of the line.
    """

    id: str
    phrasings: tuple[str, ...]
    text: str
    when: tuple[State, ...] = STATES
    any_name: bool = False


def read_answers(path: Path) -> list[Answer]:
    """The answers of a file, in its order. Raises `WorldError` naming the entry and the field."""
    raw = read_yaml(path)
    if not isinstance(raw, list) or not raw:
        raise WorldError(f"{path}: it must be a list of answers, each with id, phrasings and answer.")
    answers = [_answer(entry, f"{path}, answer {place}") for place, entry in enumerate(raw, 1)]
    refuse_twice(f"{path}, answer", [answer.id for answer in answers])
    return answers


def find_shared(answers: Sequence[Answer]) -> list[tuple[str, str, str]]:
    """Phrasings that two answers share: (phrasing, one answer, the other)."""
    owner: dict[str, str] = {}
    shared = []
    for answer in answers:
        for phrasing in answer.phrasings:
            first = owner.setdefault(read_signs(phrasing).exact, answer.id)
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


def _answer(raw: object, where: str) -> Answer:
    entry = Entry(raw, where)
    name = entry.key("id")
    entry.where = f"{where} ({name})"
    phrasings = entry.texts("phrasings")
    if not phrasings:
        raise entry.error("`phrasings` is empty; give the ways a visitor may ask")
    text = entry.text("answer")
    when = entry.texts("when") or STATES
    for state in when:
        if state not in STATES:
            raise entry.error(f"`when` has {state!r}; the states are {', '.join(STATES)}")
    names = entry.text("names", "same")
    if names not in ("any", "same"):
        raise entry.error(f"`names` is {names!r}; it may be `any` or `same`")
    entry.done()
    return Answer(name, tuple(dict.fromkeys(phrasings)), text, tuple(s for s in STATES if s in when), names == "any")
