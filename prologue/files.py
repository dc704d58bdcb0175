"""Reading a world's files, with errors a writer can act on. Knows nothing of what the files mean."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from prologue.errors import WorldError

__all__ = ["KEY", "Entry", "WorldError", "read_text", "read_yaml", "refuse_twice"]

#: Profile keys and the ids of beats, scenes and answers.
KEY = re.compile(r"[a-z][a-z0-9_]{0,31}")


def read_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises `WorldError` where it cannot be read or parsed."""
    try:
        return yaml.load(read_text(path), Loader=_LOADER)  # noqa: S506 (both are safe loaders)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise WorldError(f"{path}{line}: this is not YAML ({problem}); mend that line.") from None
    except RecursionError:
        raise WorldError(f"{path}: this is nested too deeply to be read; make it flat.") from None


def read_text(path: Path) -> str:
    """The text of a file in UTF-8. Raises `WorldError` where it is missing or unreadable."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise WorldError(f"{path} is missing: write it, or give another folder.") from None
    except (OSError, UnicodeError) as error:
        raise WorldError(f"{path} cannot be read ({error}): save it as UTF-8 text that you may read.") from None


def refuse_twice(where: str, ids: Sequence[str]) -> None:
    """Raises `WorldError` for an id that stands twice; `where` names the file and what its entries are."""
    for name, count in Counter(ids).items():
        if count > 1:
            raise WorldError(f"{where} {name}: another {where.rpartition(' ')[2]} has this id; give each its own.")


class Entry:
    """A mapping in a file, and where it stands, so that each refusal can say so.

    Every key must be taken by one of the methods before `done`, which refuses those that were not:
    a misspelt key is an error, never silently nothing.
    """

    def __init__(self, raw: Any, where: str) -> None:
        self.where = where
        if not isinstance(raw, dict):
            raise self.error(f"expected a mapping of keys, found {_kind(raw)}")
        self._raw: dict[Any, Any] = dict(raw)
        self._taken: set[str] = set()

    def error(self, problem: str) -> WorldError:
        """The error that names this place."""
        return WorldError(f"{self.where}: {problem}.")

    def has(self, key: str) -> bool:
        """Whether the key is there with anything in it."""
        return self._raw.get(key) is not None

    def take(self, key: str) -> Any:
        """The raw value, or None."""
        self._taken.add(key)
        return self._raw.get(key)

    def text(self, key: str, default: str | None = None) -> str:
        """A line of text, white space collapsed. Required where there is no default."""
        value = self.take(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool | int | float):
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"`{key}` must be a text, found {_kind(value)}")
        return " ".join(value.split())

    def block(self, key: str) -> str:
        """A text whose line breaks matter. Required."""
        value = self.take(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"`{key}` must be a text, found {_kind(value)}")
        return value.strip()

    def key(self, key: str) -> str:
        """An identifier: lower-case letters, digits and underscores."""
        value = self.text(key)
        if not KEY.fullmatch(value):
            raise self.error(f"`{key}` is {value!r}; use at most 32 lower-case letters, digits and _")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """Yes or no."""
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(f"`{key}` must be true or false, found {_kind(value)}")
        return value

    def number(self, key: str, least: float, most: float, default: float | None = None) -> float:
        """A number within bounds. Required where there is no default."""
        value = self.take(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise self.error(f"`{key}` must be a number from {least:g} to {most:g}, found {_kind(value)}")
        return float(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """Lines of text; one alone may stand without a list; none where the key is missing."""
        value = self.take(key)
        if value is None:
            return ()
        values = value if isinstance(value, list) else [value]
        for item in values:
            if isinstance(item, dict | list) or item is None or not str(item).strip():
                raise self.error(f"`{key}` must be a list of texts, found {_kind(item)} in it")
        return tuple(" ".join(str(item).split()) for item in values)

    def items(self, key: str, least: int = 0) -> list[Any]:
        """A list with at least so many items."""
        value = self.take(key)
        if value is None:
            value = []
        if not isinstance(value, list) or len(value) < least:
            raise self.error(f"`{key}` must be a list" + (f" of {least} or more" if least else ""))
        return value

    def done(self) -> None:
        """Raises `WorldError` for the first key nobody took."""
        for key in self._raw:
            if key not in self._taken:
                known = ", ".join(sorted(self._taken))
                raise self.error(f"`{key}` is not a key that belongs here; the keys are {known}")


def _kind(value: Any) -> str:
    names = {type(None): "nothing", dict: "a mapping", list: "a list", str: "a text"}
    return names.get(type(value), repr(value)) if value != "" else "an empty text"


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
