"""Reads a script from its file and refuses what could not be played. The schema is in docs/worlds.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prologue.conditions import When, read_when
from prologue.files import Entry, WorldError, read_yaml, refuse_twice
from prologue.script import LONGEST_S, Fragment, ProfileField, Question, Scene, Script, Step
from prologue.slots import names

#: The most code points of one fragment: what can be read before the next one comes.
FRAGMENT_CHARACTERS = 120


def read_script(path: Path, fields: Sequence[ProfileField]) -> Script:
    """The script in the file `path`. Raises `WorldError` naming the file, the beat and the field.

    `fields` are the profile fields of the world: the keys that questions fill and slots use.
    """
    entry = Entry(read_yaml(path), str(path))
    speaker = entry.text("speaker", "") or None
    scenes = tuple(
        _scene(raw, f"{path}, scene {place}", speaker) for place, raw in enumerate(entry.items("scenes", least=1), 1)
    )
    fillers = tuple(
        _step(raw, f"{path}, filler {place}", speaker) for place, raw in enumerate(entry.items("fillers"), 1)
    )
    if not entry.has("final"):
        raise entry.error("`final` is missing; write the beat that opens the curtain")
    final = _step(entry.take("final"), f"{path}, final", speaker)
    late = _step(entry.take("late"), f"{path}, late", speaker) if entry.has("late") else final
    entry.take("late")
    entry.done()
    script = Script(scenes, fillers, final, late, tuple(fields))
    _check(path, script)
    return script


def _scene(raw: Any, where: str, speaker: str | None) -> Scene:
    entry = Entry(raw, where)
    name = entry.key("id")
    where = f"{where} ({name})"
    when = read_when(entry.take("when"), where)
    own = entry.text("speaker", speaker or "") or None
    steps = tuple(_step(b, f"{where}, beat {place}", own) for place, b in enumerate(entry.items("beats", least=1), 1))
    entry.done()
    return Scene(name, steps, when)


def _step(raw: Any, where: str, speaker: str | None) -> Step:
    entry = Entry(raw, where)
    name = entry.key("id")
    entry.where = where = f"{where} ({name})"
    fragments = tuple(_fragment(line, f"{where}, line {n}") for n, line in enumerate(entry.items("lines"), 1))
    ask = _question(entry.take("ask"), f"{where}, ask") if entry.has("ask") else None
    entry.take("ask")
    step = Step(
        id=name,
        fragments=fragments,
        speaker=entry.text("speaker", speaker or "") or None,
        ask=ask,
        when=read_when(entry.take("when"), where),
        optional=entry.flag("optional"),
        once=entry.flag("once"),
        go=_go(entry.take("go"), where),
    )
    entry.done()
    if not fragments and ask is None:
        raise entry.error("it has neither `lines` nor `ask`; give it something to say")
    last = 0.0
    for number, fragment in enumerate(fragments, 1):
        if fragment.at_s is None:
            continue
        if not last < fragment.at_s <= last + LONGEST_S and number > 1:
            raise WorldError(
                f"{where}, line {number}: `at` must come after {last:g} and by {last + LONGEST_S:g}, so that the screen"
                f" is never still for long; found {fragment.at_s:g}."
            )
        last = fragment.at_s
    return step


def _fragment(raw: Any, where: str) -> Fragment:
    if not isinstance(raw, dict):
        raw = {"text": raw}
    entry = Entry(raw, where)
    fragment = Fragment(
        text=entry.text("text"),
        when=read_when(entry.take("when"), where),
        otherwise=entry.text("else") if entry.has("else") else None,
        at_s=entry.number("at", 0, 60) if entry.has("at") else None,
    )
    entry.take("else"), entry.take("at")
    entry.done()
    for text in (fragment.text, fragment.otherwise or ""):
        if len(text) > FRAGMENT_CHARACTERS:
            raise WorldError(f"{where}: it has {len(text)} characters; split what is over {FRAGMENT_CHARACTERS}.")
    return fragment


def _question(raw: Any, where: str) -> Question:
    entry = Entry(raw, where)
    choices = entry.texts("choices")
    same = None
    if entry.has("same"):
        given = entry.take("same")
        inner = Entry(given, f"{where}, same")
        same = {str(value): inner.texts(value) for value in given}
    entry.take("same")
    question = Question(
        key=entry.key("key"),
        text=entry.text("text"),
        choices=choices,
        free=entry.flag("free", default=not choices),
        strip=entry.texts("strip"),
        same=same,
        limit=int(entry.number("limit", 1, 200, default=60)),
    )
    entry.done()
    if not question.free and not choices:
        raise entry.error("`free: false` needs `choices` to choose from")
    if len({choice.casefold() for choice in choices}) < len(choices):
        raise entry.error("`choices` has one choice twice; remove one of them")
    if any(len(choice) > question.limit for choice in choices):
        raise entry.error(f"a choice is longer than `limit`, {question.limit}; shorten it or raise the limit")
    return question


def _go(raw: Any, where: str) -> tuple[tuple[When, str], ...]:
    if raw is None:
        return ()
    found = []
    for item in raw if isinstance(raw, list) else [raw]:
        entry = Entry(item if isinstance(item, dict) else {"to": item}, f"{where}, go")
        found.append((read_when(entry.take("when"), f"{where}, go"), entry.key("to")))
        entry.done()
    return tuple(found)


def _check(path: Path, script: Script) -> None:
    """That every name in the script exists, and only once."""
    refuse_twice(f"{path}, beat", [step.id for step in script.steps()])
    refuse_twice(f"{path}, scene", [scene.id for scene in script.scenes])
    beats = {step.id for step in script.steps()}
    scenes = {scene.id for scene in script.scenes}
    for scene in script.scenes:
        _check_when(path, f"scene {scene.id}", scene.when, script, beats)
    for step in script.steps():
        _check_step(path, step, script, beats, scenes)
    for step in script.fillers:
        if step.ask is not None:
            raise WorldError(f"{path}, beat {step.id}: a filler cannot have `ask`; put the question in a scene.")
    for step in (script.final, script.late):
        if step.ask is not None or step.go or step.when.any:
            raise WorldError(f"{path}, beat {step.id}: the last beat takes no `ask`, `go` or `when`; remove it.")
        if not any(not fragment.when.any or fragment.otherwise for fragment in step.fragments):
            raise WorldError(f"{path}, beat {step.id}: the last beat needs a line without `when`; add one.")


def _check_step(path: Path, step: Step, script: Script, beats: set[str], scenes: set[str]) -> None:
    keys = {field.key for field in script.fields}
    where = f"beat {step.id}"
    _check_when(path, where, step.when, script, beats)
    texts = [step.ask.text] if step.ask else []
    for fragment in step.fragments:
        _check_when(path, where, fragment.when, script, beats)
        texts += [fragment.text, fragment.otherwise or ""]
    for text in texts:
        for name in names(text):
            if name not in keys:
                raise WorldError(f"{path}, {where}: the slot {{{name}}} is not in `profile` of world.yaml; mend it.")
    if step.ask is not None and step.ask.key not in keys:
        raise WorldError(f"{path}, {where}, ask: `key` {step.ask.key!r} is not in `profile` of world.yaml; add it.")
    for when, scene in step.go:
        _check_when(path, where, when, script, beats)
        if scene not in scenes:
            raise WorldError(f"{path}, {where}, go: there is no scene {scene!r}; name one that exists.")


def _check_when(path: Path, where: str, when: When, script: Script, beats: set[str]) -> None:
    for key in sorted(when.profile_keys() - {field.key for field in script.fields}):
        raise WorldError(f"{path}, {where}, when: {key!r} is not in `profile` of world.yaml; add it or mend it.")
    for beat in sorted(when.beats() - beats):
        raise WorldError(f"{path}, {where}, when: there is no beat {beat!r}; name one that exists.")
