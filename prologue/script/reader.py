"""Reads a script from its file and refuses what could not be played. The schema is in docs/worlds.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from prologue.placeholders import placeholders
from prologue.script.conditions import Conditions, When, read_when
from prologue.script.player import LONGEST_S, Fragment, ProfileField, Question, Scene, Script, Step
from prologue.yaml_file import Key, OneOrMore, Text, WorldError, as_tuple, one_line, read_yaml, refuse_twice

#: The most code points of one fragment: what can be read before the next one comes.
FRAGMENT_CHARACTERS = 120


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    text: Text
    when: Conditions | None = None
    otherwise: Text | None = msgspec.field(name="else", default=None)
    at: Annotated[float, msgspec.Meta(ge=0, le=60)] | None = None


class _Ask(msgspec.Struct, forbid_unknown_fields=True):
    key: Key
    text: Text
    choices: OneOrMore = ()
    free: bool | None = None
    strip: OneOrMore = ()
    same: dict[str, OneOrMore] = {}
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 60
    refuse: OneOrMore = ()

    def __post_init__(self) -> None:
        choices = as_tuple(self.choices)
        if self.free is False and not choices:
            raise ValueError("`free: false` needs `choices` to choose from")
        if len({choice.casefold() for choice in choices}) < len(choices):
            raise ValueError("`choices` has one choice twice; remove one of them")
        if any(len(choice) > self.limit for choice in choices):
            raise ValueError(f"a choice is longer than `limit`, {self.limit}; shorten it or raise the limit")


class _Go(msgspec.Struct, forbid_unknown_fields=True):
    to: Key
    when: Conditions | None = None


class _Beat(msgspec.Struct, forbid_unknown_fields=True):
    id: Key
    lines: list[Text | _Line] = []
    speaker: Text | None = None
    ask: _Ask | None = None
    when: Conditions | None = None
    optional: bool = False
    once: bool = False
    go: Text | _Go | list[Text | _Go] = []

    def __post_init__(self) -> None:
        if not self.lines and self.ask is None:
            raise ValueError("it has neither `lines` nor `ask`; give it something to say")
        last = 0.0
        for number, line in enumerate(map(_line, self.lines), 1):
            for text in (line.text, line.otherwise or ""):
                if len(one_line(text)) > FRAGMENT_CHARACTERS:
                    raise ValueError(
                        f"its line {number} has {len(text)} characters; split what is over {FRAGMENT_CHARACTERS}"
                    )
            if line.at is None:
                continue
            if not last < line.at <= last + LONGEST_S and number > 1:
                raise ValueError(
                    f"`at` of its line {number} must come after {last:g} and by {last + LONGEST_S:g}, so that the"
                    f" screen is never still for long; found {line.at:g}"
                )
            last = line.at


class _Scene(msgspec.Struct, forbid_unknown_fields=True):
    id: Key
    beats: Annotated[list[_Beat], msgspec.Meta(min_length=1)]
    when: Conditions | None = None
    speaker: Text | None = None


class _Asides(msgspec.Struct, forbid_unknown_fields=True):
    greeting: OneOrMore = ()
    thanks: OneOrMore = ()
    yes: OneOrMore = ()
    no: OneOrMore = ()
    small_talk: OneOrMore = ()
    question: OneOrMore = ()
    story: OneOrMore = ()
    other: OneOrMore = ()

    def __post_init__(self) -> None:
        for kind in self.__struct_fields__:
            for text in as_tuple(getattr(self, kind)):
                if unknown := set(placeholders(text)) - {"said"}:
                    raise ValueError(f"`{kind}` has {{{unknown.pop()}}}; only {{said}} may be used there")
                if len(text) > FRAGMENT_CHARACTERS:
                    raise ValueError(f"a line of `{kind}` has {len(text)} characters; at most {FRAGMENT_CHARACTERS}")


class _Script(msgspec.Struct, forbid_unknown_fields=True):
    scenes: Annotated[list[_Scene], msgspec.Meta(min_length=1)]
    final: _Beat
    fillers: list[_Beat] = []
    late: _Beat | None = None
    speaker: Text | None = None
    asides: _Asides | None = None


def read_script(path: Path, fields: Sequence[ProfileField]) -> Script:
    """The script in the file `path`. Raises `WorldError` naming the file, the beat and the field.

    `fields` are the profile fields of the world: the keys that questions fill and placeholders use.
    """
    raw: _Script = read_yaml(path, _Script)
    final = _step(raw.final, raw.speaker)
    script = Script(
        scenes=tuple(_scene(scene, raw.speaker) for scene in raw.scenes),
        fillers=tuple(_step(beat, raw.speaker) for beat in raw.fillers),
        final=final,
        late=_step(raw.late, raw.speaker) if raw.late else final,
        fields=tuple(fields),
        asides={kind: as_tuple(getattr(raw.asides, kind)) for kind in _Asides.__struct_fields__} if raw.asides else {},
    )
    _check(path, script)
    return script


def _scene(raw: _Scene, speaker: str | None) -> Scene:
    own = raw.speaker or speaker
    return Scene(raw.id, tuple(_step(beat, own) for beat in raw.beats), read_when(raw.when))


def _step(raw: _Beat, speaker: str | None) -> Step:
    go = raw.go if isinstance(raw.go, list) else [raw.go]
    return Step(
        id=raw.id,
        fragments=tuple(_fragment(line) for line in map(_line, raw.lines)),
        speaker=raw.speaker or speaker,
        ask=_question(raw.ask) if raw.ask else None,
        when=read_when(raw.when),
        optional=raw.optional,
        once=raw.once,
        go=tuple((read_when(way.when), way.to) for way in (_Go(w) if isinstance(w, str) else w for w in go)),
    )


def _line(raw: str | _Line) -> _Line:
    return _Line(raw) if isinstance(raw, str) else raw


def _fragment(line: _Line) -> Fragment:
    otherwise = None if line.otherwise is None else one_line(line.otherwise)
    return Fragment(one_line(line.text), read_when(line.when), otherwise, line.at)


def _question(raw: _Ask) -> Question:
    choices = as_tuple(raw.choices)
    return Question(
        key=raw.key,
        text=one_line(raw.text),
        choices=choices,
        free=not choices if raw.free is None else raw.free,
        strip=as_tuple(raw.strip),
        same={value: as_tuple(texts) for value, texts in raw.same.items()},
        limit=raw.limit,
        refuse=tuple(one_line(line) for line in as_tuple(raw.refuse)),
    )


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
        for name in placeholders(text):
            if name not in keys:
                raise WorldError(f"{path}, {where}: `{{{name}}}` is not in `profile` of world.yaml; mend it.")
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
