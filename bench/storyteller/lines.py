"""What the storyteller's bench says: sixty visitors, each with five lines written by hand and one question.

The lines are tests/hand_written/lines.yaml, drawn and dealt with a fixed seed: those of one place come to the
same visitor, those that ask for a name, a companion or a reason to one whose profile has it. The visitors and
the questions are bench/data/storyteller.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
LINES, CAST = ROOT / "tests" / "hand_written" / "lines.yaml", ROOT / "bench" / "data" / "storyteller.yaml"
#: Hand-written lines that a visitor says, after the opening and before the question.
LINES_EACH = 5
SEED = 18
#: The intent of what is not in lines.yaml.
OPENING, QUESTION = "opening", "question"


class Line(NamedTuple):
    """What a visitor says; `asks` is the key of the profile that it asks for, or empty."""

    said: str
    intent: str
    asks: str = ""
    place: str = ""


@dataclass
class Dialogue:
    """A visitor and all their lines: the opening (which nobody says), five by hand, a question."""

    number: int
    profile: dict[str, str]
    lines: list[Line] = field(default_factory=list)


def read_dialogues(lines: Path = LINES, cast: Path = CAST) -> list[Dialogue]:
    """The dialogues, always the same ones."""
    with lines.open(encoding="utf-8") as file:
        written: list[dict[str, str]] = yaml.safe_load(file)
    with cast.open(encoding="utf-8") as file:
        given: dict[str, Any] = yaml.safe_load(file)
    asks = {text: key for key, texts in given["asking"].items() for text in texts}
    known = [Line(line["text"], line["intent"], asks.get(line["text"], ""), line.get("place", "")) for line in written]
    return deal(known, given["visitors"], given["questions"])


def deal(
    lines: Sequence[Line], visitors: Sequence[Mapping[str, str]], questions: Mapping[str, Sequence[str]]
) -> list[Dialogue]:
    """Gives each visitor `LINES_EACH` of the lines, and one of the questions to what their `asks` names."""
    random = Random(SEED)
    dialogues = [
        Dialogue(number, {key: value for key, value in visitor.items() if key != "asks"})
        for number, visitor in enumerate(visitors)
    ]
    asking = random.sample([line for line in lines if line.asks], len([line for line in lines if line.asks]))
    others = random.sample([line for line in lines if not line.asks], LINES_EACH * len(dialogues) - len(asking))
    for line in asking:
        _put(line, [one for one in dialogues if _may_ask(one, line, visitors[one.number]["asks"])] or dialogues)
    for line in sorted(others, key=lambda line: line.place, reverse=True):  # those without a place last
        there = [one for one in dialogues if line.place and _at(one, line.place)]
        _put(line, there[:1] or dialogues)
    for dialogue in dialogues:
        random.shuffle(dialogue.lines)
        dialogue.lines.sort(key=lambda line: line.place != "gate")  # the story begins there
        key = visitors[dialogue.number]["asks"]
        question = Line(random.choice(questions[key]), QUESTION, key)
        dialogue.lines = [Line("", OPENING), *dialogue.lines, question]
    return dialogues


def _put(line: Line, dialogues: Sequence[Dialogue]) -> None:
    """Puts a line into the emptiest of some dialogues."""
    min(dialogues, key=lambda one: len(one.lines)).lines.append(line)


def _may_ask(dialogue: Dialogue, line: Line, last: str) -> bool:
    known = dialogue.profile.get(line.asks, "nobody") != "nobody"
    return known and last != line.asks and not any(said.asks for said in dialogue.lines)


def _at(dialogue: Dialogue, place: str) -> bool:
    """Whether there is room for a line said there: up to three of one place, and no second place."""
    places = [line.place for line in dialogue.lines if line.place]
    return len(places) < 3 and len(dialogue.lines) < LINES_EACH and set(places) <= {place}
