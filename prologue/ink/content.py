"""Compiled ink as it lies in its file: containers, paths to what is in them, and what none of it may be.

The format is inkle's, versions 20 and 21, as their compiler and inkjs's write it:
https://github.com/inkle/ink/blob/master/Documentation/ink_JSON_runtime_format.md
Knows nothing of running it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prologue.files import WorldError, read_text

VERSIONS = (20, 21)
#: What a container counts: visits, turns, and visits only where it is entered at its start.
VISITS, TURNS, START_ONLY = 1, 2, 4

_COMMANDS = """
    ev out /ev du pop ~ret ->-> str /str nop choiceCnt turn turns readc rnd srnd visit seq thread done end # /#
"""
_FUNCTIONS = "+ - / * % _ == > < >= <= != ! && || MIN MAX POW FLOOR CEILING INT FLOAT ? !?"
COMMANDS, FUNCTIONS = frozenset(_COMMANDS.split()), frozenset(_FUNCTIONS.split())


class InkError(Exception):
    """A story that cannot be played as it is: one sentence for its writer."""


class Container:
    """A list of content, some of it named. `path` is its own, from the root."""

    def __init__(self, raw: list[Any], parent: Container | None, path: str, name: str) -> None:
        self.parent, self.path, self.name = parent, path, name
        about = raw[-1] if isinstance(raw[-1], dict) else {}
        self.flags: int = about.get("#f", 0)
        self.content: list[Any] = []
        self.named: dict[str, Container] = {}
        for place, item in enumerate(raw[:-1]):
            if isinstance(item, list):
                own = item[-1].get("#n", "") if isinstance(item[-1], dict) else ""
                item = Container(item, self, _join(path, own or str(place)), own)
                if own:
                    self.named[own] = item
            self.content.append(item)
        for key, item in about.items():
            if not key.startswith("#"):
                self.named[key] = Container(item, self, _join(path, key), key)
        self.index = {id(item): place for place, item in enumerate(self.content) if isinstance(item, Container)}

    def find(self, path: str) -> tuple[Container, int] | None:
        """The pointer to a path from here: a container and a place in it, -1 for the container itself."""
        at: Container = self
        parts = [part for part in path.split(".") if part]
        for number, part in enumerate(parts):
            item: Any
            if part == "^":
                item = at.parent
            elif part.isdigit() and part not in at.named:
                if number == len(parts) - 1:
                    return at, int(part)
                item = at.content[int(part)] if int(part) < len(at.content) else None
            else:
                item = at.named.get(part)
            if not isinstance(item, Container):
                return None
            at = item
        return at, -1

    def walk(self) -> Iterator[Container]:
        """This container and all within it."""
        yield self
        inner = [item for item in self.content if isinstance(item, Container)]
        for item in [*inner, *(named for named in self.named.values() if id(named) not in self.index)]:
            yield from item.walk()


def read_ink(path: Path) -> Container:
    """The root of a compiled story. Raises `WorldError` where it is none, or has what is not supported here."""
    try:
        raw = json.loads(read_text(path))
        version, root = raw["inkVersion"], raw["root"]
        if raw.get("listDefs"):
            raise InkError("it declares a LIST, which is not supported here; use variables instead")
        if version not in VERSIONS:
            raise InkError(
                f"it is ink {version}, and only {' and '.join(map(str, VERSIONS))} are known here; recompile it"
            )
        story = Container(root, None, "", "")
        for container in story.walk():
            for item in container.content:
                _check(item, container.path)
    except InkError as error:
        raise WorldError(f"{path}: {error}.") from None
    except RecursionError:
        raise WorldError(f"{path}: this is nested too deeply to be read; make its weave flatter.") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise WorldError(f"{path}: this is not compiled ink; export it to JSON from Inky, or by `inklecate`.") from None
    return story


_KEYS = ("->", "f()", "->t->", "x()", "*", "VAR?", "CNT?", "VAR=", "temp=", "^->", "^var", "#")


def _check(item: Any, where: str) -> None:
    if isinstance(item, Container | bool | int | float):
        return
    if isinstance(item, str) and (item[:1] in ("^", "\n") or item in COMMANDS | FUNCTIONS | {"<>", "void", "L^"}):
        return
    if isinstance(item, dict) and any(key in item for key in _KEYS):
        return
    shown = json.dumps(item, ensure_ascii=False)[:40]
    raise InkError(f"at {where or 'its beginning'} it has {shown}, which is not supported here (lists are not)")


def _join(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part
