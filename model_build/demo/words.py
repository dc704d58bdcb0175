"""Open vocabulary: names, companions, reasons, colours and nouns that no list could hold.

A model that sees only a hundred names learns the hundred; one that sees a new one each time learns to
copy. So most of what is made here is put together from syllables, letters and other people's alphabets.
Knows nothing of places or dialogues; every function takes the `random.Random` it draws from.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random

import yaml

_FOLDER = Path(__file__).parent


def read_lists(name: str) -> dict[str, list[str]]:
    """The word lists of a YAML file beside this one: entries between spaces, or between | where there is one."""
    raw: dict[str, str] = yaml.safe_load((_FOLDER / name).read_text(encoding="utf-8"))
    return {
        key: [part.strip() for part in (text.split("|") if "|" in text else text.split())] for key, text in raw.items()
    }


_LISTS = read_lists("words.yaml")
NAMES, ALPHABETS, TITLES = _LISTS["names"], _LISTS["alphabets"], _LISTS["titles"]
ANIMALS, PEOPLE, ADJECTIVES = _LISTS["animals"], _LISTS["people"], _LISTS["adjectives"]
THINGS, PLACES, COLOURS, REASONS = _LISTS["things"], _LISTS["places"], _LISTS["colours"], _LISTS["reasons"]
NOBODY = _LISTS["nobody"]
CARRIED, SIGHTS, GOODS = _LISTS["carried"], _LISTS["sights"], _LISTS["goods"]
_MORE = read_lists("vocabulary.yaml")
GIFTS, FEELINGS = _LISTS["gifts"], [*_LISTS["feelings"], *_MORE["feelings"]]
#: Any other thing a visitor may name, with its article, and what may be done with it ("polish", "lean against").
ANYTHING, DEEDS = _MORE["things"], _MORE["verbs"]
_ONSETS, _VOWELS = _LISTS["onsets"], _LISTS["vowels"]
_CODAS = [coda.strip("-") for coda in _LISTS["codas"]]
_SUBJECTS, _VERBS, _ASKS = _LISTS["subjects"], _LISTS["verbs"], _LISTS["asks"]
_TAILS = [tail.strip("-") for tail in _LISTS["tails"]]
_SEVERAL = ("two of", "three of", "all of", "one of", "some of", "both")
_WORD = re.compile(r"\b[a-z]{3,}\b")
_SOUGHT = ("find", "see", "buy", "ask for", "look for", "bring back", "draw", "forget")


def word(rng: Random, syllables: int | None = None) -> str:
    """A word that most likely never was, in lower case: of syllables that can be spoken, or of the head of one word and
    the tail of another."""
    if rng.random() < 0.35:
        return _splice(rng)
    count = syllables or rng.choice((1, 2, 2, 2, 3))
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(count))


@cache
def _written() -> tuple[list[str], list[str]]:
    """The words of the texts beside this file: all, and those that stand there more than once and are none of the
    visitors' whom the model is judged with."""
    paths = sorted(path for path in _FOLDER.rglob("*.yaml") if path.name != "held_out.yaml")
    found = Counter(_WORD.findall(" ".join(path.read_text(encoding="utf-8") for path in paths)))
    judged = set(_WORD.findall((_FOLDER / "held_out.yaml").read_text(encoding="utf-8").lower()))
    return sorted(found), sorted(text for text, count in found.items() if count > 1 and text not in judged)


def _splice(rng: Random) -> str:
    """The head of one written word, at times all of it, and the tail of another: so the pieces that a tokenizer has for
    whole words are copied as well, not only those for syllables."""
    head, tail = rng.choice(_written()[0]), rng.choice(_written()[0])
    return head[: rng.randint(2, len(head))] + tail[rng.randrange(1, len(tail) - 1) :]


def any_word(rng: Random) -> str:
    """A word of any kind from the texts beside this file, in lower case, sense or no sense."""
    return rng.choice(_written()[1])


def letters(rng: Random) -> str:
    """A handful of letters (and sometimes digits) in no order at all."""
    pool = "abcdefghijklmnopqrstuvwxyz" + ("0123456789" if rng.random() < 0.3 else "")
    return "".join(rng.choice(pool) for _ in range(rng.randint(2, 9)))


def name(rng: Random) -> str:
    """A visitor's name as somebody might type it."""
    roll = rng.random()
    if roll < 0.04:
        return "the traveller"
    if roll < 0.30:
        text = rng.choice(NAMES)
    elif roll < 0.62:
        text = word(rng).capitalize()
    elif roll < 0.70:
        text = letters(rng).capitalize()
    elif roll < 0.78:
        text = f"{simple_name(rng)}-{simple_name(rng)}"
    elif roll < 0.85:
        text = f"{rng.choice(TITLES)} {simple_name(rng)}"
    elif roll < 0.92:
        text = f"{simple_name(rng)} {simple_name(rng)}"
    elif roll < 0.96:
        text = rng.choice(ALPHABETS)
    elif roll < 0.98:
        text = f"{simple_name(rng)} the {rng.choice(ADJECTIVES).capitalize()}"
    else:
        text = f"{word(rng)}{rng.choice('_-')}{rng.randint(1, 99)}"
    style = rng.random()
    return text.lower() if style < 0.08 else text.upper() if style < 0.1 else text


def simple_name(rng: Random) -> str:
    """A name of one word with a capital."""
    return rng.choice(NAMES) if rng.random() < 0.4 else word(rng, rng.choice((1, 2, 2))).capitalize()


def companion(rng: Random) -> str:
    """Who walks with the visitor, as typed at the gate; one in seven comes alone."""
    if rng.random() < 0.14:
        return rng.choice(NOBODY)
    animal = _fellow(rng)
    called = simple_name(rng) if rng.random() < 0.5 else name(rng)
    roll = rng.random()
    if roll < 0.30:
        text = f"{article(animal)} {animal}"
    elif roll < 0.34:
        several, whose = rng.choice(_SEVERAL), rng.choice(PEOPLE)
        text = f"{several} my {whose}s" if rng.random() < 0.5 else f"my {whose}'s {animal}"
    elif roll < 0.44:
        text = f"{article(animal)} {animal} called {called}"
    elif roll < 0.58:
        text = f"my {animal}" + (f" {called}" if rng.random() < 0.5 else "")
    elif roll < 0.70:
        person = rng.choice(PEOPLE)
        text = f"my {person}" + (f" {called}" if rng.random() < 0.4 else "")
    elif roll < 0.80:
        text = f"{called} the {animal}"
    elif roll < 0.94:
        text = called
    else:
        text = animal
    return text[0].upper() + text[1:] if rng.random() < 0.2 else text


def _fellow(rng: Random) -> str:
    """Somebody or something that could walk along, without an article; most were never met in these words."""
    roll = rng.random()
    if roll < 0.2:
        # any thing at all, so that no list can be learned; with a quality, since the trials have some without
        thing = rng.choice(THINGS) if roll < 0.1 else rng.choice(ANYTHING).split(" ", 1)[-1]
        return f"{_quality(rng)} {thing}"
    animal = rng.choice(ANIMALS) if roll < 0.5 else any_word(rng) if roll < 0.75 else word(rng, 2)
    if rng.random() < 0.5:
        animal = f"{_quality(rng)} {animal}"
        if rng.random() < 0.2:
            animal = f"{_quality(rng)} {animal}"
    return animal


def _quality(rng: Random) -> str:
    roll = rng.random()
    if roll < 0.6:
        return rng.choice(ADJECTIVES if roll < 0.3 else FEELINGS)
    return any_word(rng) if roll < 0.85 else word(rng)


def article(noun: str) -> str:
    """`a` or `an`, by the letter."""
    return "an" if noun[:1].lower() in "aeiou" and not noun.lower().startswith("one") else "a"


def item(rng: Random) -> str:
    """A small thing to be carried, always with `the`."""
    thing = rng.choice(CARRIED) if rng.random() < 0.85 else word(rng, 2)
    roll = rng.random()
    if roll < 0.7:
        return f"the {rng.choice(ADJECTIVES)} {thing}"
    return f"the {word(rng, 2)} {thing}" if roll < 0.85 else f"the {thing} of {simple_name(rng)}"


def feeling(rng: Random) -> str:
    """How somebody feels, in a word."""
    return rng.choice(FEELINGS) if rng.random() < 0.9 else word(rng, 2)


def noun(rng: Random) -> str:
    """A thing, place or idea, with its article where it needs one, in the middle of a sentence."""
    roll = rng.random()
    if roll < 0.12:
        return rng.choice(PLACES)
    thing = rng.choice(THINGS) if roll < 0.5 else any_word(rng) if roll < 0.75 else word(rng)
    if rng.random() < 0.3:
        thing = f"{_quality(rng)} {thing}"
    kind = rng.random()
    if kind < 0.45:
        return f"{article(thing)} {thing}"
    if kind < 0.65:
        return f"the {thing}"
    if kind < 0.78:
        return f"my {thing}"
    return thing


def reason(rng: Random) -> str:
    """Why somebody has come, in their own words."""
    roll = rng.random()
    if roll < 0.12:
        return "curiosity"
    if roll < 0.4:
        return rng.choice(REASONS)
    if roll < 0.55:
        return f"to {rng.choice(_SOUGHT)} {noun(rng)}"
    if roll < 0.7:
        lead = (
            "I am looking for",
            "I want",
            "I heard about",
            "I was promised",
            "searching for",
            "because of",
            "I need",
        )
        return f"{rng.choice(lead)} {noun(rng)}"
    if roll < 0.85:
        return utterance(rng)[:79]
    return " ".join(word(rng) for _ in range(rng.randint(1, 4)))


def colour(rng: Random) -> str:
    """The colour of a pair of spectacles."""
    roll = rng.random()
    if roll < 0.25:
        return "green"
    if roll < 0.85:
        text = rng.choice(COLOURS)
    elif roll < 0.93:
        text = f"{word(rng)}-{rng.choice(COLOURS[:16])}"
    else:
        text = word(rng)
    return text.capitalize() if rng.random() < 0.15 else text


def utterance(rng: Random) -> str:
    """Something a visitor says that has nothing to do with anything; no full stop."""
    roll = rng.random()
    if roll < 0.45:
        text = rng.choice(_ASKS).format(s=rng.choice(_SUBJECTS), n=noun(rng), m=noun(rng), t=rng.choice(ANIMALS))
    elif roll < 0.75:
        text = f"{rng.choice(_SUBJECTS)} {rng.choice(_VERBS)} {noun(rng)} {rng.choice(_TAILS)}".strip()
    elif roll < 0.87:
        text = " ".join(word(rng) for _ in range(rng.randint(1, 5)))
    elif roll < 0.93:
        text = letters(rng)
    else:
        text = f"{utterance(rng)} {rng.choice(('and', 'because', 'but', 'so'))} {utterance(rng)}"
    return text
