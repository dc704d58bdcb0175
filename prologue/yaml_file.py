"""Reads a world's YAML files into msgspec types, with errors that a writer can act on.

Every error is one sentence that names the file, the line, the entry and the field. Files come from
strangers: size and nesting are limited, aliases and links that leave the folder are refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import yaml

from prologue.errors import WorldError

__all__ = ["Key", "OneOrMore", "Text", "WorldError", "as_tuple", "one_line", "read_text", "read_yaml", "refuse_twice"]

T = TypeVar("T")

#: A text with something in it: blank ones are read as empty. (YAML reads an unquoted `yes` or `12` as another type:
#: that is an error.) A pattern would say it at once, but msgspec 0.22 frees a text with a pattern wrongly where it
#: stands in a union with a list, and the process dies when it ends.
Text = Annotated[str, msgspec.Meta(min_length=1)]
#: Profile keys and the ids of beats, scenes, answers and facts.
Key = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
#: One text alone may stand without a list.
OneOrMore = Text | tuple[Text, ...]

#: Far above what any world needs, far below what would exhaust a small function.
MOST_BYTES, MOST_DEPTH = 32 * 1024 * 1024, 24

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KINDS = {"str": "a text", "bool": "true or false", "int": "a whole number", "float": "a number", "null": "nothing",
          "array": "a list", "object": "a mapping of keys"}  # fmt: skip


def read_yaml(path: Path, kind: type[T] | Any) -> T:
    """The content of a YAML file as `kind`. Raises `WorldError`."""
    text = read_text(path)
    try:
        _check_events(path, yaml.parse(text, Loader=_LOADER))
        loader = _LOADER(text)
        node = loader.get_single_node()
        if node is not None:
            _check_node(path, node)
        raw = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise WorldError(f"{path}{line}: this is not YAML ({problem}); correct that line.") from None
    except ValueError as error:  # such as the date 2026-13-01
        raise WorldError(f"{path} has a value that cannot be read ({error}); put it in quotes.") from None
    if node is None:
        raise WorldError(f"{path} is empty; docs/worlds.md says what belongs in it.")
    try:
        found: T = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise WorldError(_explain(path, node, str(error))) from None
    return found


def read_text(path: Path) -> str:
    """The text of a file in UTF-8. Raises `WorldError` where it is missing or unreadable."""
    try:
        if path.resolve(strict=True).parent != path.parent.resolve():
            raise WorldError(f"{path} is a link that leaves its folder; put the file itself there.")
        if not path.is_file():
            raise WorldError(f"{path} is not a file; put a text file there.")
        if path.stat().st_size > MOST_BYTES:
            raise WorldError(f"{path} has more than {MOST_BYTES >> 20} MB; split the world, or remove what is no text.")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise WorldError(f"{path} is missing: write it, or give another folder.") from None
    except (OSError, UnicodeError, RuntimeError) as error:
        raise WorldError(f"{path} cannot be read ({error}): save it as UTF-8 text that you may read.") from None


def refuse_twice(where: str, ids: Sequence[str]) -> None:
    """Raises `WorldError` for an id that occurs twice; `where` names the file and what its entries are."""
    for name, count in Counter(ids).items():
        if count > 1:
            raise WorldError(f"{where} {name}: another {where.rpartition(' ')[2]} has this id; give each its own.")


def as_tuple(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """The texts of a `OneOrMore`, each on one line; none for None."""
    return tuple(map(one_line, () if value is None else [value] if isinstance(value, str) else value))


def one_line(text: str) -> str:
    """The text with white space collapsed."""
    return " ".join(text.split())


def _check_events(path: Path, events: Iterator[Any]) -> None:
    """Refuses deep nesting (libyaml's composer recurses until the stack is gone) and aliases (which multiply)."""
    depth = 0
    for event in events:
        if isinstance(event, yaml.events.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.events.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.events.AliasEvent):
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise WorldError(f"{path}, line {line}: `*{event.anchor}` is an alias; write the content out instead.")
        if depth > MOST_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise WorldError(f"{path}, line {line}: more than {MOST_DEPTH} levels are nested here; make it flat.")


def _check_node(path: Path, node: Any) -> None:
    """Refuses a key that occurs twice in a mapping, and empties blank texts."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise WorldError(f"{path}, line {line}: `{key.value}` occurs twice in one entry; remove one of them.")
            if isinstance(key.value, str):
                seen.add(key.value)
            _check_node(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_node(path, value)
    elif node.value.isspace():
        node.value = ""


def _explain(path: Path, root: Any, message: str) -> str:
    """The sentence for an error of msgspec, with the line that its path leads to."""
    problem, _, at = message.partition(" - at `$")
    if problem.endswith("`") and " - at `key` in `$" in message:
        problem, _, at = message.partition(" - at `key` in `$")
    node, entries, field = root, [], ""
    for name, number in re.findall(r"\.([^.\[`]+)|\[(\d+|\.\.\.)\]", at):
        found = _child(node, name or number)
        if found is None:
            break
        node, field = found, name or field
        entry = _child(node, "id") or _child(node, "key")
        if isinstance(entry, yaml.ScalarNode):
            entries.append(entry.value)
    named = re.search(r"unknown field `(.+)`", problem)
    mark = next(
        (key.start_mark for key, _ in node.value if key.value == named[1]) if named else iter(()), node.start_mark
    )
    place = f", {' / '.join(entries)}" if entries else ""
    return f"{path}, line {mark.line + 1}{place}: {_say(problem, field)}."


def _child(node: Any, step: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and step.isdigit():
        return node.value[int(step)]
    return None


def _say(problem: str, field: str) -> str:
    """One of msgspec's messages in the words of a writer. What a `__post_init__` raised is a sentence already."""
    name = f"`{field}`" if field else "this"
    if found := re.fullmatch(r"Object missing required field `(.+)`", problem):
        return f"`{found[1]}` is missing; write it"
    if found := re.fullmatch(r"Object contains unknown field `(.+)`", problem):
        return f"`{found[1]}` is not a key that belongs here; correct or remove it (docs/worlds.md lists the keys)"
    if found := re.fullmatch(r"Expected `(.+)`, got `(.+)`", problem):
        wanted = " or ".join(dict.fromkeys(_KINDS.get(kind.strip(), kind.strip()) for kind in found[1].split("|")))
        quote = "; put it in quotes" if "str" in found[1] and found[2] in ("bool", "int", "float", "date") else ""
        return f"{name} must be {wanted}, found {_KINDS.get(found[2], found[2])}{quote}"
    if found := re.fullmatch(r"Expected `array` of length >= (\d+)", problem):
        return f"{name} must be a list of {found[1]} or more"
    if problem == "Expected `str` of length >= 1":
        return f"{name} is an empty text; write something or leave the key out"
    if problem.startswith("Expected `str` matching regex"):
        if found := re.search(r"\^\(([a-z|]+)\)\$", problem):
            return f"{name} may be {found[1].replace('|', ' or ')}"
        return f"{name} may have at most 32 lower-case letters, digits and _, and begins with a letter"
    if found := re.fullmatch(r"Expected `(?:int|float)` (>=|<=) (.+)", problem):
        return f"{name} must be {'at least' if found[1] == '>=' else 'at most'} {float(found[2]):g}"
    return problem
