"""The city as data: places, who and what is there, and the phrases it is told with.

Reads the YAML files beside this one. Knows nothing of dialogues; `walk` plays them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_PRONOUNS = {"he": ("he", "his", "him"), "she": ("she", "her", "her")}


@dataclass(frozen=True)
class Person:
    """Somebody who is always found at one place."""

    name: str
    he: str
    his: str
    him: str
    does: tuple[str, ...]
    talk: tuple[str, ...]
    self: str
    secret: str


@dataclass(frozen=True)
class Place:
    """A place. `to` follows "go to", `at` follows "you are"; `things` maps each thing to its verbs and results."""

    key: str
    to: str
    at: str
    ways: tuple[str, ...]
    arrive: tuple[str, ...]
    scene: tuple[str, ...]
    who: Person
    things: dict[str, dict[str, tuple[str, ...]]]


@dataclass(frozen=True)
class City:
    """Everything the corpus is made of."""

    places: dict[str, Place]
    phrases: dict[str, Any]
    dealings: dict[str, Any]
    ways_to_say: dict[str, list[str]]
    aliases: dict[str, dict[str, list[str]]]

    def step(self, start: str, goal: str) -> str:
        """The first place on the shortest way from `start` to `goal`, two different places."""
        frontier = [(way, way) for way in self.places[start].ways]
        seen = {start}
        for key, first in frontier:  # grows as it is walked
            if key == goal:
                return first
            if key not in seen:
                seen.add(key)
                frontier += [(way, first) for way in self.places[key].ways]
        raise KeyError(goal)

    def choices(self, key: str) -> set[str]:
        """Every choice that makes sense at the place `key`, whatever happened before (see `Walk.more_choices`)."""
        place, phrases = self.places[key], self.phrases
        who = {"who": place.who.name, "he": place.who.he}
        found = {self.asking(key)}
        found |= {template.format(to=self.places[way].to) for way in place.ways for template in phrases["go"]["choice"]}
        for kind in ("talk", "self", "secret"):
            found |= {template.format(**who) for template in phrases[kind]["choice"]}
        found |= {t.format(topic=topic, **who) for topic in phrases["topics"] for t in phrases["topic_choice"]}
        for thing, verbs in place.things.items():
            found |= {phrases["verbs"][verb][0].format(t=thing) + "." for verb in verbs}
        return found

    def asking(self, key: str) -> str:
        """The choice to ask whoever is at the place `key` for an errand, which has an answer while one is on, too."""
        return str(self.phrases["quest_choice"]["ask"].format(who=self.places[key].who.name))


@cache
def load_city() -> City:
    """The city of `city.yaml`, checked to be joined up both ways. Raises `ValueError` where it is not."""
    phrases, dealings = _read("phrases.yaml"), _read("dealings.yaml")
    deeds = phrases["deeds"]
    for kind, entry in _read("small_talk.yaml").items():
        into = phrases[kind] if kind in phrases else deeds.setdefault(kind, {"said": [], "reply": []})
        for key in entry:
            into[key] = [*into.get(key, []), *entry[key]]
    ways_to_say = _read("ways_to_say.yaml")
    for kind, said in dealings["said"].items():
        phrases[kind]["said"] = [*phrases[kind]["said"], *said]
    for path in sorted((Path(__file__).parent / "said").glob("*.yaml")):
        for kind, said in _read(f"said/{path.name}").items():
            _add(phrases, ways_to_say, kind, said)
    places = {key: _place(key, entry) for key, entry in _read("city.yaml").items()}
    for place in places.values():
        for way in place.ways:
            if way not in places or place.key not in places[way].ways:
                raise ValueError(f"city.yaml: the way from {place.key} to {way} does not lead back; mend `ways`.")
    aliases = {
        kind: {key: [part.strip() for part in text.split("|")] for key, text in lists.items()}
        for kind, lists in _read("aliases.yaml").items()
    }
    return City(places, phrases, dealings, ways_to_say, aliases)


def _add(phrases: dict[str, Any], ways_to_say: dict[str, list[str]], kind: str, said: list[str]) -> None:
    """Adds lines of a visitor to those of their kind, wherever that kind is kept. Raises `ValueError` for no kind."""
    deeds, verb = phrases["deeds"], kind.partition("verb_")[2]
    if kind in ways_to_say:
        ways_to_say[kind] = [*ways_to_say[kind], *said]
    elif kind in _OF_LISTS or verb in phrases["verbs"]:
        lists = _OF_LISTS[kind](phrases) if kind in _OF_LISTS else phrases["verbs"][verb]
        lists.extend(line for line in said if line not in lists)
    elif kind in phrases or kind in deeds:
        entry = phrases[kind] if kind in phrases else deeds[kind]
        entry["said"] = [*entry["said"], *said]
    else:
        raise ValueError(f"said/: `{kind}` is no kind of phrases.yaml, small_talk.yaml or ways_to_say.yaml.")


#: Kinds of said/ that are plain lists in phrases.yaml; beside them `verb_look` and its like, a list for each verb.
_OF_LISTS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "back_said": lambda phrases: phrases["go"]["back_said"],
    "noun_said": lambda phrases: phrases["noun_said"],
    "weather_said": lambda phrases: phrases["weather_said"],
    "any_verb_said": lambda phrases: phrases["any_verb_said"],
    "topic_said": lambda phrases: phrases["topic_said"],
    "quest_ask": lambda phrases: phrases["quest_said"]["ask"],
    "quest_take": lambda phrases: phrases["quest_said"]["take"],
    "quest_give": lambda phrases: phrases["quest_said"]["give"],
}


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((Path(__file__).parent / name).read_text(encoding="utf-8"))
    return content


def _place(key: str, entry: dict[str, Any]) -> Place:
    who = entry["who"]
    he, his, him = _PRONOUNS[who["he"]]
    person = Person(who["name"], he, his, him, tuple(who["does"]), tuple(who["talk"]), who["self"], who["secret"])
    things = {t: {verb: tuple(lines) for verb, lines in verbs.items()} for t, verbs in entry["things"].items()}
    texts = {k: tuple(entry[k]) for k in ("ways", "arrive", "scene")}
    return Place(key=key, to=entry["to"], at=entry["at"], who=person, things=things, **texts)


def strings(node: Any, but: Container[str] = ()) -> Iterator[str]:
    """Every text of some nested lists and dictionaries, those under a key of `but` left out."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for key, value in node.items():
            if key not in but:
                yield from strings(value, but)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from strings(value, but)
