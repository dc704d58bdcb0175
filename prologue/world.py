"""A world: one content pack, a folder of files a writer can edit, read and checked.

    world.yaml       name, title, what is remembered of a visitor, the line that asks for the opening,
                     examples of replies, the form of a reply
    storyteller.md   the storyteller's instructions; a line with a placeholder such as `{name}` is said of the visitor
    script.yaml      the prologue
    answers.yaml     questions and their written answers, and
    facts.yaml       what is true of the world (both are read when an index is built, not here)

`docs/worlds.md` describes them for writers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from prologue.form import ReplyForm
from prologue.placeholders import flatten, placeholders
from prologue.script.player import ProfileField, Script
from prologue.script.reader import read_script
from prologue.yaml_file import Key, OneOrMore, Text, WorldError, as_tuple, one_line, read_text, read_yaml

__all__ = ["ProfileField", "ReplyForm", "World", "WorldError", "load_world"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Example(NamedTuple):
    """A visitor's line and a good reply to it, shown to every model before the story."""

    said: str
    reply: str


@dataclass(frozen=True)
class World:
    """A content pack. `storyteller` is the system prompt; `visitor` are lines with placeholders, about the visitor.

    `opening` asks for the first scene. `reply` is the form of every reply; None where the storyteller is free.
    """

    name: str
    title: str
    profile: tuple[ProfileField, ...]
    storyteller: str
    visitor: tuple[str, ...]
    examples: tuple[Example, ...]
    opening: str
    script: Script
    folder: Path
    reply: ReplyForm | None = None

    def known(self, profile: Mapping[str, str]) -> dict[str, str]:
        """What the visitor has said of themselves, flattened; what means nothing ("nobody") is left out."""
        values = {field.key: flatten(profile.get(field.key, "")) for field in self.profile}
        return {
            field.key: values[field.key]
            for field in self.profile
            if values[field.key] and values[field.key].casefold() not in field.none
        }


_Sentences = Annotated[int, msgspec.Meta(ge=1, le=20)]


class _Field(msgspec.Struct, forbid_unknown_fields=True):
    key: Key
    label: Text
    default: Text
    recalls: bool = False
    none: OneOrMore = ()


class ExampleEntry(msgspec.Struct, forbid_unknown_fields=True):
    """An example as a YAML file has it."""

    said: Text
    reply: Text

    def read(self) -> Example:
        """It without needless white space."""
        return Example(one_line(self.said), self.reply.strip())


class _Reply(msgspec.Struct, forbid_unknown_fields=True):
    sentences: tuple[_Sentences, _Sentences]
    choices: Annotated[int, msgspec.Meta(ge=0, le=6)] = 0

    def __post_init__(self) -> None:
        if self.sentences[0] > self.sentences[1]:
            raise ValueError("`sentences` must be the least and the most, such as [2, 6]")


class _World(msgspec.Struct, forbid_unknown_fields=True):
    name: Text
    title: Text
    opening: Text
    profile: list[_Field] = []
    examples: list[ExampleEntry] = []
    reply: _Reply | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"`name` is {self.name!r}; use lower-case letters, digits and _")
        if len({field.key for field in self.profile}) < len(self.profile):
            raise ValueError("`profile` has one key twice; remove one of them")


def load_world(path: str | Path) -> World:
    """Reads the world in the folder `path`. Raises `WorldError` where a file is missing or wrong."""
    folder = Path(path)
    if not folder.is_dir():
        raise WorldError(f"There is no world in {folder}: give a folder that holds a world.yaml.")
    raw: _World = read_yaml(folder / "world.yaml", _World)
    fields = tuple(
        ProfileField(
            field.key,
            flatten(field.label),
            flatten(field.default),
            field.recalls,
            frozenset(text.casefold() for text in as_tuple(field.none)),
        )
        for field in raw.profile
    )
    storyteller, visitor = _storyteller(folder / "storyteller.md", {field.key for field in fields})
    return World(
        name=raw.name,
        title=one_line(raw.title),
        profile=fields,
        storyteller=storyteller,
        visitor=visitor,
        examples=tuple(example.read() for example in raw.examples),
        opening=one_line(raw.opening),
        script=read_script(folder / "script.yaml", fields),
        folder=folder,
        reply=ReplyForm(*raw.reply.sentences, raw.reply.choices) if raw.reply else None,
    )


def _storyteller(path: Path, keys: set[str]) -> tuple[str, tuple[str, ...]]:
    """The instructions, and the lines with placeholders."""
    fixed: list[str] = []
    visitor: list[str] = []
    for line in read_text(path).splitlines():
        keys_used = list(placeholders(line))
        (visitor if keys_used else fixed).append(line.rstrip())
        for name in keys_used:
            if name not in keys:
                raise WorldError(f"{path}: `{{{name}}}` is not in `profile` of world.yaml; add it there or mend it.")
    instructions = "\n".join(fixed).strip()
    if not instructions:
        raise WorldError(f"{path} has no instructions: say in it how the storyteller tells the story.")
    return instructions, tuple(line.strip() for line in visitor)
