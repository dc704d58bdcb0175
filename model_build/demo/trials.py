"""Trials: turns to be told, and what the simulator knows of them.

The visitors' names, companions, reasons and colours stand in no list of the generator (held_out.yaml). What came
before a turn is the simulator's telling, so the state is known for certain. Judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import yaml

from model_build.demo import acts, chat, words
from model_build.demo.city import City, strings
from model_build.demo.lines import unbracket
from model_build.demo.retell import because, refer
from model_build.demo.visitor import Intent, play
from model_build.demo.walk import Turn as Told
from model_build.demo.walk import Walk, plain
from prologue.prompt import Turn

#: Visitors that the generator does not know; a test holds them apart.
HELD_OUT = words.read_lists("held_out.yaml")
#: Lines written by somebody who had not seen the generator.
HAND_WRITTEN = Path(__file__).parents[2] / "tests" / "hand_written" / "lines.yaml"
#: Where the hand-written lines are said, as the simulator calls it.
_PLACES = {"palace": "steps", "throne room": "throne", "side street": "avenue"}
#: How a visitor asks for what was told at the gate, in ways that give nothing away.
_QUESTIONS = {"name": "name_q", "companion": "companion_q", "reason": "reason_q", "spectacles": "spectacles_q"}
#: What happens while something else is to be remembered: nothing that changes it.
_MEANWHILE = (acts.go, acts.thing, acts.any_verb, chat.talk, chat.self_, chat.topic, chat.weather, chat.fallback)
#: What is answered with the visitor's own words.
_ECHOES = (acts.look_any, acts.use_any, acts.any_verb, acts.take, acts.give, acts.go_unknown, chat.noun, chat.fallback)


@dataclass(frozen=True)
class Trial:
    """A turn to be told: the prompt's parts, and what the simulator knows of it."""

    profile: dict[str, str]
    before: list[Turn]
    said: str
    place: str
    intent: str
    expected: str = ""  # how the simulator tells it
    notes: list[str] = field(default_factory=list)
    choices: frozenset[str] = frozenset()  # valid beside those of the place
    fact: str = ""  # what was asked for: a key of the profile, or what is held, where, with whom
    wanted: str = ""  # what the reply must contain for it
    target: str = ""  # of a hand-written line

    @property
    def facts(self) -> dict[str, str]:
        """The profile as a reply says it."""
        profile = self.profile
        return {
            "name": profile["name"],
            "companion": refer(profile["companion"]),
            "reason": because(profile["reason"]),
            "spectacles": profile["spectacles"],
        }


def stranger(rng: Random, alone: bool = True) -> dict[str, str]:
    """A profile from the held-out lists; with `alone`, somebody may come without a companion."""
    lists = {"name": "names", "companion": "companions", "reason": "reasons", "spectacles": "colours"}
    profile = {key: rng.choice(HELD_OUT[name]) for key, name in lists.items()}
    while not alone and profile["companion"] == "nobody":
        profile["companion"] = rng.choice(HELD_OUT["companions"])
    return profile


def make_trials(city: City, count: int, seed: str = "evaluation") -> list[Trial]:
    """Turns of fresh walks; one in six is the first of its walk."""
    trials = []
    for index in range(count):
        rng = Random(f"{seed}/{index}")
        profile = stranger(rng)
        depth = 0 if index % 6 == 0 else rng.randint(1, 6)
        turns = play(city, rng, depth + 1, profile).turns
        turn = turns[depth]
        trials.append(
            Trial(
                profile, _past(turns[:depth]), turn.said, turn.place, turn.intent, turn.reply, turn.notes,
                frozenset(turn.choices),
            )
        )  # fmt: skip
    return trials


def ask_facts(city: City, count: int, seed: str = "facts") -> list[Trial]:
    """Questions for each of the four facts of the profile in turn, after up to four turns."""
    trials = []
    for index in range(count):
        rng = Random(f"{seed}/{index}")
        profile = stranger(rng, alone=False)
        key = tuple(_QUESTIONS)[index % len(_QUESTIONS)]
        walk = _walk(city, rng, profile)
        _meanwhile(walk, rng.randint(0, 4))
        said = rng.choice([line for line in city.phrases[_QUESTIONS[key]]["said"] if "{" not in line])
        trial = Trial(profile, _past(walk.turns), said, walk.place, _QUESTIONS[key], fact=key)
        trials.append(Trial(**{**vars(trial), "wanted": trial.facts[key]}))
    return trials


def ask_notes(city: City, count: int, seed: str = "notes") -> list[Trial]:
    """Questions that a note beside the line answers, and nothing else does."""
    return [_do(city, Random(f"{seed}/{index}"), chat.ask) for index in range(count)]


def repeat(city: City, count: int, seed: str = "echo") -> list[Trial]:
    """Lines with a word of the visitor's own that the reply has to say back."""
    return [_do(city, Random(f"{seed}/{index}"), _ECHOES[index % len(_ECHOES)]) for index in range(count)]


def _do(city: City, rng: Random, intent: Intent) -> Trial:
    profile = stranger(rng)
    walk = _walk(city, rng, profile)
    _meanwhile(walk, rng.randint(0, 3))
    before = _past(walk.turns)
    turn = intent(walk, None)
    choices = frozenset(turn.choices)
    return Trial(profile, before, turn.said, turn.place, turn.intent, turn.reply, turn.notes, choices)


def remember(city: City, count: int, seed: str = "state") -> list[Trial]:
    """What is held, where one is and who came along, asked for when five turns have gone by since it was settled."""
    return [_remember(city, Random(f"{seed}/{index}"), index % 3) for index in range(count)]


def _remember(city: City, rng: Random, kind: int) -> Trial:
    profile = stranger(rng)
    walk = _walk(city, rng, profile)
    if kind == 0:
        acts.search(walk, None)
        fact, wanted, question = "what you hold", walk.bag[-1], "bag_q"
        _meanwhile(walk, 4)
    elif kind == 1:
        _meanwhile(walk, 2)
        walk.go(rng.choice(walk.here.ways), "go on")
        _meanwhile(walk, 2, (acts.thing, acts.any_verb, chat.talk, chat.self_, chat.topic, chat.fallback))
        fact, wanted, question = "where you are", walk.here.at, "where"
    else:
        acts.follow(walk, None)
        guide = walk.guide
        fact, wanted, question = "who is with you", guide.name if guide else "", "companion_q"
        _meanwhile(walk, 4)
    said = rng.choice([line for line in city.phrases[question]["said"] if "{" not in line])
    return Trial(profile, _past(walk.turns), said, walk.place, question, fact=fact, wanted=wanted)


def by_hand(city: City) -> list[Trial]:
    """The hand-written lines, each said on coming to its place (or to any place) by a held-out visitor."""
    trials = []
    for index, line in enumerate(yaml.safe_load(HAND_WRITTEN.read_text(encoding="utf-8"))):
        rng = Random(f"hand/{index}")
        profile = stranger(rng, alone=False)
        named = line.get("place")
        walk = _walk(city, rng, profile, _PLACES.get(named, named))
        past = _past(walk.turns)
        trials.append(Trial(profile, past, line["text"], walk.place, line["intent"], target=line.get("target", "")))
    return trials


def wording(line: str) -> str:
    """A line without its capitals and its stops."""
    return line.lower().strip(" .!?")


def known_wordings(city: City) -> set[str]:
    """What the generator's lists hold word for word, as `wording` has it: `hello` is in anybody's list."""
    texts = strings([city.phrases, city.dealings, city.ways_to_say])
    return {wording(unbracket(text)) for text in texts}


def held_apart() -> list[str]:
    """The held-out words that do stand in a list of the generator; there should be none."""
    known = {*words.NAMES, *words.ALPHABETS, *words.REASONS}
    return [word for word in [*HELD_OUT["names"], *HELD_OUT["reasons"]] if word in known]


def _walk(city: City, rng: Random, profile: dict[str, str], place: str | None = None) -> Walk:
    """A walk that comes to `place`, or to any: what nothing in the prompt names cannot be known."""
    place = place or rng.choice(list(city.places))
    walk = Walk(city, rng, profile, place=rng.choice(city.places[place].ways))
    walk.go(place, f"Go to {city.places[place].to}.")
    return walk


def _meanwhile(walk: Walk, count: int, kinds: tuple[Intent, ...] = _MEANWHILE) -> None:
    for _ in range(count):
        walk.rng.choice(kinds)(walk, None)


def _past(turns: list[Told]) -> list[Turn]:
    return [Turn(turn.said, plain(turn.reply), turn.notes) for turn in turns]
