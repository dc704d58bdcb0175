"""A world: one content pack, a folder of files a writer can edit, read and checked.

    world.yaml       name, title, what is remembered of a visitor, the line that asks for the opening, a reply's form
    storyteller.md   the storyteller's prompt, with a slot such as `{name}` for each thing remembered
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

from prologue.files import Entry, WorldError, read_text, read_yaml
from prologue.form import ReplyForm
from prologue.ink.content import read_ink
from prologue.ink.script import InkScript
from prologue.script import ProfileField, Script
from prologue.script_file import read_script
from prologue.slots import flatten, names

__all__ = ["ProfileField", "ReplyForm", "World", "WorldError", "load_world"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class World:
    """A content pack. `storyteller` is a template with slots; `opening` asks for the first scene.

    `reply` is the form that every reply has; None where the storyteller is free.
    """

    name: str
    title: str
    profile: tuple[ProfileField, ...]
    storyteller: str
    opening: str
    script: Script | InkScript
    folder: Path
    reply: ReplyForm | None = None

    def known(self, profile: Mapping[str, str]) -> dict[str, str]:
        """Every profile key of this world with the visitor's value, flattened, or the default."""
        return {field.key: flatten(profile.get(field.key, "")) or field.default for field in self.profile}


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
    fields, reply = _profile(entry), _reply(entry)
    entry.done()
    return World(
        name=name,
        title=title,
        profile=fields,
        storyteller=_storyteller(folder / "storyteller.md", {field.key for field in fields}),
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
        fields.append(ProfileField(key, flatten(label), flatten(default), entry.flag("recalls")))
        entry.done()
    if len({field.key for field in fields}) < len(fields):
        raise world.error("`profile` has one key twice; remove one of them")
    return tuple(fields)


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


def _storyteller(path: Path, keys: set[str]) -> str:
    template = read_text(path).strip()
    if not template:
        raise WorldError(f"{path} is empty: write the storyteller's prompt in it.")
    for name in names(template):
        if name not in keys:
            raise WorldError(f"{path}: the slot {{{name}}} is not in `profile` of world.yaml; add it there or mend it.")
    return template
