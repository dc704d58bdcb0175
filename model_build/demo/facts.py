"""Notes: what the world knows that bears on a line, as the storyteller is given it.

Half of them are the sentences of the world's own knowledge.yaml; the others are made up afresh about things
that never were, so that the only way to answer is to read the note. Knows nothing of a walk.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import yaml

from model_build.demo import words
from model_build.demo.flavour import Grammar
from model_build.demo.recipe import WORLD

_MADE = Grammar(Path(__file__).parent / "facts.yaml")


@dataclass(frozen=True)
class Fact:
    """What is asked about, as a visitor says it, and what is true of it."""

    about: str
    text: str


@cache
def known() -> tuple[tuple[tuple[str, ...], str], ...]:
    """The world's own sentences, each with other words for what it is about; none where the world has no such file."""
    path = WORLD / "knowledge.yaml"
    entries = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else []
    return tuple((tuple(entry.get("about", ())), " ".join(entry["text"].split())) for entry in entries)


def fact(rng: Random) -> Fact:
    """Something true: of the world's own, or made up about a thing, a person or a place that never was."""
    own = [(about, text) for about, text in known() if about]
    if own and rng.random() < 0.3:
        ways, text = rng.choice(own)
        return Fact(rng.choice(ways), text)
    kind = rng.choice(("things", "people", "places"))
    about = {"things": _thing, "people": person, "places": _place}[kind](rng)
    return Fact(about, make(rng, kind, about))


def make(rng: Random, kind: str, about: str) -> str:
    """A sentence or two about `about`, of the kind `things`, `people` or `places`."""
    adjectives = rng.sample(words.ADJECTIVES, 2)
    day = rng.choice(_MADE.lists["days"])
    given = {
        "x": about,
        "person": person(rng),
        "noun": _object(rng),
        "name": words.simple_name(rng),
        "adjective": adjectives[0],
        "material": rng.choice(_MADE.lists["materials"]) if rng.random() < 0.7 else words.word(rng),
        "place": rng.choice(_MADE.lists["where"]),
        "day": day,
        "number": rng.choice(_MADE.lists["numbers"]),
        "country": rng.choice(_MADE.lists["countries"]),
    }
    line = rng.choice(_MADE.lines[kind]).replace("{adjective2}", adjectives[1])
    return _MADE.fill(rng, line, **given)


def person(rng: Random) -> str:
    """Somebody of the city: `Wuldo the glazier`, `the old hatter`, `Aunt Ferrel`."""
    trade = rng.choice(_MADE.lists["trades"])
    roll = rng.random()
    if roll < 0.4:
        return f"{words.simple_name(rng)} the {trade}"
    if roll < 0.75:
        return f"the {rng.choice(words.ADJECTIVES)} {trade}"
    return words.simple_name(rng) if roll < 0.9 else f"{rng.choice(words.TITLES[:12])} {words.simple_name(rng)}"


def _thing(rng: Random) -> str:
    noun = rng.choice(_MADE.lists["things_of"])
    roll = rng.random()
    if roll < 0.5:
        return f"the {rng.choice(words.ADJECTIVES)} {noun}"
    return f"the {noun} of {words.simple_name(rng)}" if roll < 0.75 else f"the {words.word(rng, 2)} {noun}"


def _place(rng: Random) -> str:
    noun = rng.choice(_MADE.lists["places_of"])
    roll = rng.random()
    if roll < 0.4:
        return f"{words.simple_name(rng)} {noun.capitalize()}"
    return f"the {rng.choice(words.ADJECTIVES)} {noun}" if roll < 0.7 else f"the {words.word(rng, 2)} {noun}"


def _object(rng: Random) -> str:
    thing = rng.choice(words.CARRIED)
    if rng.random() < 0.6:
        thing = f"{rng.choice(words.ADJECTIVES)} {thing}"
    return f"{words.article(thing)} {thing}"
