"""A world: one content pack, a folder of files a writer can edit, read and checked.

    world.yaml       name, title, what is remembered of a visitor, the line that asks for the opening
    storyteller.md   the storyteller's prompt, with a slot such as `{name}` for each thing remembered
    script.yaml      the prologue
    answers.yaml     the answer book's source (read when a book is built, not here)

Knows how the files must look; what is done with them is `script`, `prompt` and `book`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from prologue.slots import flatten, names

_KEY = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class WorldError(Exception):
    """A file of a world that cannot be used: one sentence naming the file, the place and the remedy."""


@dataclass(frozen=True)
class ProfileField:
    """One thing a world remembers of a visitor; `default` stands in the prompt while it is unknown."""

    key: str
    label: str
    default: str


@dataclass(frozen=True)
class World:
    """A content pack. `storyteller` is a template with slots; `opening` asks for the first scene."""

    name: str
    title: str
    profile: tuple[ProfileField, ...]
    storyteller: str
    opening: str
    folder: Path

    def known(self, profile: Mapping[str, str]) -> dict[str, str]:
        """Every profile key of this world with the visitor's value, flattened, or the default."""
        return {field.key: flatten(profile.get(field.key, "")) or field.default for field in self.profile}


def load_world(path: str | Path) -> World:
    """Reads the world in the folder `path`. Raises `WorldError` where a file is missing or wrong."""
    folder = Path(path)
    if not folder.is_dir():
        raise WorldError(f"There is no world in {folder}: give a folder that holds a world.yaml.")
    raw = read_yaml(folder / "world.yaml")
    if not isinstance(raw, dict):
        raise WorldError(f"{folder / 'world.yaml'}: it must be a mapping with name, title, profile and opening.")
    name = _text(raw, "name", folder)
    if not _NAME.fullmatch(name):
        raise WorldError(f"{folder / 'world.yaml'}: `name` is {name!r}; use lower-case letters, digits and _.")
    fields = _profile(raw, folder)
    return World(
        name=name,
        title=_text(raw, "title", folder),
        profile=fields,
        storyteller=_storyteller(folder, {field.key for field in fields}),
        opening=_text(raw, "opening", folder),
        folder=folder,
    )


def read_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises `WorldError` where it cannot be read or parsed."""
    try:
        return yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise WorldError(f"{path}{line}: this is not YAML ({problem}); mend that line.") from None


def read_text(path: Path) -> str:
    """The text of a file in UTF-8. Raises `WorldError` where it is missing or unreadable."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise WorldError(f"{path} is missing: a world needs it.") from None
    except (OSError, UnicodeError) as error:
        raise WorldError(f"{path} cannot be read ({error}): save it as UTF-8 text that you may read.") from None


def _text(raw: dict[Any, Any], key: str, folder: Path) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not value.strip():
        raise WorldError(f"{folder / 'world.yaml'}: `{key}` is missing or empty; give it a line of text.")
    return " ".join(value.split())


def _profile(raw: dict[Any, Any], folder: Path) -> tuple[ProfileField, ...]:
    where = folder / "world.yaml"
    entries = raw.get("profile", [])
    if not isinstance(entries, list):
        raise WorldError(f"{where}: `profile` must be a list of {{key, label, default}}.")
    fields = []
    for place, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or not all(isinstance(entry.get(k), str) for k in ("key", "label", "default")):
            raise WorldError(f"{where}: entry {place} of `profile` needs key, label and default, each a text.")
        if not _KEY.fullmatch(entry["key"]):
            raise WorldError(f"{where}: `profile` key {entry['key']!r}; use lower-case letters, digits and _.")
        fields.append(ProfileField(entry["key"], flatten(entry["label"]), flatten(entry["default"])))
    if len({field.key for field in fields}) < len(fields):
        raise WorldError(f"{where}: `profile` has one key twice; remove one of them.")
    return tuple(fields)


def _storyteller(folder: Path, keys: set[str]) -> str:
    path = folder / "storyteller.md"
    template = read_text(path).strip()
    if not template:
        raise WorldError(f"{path} is empty: write the storyteller's prompt in it.")
    for name in names(template):
        if name not in keys:
            raise WorldError(f"{path}: the slot {{{name}}} is not in `profile` of world.yaml; add it there or mend it.")
    return template
