"""A world: one content pack, a folder of files a writer can edit, read and checked.

    world.yaml       name, title, what is remembered of a visitor, the line that asks for the opening,
                     examples of replies, a reply's form
    storyteller.md   the storyteller's instructions; a line with a slot such as `{name}` is said of the visitor
    script.yaml      the prologue; or script.ink.json, compiled ink
    answers.yaml     the answer book's source, and
    knowledge.yaml   what is true of the world (both are read when a book is built, not here)

`docs/worlds.md` describes them for writers. Knows how the files must look; what is done with them is
`script`, `prompt` and `book`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from prologue.files import Entry, WorldError, read_text, read_yaml
from prologue.form import ReplyForm
from prologue.ink.content import read_ink
from prologue.ink.script import InkScript
from prologue.script import ProfileField, Script
from prologue.script_file import read_script
from prologue.slots import fill, flatten, names

__all__ = ["ProfileField", "ReplyForm", "World", "WorldError", "load_world"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Example(NamedTuple):
    """A visitor's line and a good reply to it, shown to every model before the story."""

    said: str
    reply: str


@dataclass(frozen=True)
class World:
    """A content pack. `storyteller` is the system prompt; `visitor` are lines with slots, said of the visitor.

    `opening` asks for the first scene. `reply` is the form of every reply; None where the storyteller is free.
    """

    name: str
    title: str
    profile: tuple[ProfileField, ...]
    storyteller: str
    visitor: tuple[str, ...]
    examples: tuple[Example, ...]
    opening: str
    script: Script | InkScript
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

    def describe_visitor(self, profile: Mapping[str, str]) -> str:
        """The lines of `visitor` whose slots are all known, filled; often fewer than there are, maybe none."""
        known = self.known(profile)
        return "\n".join(fill(line, known) for line in self.visitor if set(names(line)) <= known.keys())


def load_world(path: str | Path) -> World:
    """Reads the world in the folder `path`. Raises `WorldError` where a file is missing or wrong."""
    folder = Path(path)
    if not folder.is_dir():
        raise WorldError(f"There is no world in {folder}: give a folder that holds a world.yaml.")
    entry = Entry(read_yaml(folder / "world.yaml"), str(folder / "world.yaml"))
    name = entry.text("name")
    if not _NAME.fullmatch(name):
        raise entry.error(f"`name` is {name!r}; use lower-case letters, digits and _")
    title, opening = entry.text("title"), entry.text("opening")
    fields, examples, reply = _profile(entry), _examples(entry), _reply(entry)
    entry.done()
    storyteller, visitor = _storyteller(folder / "storyteller.md", {field.key for field in fields})
    return World(
        name=name,
        title=title,
        profile=fields,
        storyteller=storyteller,
        visitor=visitor,
        examples=examples,
        opening=opening,
        script=_script(folder, fields),
        folder=folder,
        reply=reply,
    )


def _script(folder: Path, fields: tuple[ProfileField, ...]) -> Script | InkScript:
    written, compiled = folder / "script.yaml", folder / "script.ink.json"
    if not compiled.is_file():
        return read_script(written, fields)
    if written.is_file():
        raise WorldError(f"{compiled}: there is a script.yaml beside it; keep one of them.")
    return InkScript(read_ink(compiled), fields)


def _profile(world: Entry) -> tuple[ProfileField, ...]:
    fields = []
    for place, raw in enumerate(world.items("profile"), 1):
        entry = Entry(raw, f"{world.where}, profile entry {place}")
        key, label, default = entry.key("key"), entry.text("label"), entry.text("default")
        none = frozenset(text.casefold() for text in entry.texts("none"))
        fields.append(ProfileField(key, flatten(label), flatten(default), entry.flag("recalls"), none))
        entry.done()
    if len({field.key for field in fields}) < len(fields):
        raise world.error("`profile` has one key twice; remove one of them")
    return tuple(fields)


def _examples(world: Entry) -> tuple[Example, ...]:
    examples = []
    for place, raw in enumerate(world.items("examples") if world.has("examples") else [], 1):
        entry = Entry(raw, f"{world.where}, example {place}")
        examples.append(Example(entry.text("said"), entry.block("reply")))
        entry.done()
    return tuple(examples)


def _storyteller(path: Path, keys: set[str]) -> tuple[str, tuple[str, ...]]:
    """The instructions, and the lines with slots."""
    fixed, visitor = [], []
    for line in read_text(path).splitlines():
        slots = list(names(line))
        (visitor if slots else fixed).append(line.rstrip())
        for name in slots:
            if name not in keys:
                raise WorldError(
                    f"{path}: the slot {{{name}}} is not in `profile` of world.yaml; add it there or mend it."
                )
    instructions = "\n".join(fixed).strip()
    if not instructions:
        raise WorldError(f"{path} has no instructions: say in it how the storyteller tells the story.")
    return instructions, tuple(line.strip() for line in visitor)


def _reply(world: Entry) -> ReplyForm | None:
    if not world.has("reply"):
        world.take("reply")
        return None
    entry = Entry(world.take("reply"), f"{world.where}, `reply`")
    bounds = entry.items("sentences")
    if len(bounds) != 2 or not all(type(bound) is int for bound in bounds) or not 1 <= bounds[0] <= bounds[1] <= 20:
        raise entry.error("`sentences` must be the least and the most, from 1 to 20, such as [2, 6]")
    choices = entry.number("choices", 0, 6, 0)
    if choices != int(choices):
        raise entry.error("`choices` must be a whole number from 0 to 6")
    entry.done()
    return ReplyForm(bounds[0], bounds[1], int(choices))
