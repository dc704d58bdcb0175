"""Looks a world over for what can be loaded but would not play well. Finds, never mends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

from prologue.answers.guards import read_features
from prologue.answers.index_build.answers_file import find_shared, read_answers, read_negatives
from prologue.knowledge.facts_file import FILE as FACTS
from prologue.knowledge.facts_file import read_facts
from prologue.placeholders import fill, placeholders
from prologue.script.conditions import Condition, Moment, When
from prologue.script.player import LONGEST_S, REPEAT_S, Fragment, ReplyError, Script, Step
from prologue.script.reader import FRAGMENT_CHARACTERS
from prologue.world import World, load_world

#: The fastest a grown-up reads along, characters per second.
FASTEST_CPS = 20.0
#: A wait that a world should be able to fill, in seconds: the longest start, doubled.
WAIT_S = 120.0
#: Phrasings of two answers nearer than this by the embedder (cosine) are likely to be taken for each other.
NEAR = 0.90


def check_world(folder: Path) -> list[str]:
    """What is wrong with the world in a folder, a sentence each. Raises `WorldError` if it cannot be loaded."""
    world = load_world(folder)
    script = world.script
    return [
        *_unreachable(script),
        *_never_told(script),
        *_too_long(world, script),
        *_unfilled(script),
        *_falsely_said(world, script),
        *_collisions(folder),
        *_told_twice(folder),
        *_unknown_in_facts(world),
    ]


def find_near(folder: Path, embedder: Path) -> list[str]:
    """What is worth a look in a world: phrasings of two answers that mean nearly the same, the nearest pair of
    each two, a sentence each. `embedder` is the folder of the embedder, made if missing.
    """
    if not (folder / "answers.yaml").is_file():
        return []
    import numpy as np

    from prologue.answers.embedder import Embedder
    from prologue.answers.index_build.embedder_build import build_embedder

    answers = read_answers(folder / "answers.yaml")
    phrasings = [(answer.id, phrasing) for answer in answers for phrasing in answer.phrasings]
    build_embedder(embedder)
    vectors = Embedder(embedder).embed([phrasing for _, phrasing in phrasings])
    cosines = np.triu(vectors @ vectors.T, 1)
    near: dict[tuple[str, str], str] = {}
    for place in np.argsort(-cosines, axis=None):
        row, column = divmod(int(place), len(phrasings))
        cosine = float(cosines[row, column])
        if cosine < NEAR:
            break
        (one, this), (other, that) = phrasings[row], phrasings[column]
        if one != other and read_features(this).exact != read_features(that).exact:
            said = f"answers {one} and {other}: {this!r} and {that!r} mean nearly the same (cosine {cosine:.2f})"
            near.setdefault((one, other), f"{said}; leave one of them out, or say it in other words.")
    return [*near.values()]


def _unreachable(script: Script) -> Iterator[str]:
    """Scenes, and beats in them, that no way leads to."""
    places = {scene.id: place for place, scene in enumerate(script.scenes)}
    reached: set[int] = set()
    told: set[str] = set()
    ahead = [0]
    while ahead:
        place = ahead.pop()
        if place in reached or place >= len(script.scenes):
            continue
        reached.add(place)
        for step in script.scenes[place].steps:
            told.add(step.id)
            ahead += [places[to] for _, to in step.go]
            if _always(step) and any(not when.any for when, _ in step.go):
                break  # nothing comes after a beat that always leads elsewhere
        else:
            ahead.append(place + 1)
        if script.scenes[place].when.any:
            ahead.append(place + 1)
    for place, scene in enumerate(script.scenes):
        if place not in reached:
            yield f"scene {scene.id}: no scene leads here; remove it, or let a `go` lead to it."
        else:
            for step in scene.steps:
                if step.id not in told:
                    yield f"beat {step.id}: the beat before it always leads elsewhere; put the `go` after this one."


def _always(step: Step) -> bool:
    return not step.when.any and not step.optional


def _never_told(script: Script) -> Iterator[str]:
    """Conditions that can never hold."""
    values: dict[str, set[str] | None] = {}
    for step in script.steps():
        if step.ask is not None:
            listed = {choice.casefold() for choice in step.ask.choices} | {v.casefold() for v in step.ask.same or {}}
            before = values.get(step.ask.key, set())
            values[step.ask.key] = None if step.ask.free or before is None else before | listed
    later: dict[str, set[str]] = {}
    for place, scene in enumerate(script.scenes):
        for step in scene.steps:
            later[step.id] = {s.id for after in script.scenes[place + 1 :] for s in after.steps}
    jumps = any(step.go for step in script.steps())
    for scene in script.scenes:
        yield from _impossible(f"scene {scene.id}", scene.when, values, set())
    for step in script.steps():
        waits_for = set() if jumps else later.get(step.id, set())
        yield from _impossible(f"beat {step.id}", step.when, values, waits_for | {step.id})
        for fragment in step.fragments:
            if fragment.otherwise is None:
                yield from _impossible(f"beat {step.id}, {fragment.text!r}", fragment.when, values, waits_for)


def _impossible(where: str, when: When, values: dict[str, set[str] | None], later: set[str]) -> Iterator[str]:
    reasons = [_reason(condition, values, later) for condition in when.any]
    if reasons and all(reasons):
        yield f"{where}: its condition never holds, {reasons[0]}; mend `when`."


def _reason(condition: Condition, values: dict[str, set[str] | None], later: set[str]) -> str:
    for key in condition.known:
        if key in condition.unknown:
            return f"for {key} cannot be both known and unknown"
    for key in (*condition.known, *condition.equal, *condition.says):
        if key not in values:
            return f"for nothing asks for {key}"
    for key, wanted in condition.equal.items():
        possible = values[key]
        if possible is not None and not wanted & possible:
            return f"for {key} is never {' or '.join(sorted(wanted))}"
    for beat in condition.told:
        if beat in condition.untold:
            return f"for {beat} cannot be both told and untold"
        if beat in later:
            return f"for {beat} comes later"
    return ""


def _too_long(world: World, script: Script) -> Iterator[str]:
    """Lines that are gone before they can be read."""
    values = {field.key: field.default for field in world.profile}
    for step in script.steps():
        for place, fragment in enumerate(step.fragments):
            following = step.fragments[place + 1 : place + 2]
            own, then = fragment.at_s, following[0].at_s if following else None
            given = then - own if own is not None and then is not None else LONGEST_S
            for text in (fragment.text, fragment.otherwise or ""):
                length = len(fill(text, values))
                if length > given * FASTEST_CPS:
                    yield (
                        f"beat {step.id}: {text!r} has {length} characters for {given:g} s;"
                        f" at most {int(given * FASTEST_CPS)} can be read."
                    )


#: What visitors type where a name is asked for, beside names: long, emoji, right to left, nobody, a question.
ODD = ("x" * 200, "\u2764\ufe0f", "\u05e9\u05dc\u05d5\u05dd", "nobody", "who, me?", "...", "{name}")
#: Stands for a default in a sentence, and for whatever else is known of the visitor.
_DEFAULT, _KNOWN = "Zzyzx", "Ann"
_BROKEN = re.compile(r"[?!,;:][.,;:]|^\s*$")


def _falsely_said(world: World, script: Script) -> Iterator[str]:
    """Sentences that say of the visitor what nobody said, or that break with an odd value."""
    unknown = replace(script, fields=tuple(replace(field, default=_DEFAULT) for field in script.fields))
    for step in script.steps():
        # A question is filled in like a line.
        asked = [Fragment(step.ask.text)] if step.ask is not None else []
        for fragment in (*step.fragments, *asked):
            keys = dict.fromkeys([*placeholders(fragment.text), *placeholders(fragment.otherwise or "")])
            for field in (field for field in world.profile if field.key in keys):
                key = field.key
                if any(_DEFAULT in said for said in _told(unknown, step, fragment, key, None)):
                    yield (
                        f"beat {step.id}: {fragment.text!r} says {field.default!r} of a visitor who said nothing; add"
                        f" `when: {{known: {key}}}` or an `else`."
                    )
                for value in sorted({*field.none, *_read(script, key)}):
                    for said in dict.fromkeys(_told(script, step, fragment, key, value)):
                        own = f"{fragment.text} {fragment.otherwise}"
                        if value.casefold() in field.none and _mentions(said, value) and not _mentions(own, value):
                            yield f"beat {step.id}: {said!r} tells of {value!r}, which means none; add a condition."
                        elif _BROKEN.search(said) or len(said) > 2 * FRAGMENT_CHARACTERS:
                            yield f"beat {step.id}: with {value!r} for {key} it says {said!r}; reword it."


def _mentions(text: str, value: str) -> bool:
    return re.search(rf"\b{re.escape(value)}\b", text, re.IGNORECASE) is not None


def _read(script: Script, key: str) -> Iterator[str]:
    """Odd replies as the questions for a key take them."""
    for question in (step.ask for step in script.steps() if step.ask is not None and step.ask.key == key):
        for said in ODD:
            try:
                yield question.read(said)
            except ReplyError:
                continue


def _told(script: Script, step: Step, fragment: Fragment, key: str, value: str | None) -> Iterator[str]:
    """What a fragment says whenever it may be told, `key` having the value (None: not known)."""
    conditions = [*step.when.any, *fragment.when.any]
    often = dict.fromkeys((beat for condition in conditions for beat in condition.beats()), 1_000)
    asked_for = {name: min(values) for condition in conditions
                 for name, values in (*condition.equal.items(), *condition.says.items())}  # fmt: skip
    known = {field.key: _KNOWN for field in script.fields}
    for others, visits, awake in product(({}, known, {**known, **asked_for}), ({}, often), (False, True)):
        profile = {name: text for name, text in others.items() if name != key}
        now = Moment(profile if value is None else {**profile, key: value}, visits, awake)
        # A beat that was told had cause to be: `told: after_name` may imply that the name is known.
        if step.when.holds(now) and all(one.when.holds(now) for one in script.steps() if one.id in visits):
            yield from (line.text for line in script.render(replace(step, ask=None, fragments=(fragment,)), now).lines)


def _unfilled(script: Script) -> Iterator[str]:
    """Waits the script cannot fill, played with nobody replying."""
    state, told_s = script.begin(), 0.0
    while told_s < WAIT_S:
        beat, state = script.next(state, False, None, {})
        if beat.final:
            yield (
                f"fillers: a wait of {WAIT_S:g} s ends in silence after {told_s:.0f} s; write about"
                f" {max(WAIT_S, REPEAT_S) - told_s:.0f} s more."
            )
            return
        told_s += max(beat.seconds, 0.5)


def _collisions(folder: Path) -> Iterator[str]:
    """Phrasings that two answers share, or that the negatives hold as well."""
    if not (folder / "answers.yaml").is_file():
        return
    answers = read_answers(folder / "answers.yaml")
    for phrasing, one, other in find_shared(answers):
        yield f"answers {one} and {other}: both have the phrasing {phrasing!r}; leave it to one of them."
    if (folder / "negatives.txt").is_file():
        owner = {read_features(phrasing).exact: answer.id for answer in answers for phrasing in answer.phrasings}
        for line in read_negatives(folder / "negatives.txt"):
            if form := owner.get(read_features(line).exact):
                yield f"negatives.txt: {line!r} is a phrasing of {form}; remove one of them."


def _unknown_in_facts(world: World) -> Iterator[str]:
    """Placeholders of facts that are no keys of the profile: such a fact is never told."""
    keys = {field.key for field in world.profile}
    for fact in read_facts(world.folder / FACTS):
        for key in placeholders(fact.text):
            if key not in keys:
                yield f"facts {fact.id}: `{{{key}}}` is not in `profile` of world.yaml; add it there or mend it."


def _told_twice(folder: Path) -> Iterator[str]:
    """Words that two facts claim for themselves."""
    owner: dict[str, str] = {}
    for fact in read_facts(folder / FACTS):
        for phrase in (fact.text, *fact.about):
            first = owner.setdefault(read_features(phrase).exact, fact.id)
            if first != fact.id:
                yield f"facts {first} and {fact.id}: both are about {phrase!r}; leave it to one of them."
