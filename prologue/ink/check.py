"""Looks a compiled ink story over by playing it: what fails, what cannot be read, waits it cannot fill."""

from __future__ import annotations

import random
from collections.abc import Iterator

from prologue.ink.content import Container, InkError
from prologue.ink.script import CHOICE, CURTAIN, WAITING, InkScript
from prologue.script import LONGEST_S, REPEAT_S, Beat

#: How often it is played, each time with other replies and another waking, and for at most so many beats.
PLAYS, BEATS = 40, 400
FASTEST_CPS = 20.0
WAIT_S = 120.0


def check_ink(script: InkScript) -> Iterator[str]:
    """What is wrong with a story, a sentence each."""
    found: dict[str, None] = {}
    reached: set[str] = set()
    for number in range(PLAYS):
        found |= dict.fromkeys(_play(script, random.Random(number), number / PLAYS * WAIT_S, reached))
    yield from found
    for knot in _knots(script.root):
        if knot not in reached:
            yield f"knot {knot}: none of {PLAYS} plays came here; let something lead to it, or remove it."
    yield from _unfilled(script)


def _play(script: InkScript, chance: random.Random, wait_s: float, reached: set[str]) -> Iterator[str]:
    keys = {field.key for field in script.fields} | {CHOICE}
    state, told_s = script.begin(), 0.0
    profile: dict[str, str] = {}
    for _ in range(BEATS):
        try:
            beat, state = script.play_on(state, told_s >= wait_s, max(0.0, wait_s - told_s), profile, reached)
        except InkError as error:
            yield f"ink: {error}."
            return
        yield from _unreadable(beat)
        told_s += max(beat.seconds, 0.5)
        if beat.ask is not None:
            if beat.ask.key not in keys:
                yield f"ink, {beat.ask.text!r}: `ask: {beat.ask.key}` is not in `profile` of world.yaml; add it."
            if chance.random() < 0.9:
                said = chance.choice(beat.ask.choices) if beat.ask.choices else "something"
                profile[beat.ask.key], state = script.reply(state, beat.ask.key, said)
        if beat.final:
            return
        if told_s > wait_s + 60 and CURTAIN not in script.root.named and WAITING in script.root.named:
            return
    yield f"ink: a play of {BEATS} beats did not come to an end; let the knot `{CURTAIN}` lead to `-> END`."


def _unreadable(beat: Beat) -> Iterator[str]:
    for place, line in enumerate(beat.lines):
        following = beat.lines[place + 1 : place + 2]
        given = following[0].at_s - line.at_s if following else LONGEST_S
        if len(line.text) > given * FASTEST_CPS:
            yield (
                f"ink, {line.text!r}: it has {len(line.text)} characters for {given:g} s;"
                f" at most {int(given * FASTEST_CPS)} can be read."
            )
        if given > LONGEST_S:
            yield f"ink, {line.text!r}: the next line comes {given:g} s later; let it come by {LONGEST_S:g} s."


def _unfilled(script: InkScript) -> Iterator[str]:
    """Waits the story cannot fill, and lines that come again too soon, with nobody replying."""
    state, told_s = script.begin(), 0.0
    last: dict[str, float] = {}
    while told_s < WAIT_S:
        try:
            beat, state = script.play_on(state, False, None, {})
        except InkError:
            return  # said already
        for line in beat.lines:
            since = told_s - last.get(line.text, -REPEAT_S)
            if since < REPEAT_S:
                yield f"ink, {line.text!r}: it is told again after {since:.0f} s; {REPEAT_S:g} s should lie between."
                return
            last[line.text] = told_s + line.at_s
        if beat.final:
            yield (
                f"ink: a wait of {WAIT_S:g} s ends in silence after {told_s:.0f} s;"
                f" write a knot `{WAITING}` with more to tell."
            )
            return
        told_s += max(beat.seconds, 0.5)


def _knots(root: Container) -> list[str]:
    """The knots that hold text, functions aside."""
    return [name for name, knot in root.named.items() if name != "global decl" and _has_text(knot)]


def _has_text(knot: Container) -> bool:
    inside = [item for container in knot.walk() for item in container.content]
    return "~ret" not in inside and any(isinstance(item, str) and item.startswith("^") for item in inside)
