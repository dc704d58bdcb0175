"""What a visitor types: a deed put into words, and words put through hurried fingers.

Knows how things are said, not what comes of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from model_build.demo import words
from model_build.demo.walk import MARK_OFF, MARK_ON, Walk, capital, mark

_LEADS = (
    "ok, ", "um, ", "well, ", "hey, ", "please ", "so ", "now ", "then ", "quick, ", "and ", "oh, ", "maybe ",
    "let me ", "hmm, ", "alright ", "ok ", "right, ", "wait, ", "actually, ", "first ", "yes, ", "excuse me, ",
    "sir, ", "hi, ", "ok so ", "look, ", "listen, ", "dude, ", "honestly, ", "ugh, ", "ha, ", "wow, ", "sorry, ",
    "i guess ", "eh, ", "good, ", "fine, ", "great, ", "madam, ", "friend, ", "no wait, ", "before I forget, ",
    "if you please, ", "by the way, ", "for now, ", "next, ", "finally, ", "alas, ", "cool, ", "nice. ", "oh my, ",
    "I say, ", "tell you what, ", "my dear, ", "without further ado, ", "meanwhile ", "this time ", "just ", "> ", "/",
    "*",
)  # fmt: skip
_ENDS = (
    "!", "!!", "...", "?", " please", " now", " :)", " lol", "??", " pls", " ok?", " then", " again", ", please",
    " haha", " if that's ok", " i guess", ", friend", ", my dear", ", sir", " asap", " thx", " and see what happens",
    ", will you", " right away", " before it gets dark", ", why not", " :D", " ;)", " xD", " k?", ", thanks",
    ", if I may", ", right?", " tbh", ", that is all", "~", " ^^", ", for once", ", if you don't mind",
    " before we go on",
)  # fmt: skip
_SHORT = {
    "you": "u", "your": "ur", "please": "pls", "want to": "wanna", "going to": "gonna", "what's": "whats",
    "I'm": "im", "let's": "lets", "I'd": "id", "don't": "dont", "are": "r", "with": "w/", "because": "cuz", "and": "&",
}  # fmt: skip
#: How often a deed is typed as it is, without "I want to".
_BARE = 0.3
#: How often a line is one of those that name a thing of their own.
WHOLE = 0.4
#: How often that is another thing than the writer's: what is to be repeated is where it stands, not what fits the verb.
_SWAPPED = 0.25
#: The thing that such a line names.
_OWN = re.compile(r"\[(.+?)\]")
#: The longest stretch of a visitor's words that a reply repeats, in words.
QUOTED_WORDS = 6


def speak(rng: Random, text: str) -> str:
    """The text as hurried fingers type it: capitals, stops and now and then a letter go missing."""
    roll = rng.random()
    if roll < 0.3:
        text = capital(text) + ("." if text[-1:].isalnum() else "")
    elif roll < 0.45:
        text = text.lower()
    elif roll < 0.48:
        text = text.upper()
    elif roll < 0.56:
        text = rng.choice(_LEADS) + text
    elif roll < 0.63:
        text = text.rstrip("?.") + rng.choice(_ENDS)
    if rng.random() < 0.06:
        for long, short in _SHORT.items():
            if rng.random() < 0.5:
                text = f" {text} ".replace(f" {long} ", f" {short} ").strip()
    if rng.random() < 0.1 and len(text) > 6:
        text = _slip(rng, text)
    return text


def _slip(rng: Random, text: str) -> str:
    place, kind = rng.randrange(1, len(text) - 2), rng.random()
    if kind < 0.35:
        return text[:place] + text[place + 1 :]
    if kind < 0.7:
        return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    if kind < 0.85:
        return text[:place] + text[place] + text[place:]
    return text[:place] + rng.choice("abcdefghijklmnopqrstuvwxyz") + text[place + 1 :]


def quote(said: str) -> str:
    """What a reply repeats of a line: all of it without its end stop, or its first words when it is long."""
    parts = said.replace('"', "").split()
    short = " ".join(parts[:QUOTED_WORDS])
    return mark(short.rstrip(".!?,… ") or short) + ("..." if len(parts) > QUOTED_WORDS else "")


def say(walk: Walk, said: str | None, lines: Sequence[str], **more: str) -> str:
    """The line given, or one of `lines` filled and typed by a visitor."""
    return said if said is not None else speak(walk.rng, _fill(walk, walk.rng.choice(lines), more))


def say_whole(walk: Walk, kind: str) -> tuple[str, str]:
    """A line that names a thing of its own, as nobody draws verb and thing at random ("play [the fiddle]"), typed by a
    visitor, and the thing; at times it is another."""
    line = walk.rng.choice(walk.city.ways_to_say[kind])
    found = _OWN.search(line)
    if found is None:
        raise ValueError(f"said/: a line of `{kind}` names no thing in brackets: {line}")
    thing = words.noun(walk.rng) if walk.rng.random() < _SWAPPED else found[1]
    return speak(walk.rng, line.replace(found[0], thing)), thing


def unbracket(line: str) -> str:
    """A line of the lists without the brackets around its own thing."""
    return _OWN.sub(r"\1", line)


def command(walk: Walk, said: str | None, deeds: Sequence[str], **more: str) -> str:
    """The line given, or one of `deeds` ("go to {to}") wrapped as a wish, a question, a plan, an order."""
    if said is not None:
        return said
    rng = walk.rng
    deed = rng.choice(deeds)
    deed = deed[0].lower() + deed[1:]
    wrap = "{x}" if rng.random() < _BARE else rng.choice(walk.city.ways_to_say["wraps"])
    return speak(rng, _fill(walk, wrap.replace("{x}", deed), more))


def _fill(walk: Walk, line: str, more: dict[str, str]) -> str:
    who, rng = walk.here.who, walk.rng
    names = (*(who.name,) * 3, who.name.removeprefix("the "), who.him, *walk.city.aliases["people"][walk.place])
    known = {key: value.strip(MARK_ON + MARK_OFF) for key, value in walk.known.items()}
    thing = rng.choice(list(walk.here.things))
    values = {**known, "who": rng.choice(names), "he": who.he, "his": who.his, "t": short(rng, thing), **more}
    return line.format(**values)


def short(rng: Random, name: str) -> str:
    """A thing as visitors call it: with and without its article, at times only its last word."""
    roll = rng.random()
    if roll < 0.6:
        return name
    bare = name.removeprefix("the ")
    return bare if roll < 0.8 else bare.split()[-1] if roll < 0.9 else f"that {bare}" if roll < 0.95 else f"a {bare}"


def called(walk: Walk, key: str) -> str:
    """A place as a visitor calls it."""
    rng = walk.rng
    return walk.city.places[key].to if rng.random() < 0.55 else rng.choice(walk.city.aliases["places"][key])


def something(rng: Random, own: Sequence[str], open_: Sequence[str], made: str) -> str:
    """What a visitor wants to do something with: a thing of one of two lists, any other thing, or `made` up."""
    roll = rng.random()
    if own and roll < 0.25:
        return rng.choice(own)
    return rng.choice(open_) if roll < 0.4 else rng.choice(words.ANYTHING) if roll < 0.75 else made
