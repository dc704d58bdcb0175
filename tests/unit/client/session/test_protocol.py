"""The clients' protocol types are the server's, field by field; and both clients speak the same protocol."""

from __future__ import annotations

import re
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from client.session import protocol
from overture import protocol as wire

WEB = Path(__file__).parents[4] / "client" / "web"


def shape(kind: Any) -> Any:
    """A type without the bounds of its values; a structure as its tag, and its fields' names, types and defaults."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind)
        fields = [(field.name, shape(hints[field.name]), default(field)) for field in msgspec.structs.fields(kind)]
        return kind.__struct_config__.tag, fields
    if get_origin(kind):
        origin = Union if get_origin(kind) is UnionType else get_origin(kind)
        return origin, [shape(part) for part in get_args(kind)]
    return kind


def default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def messages(module: Any) -> dict[str, Any]:
    kinds = module.ServerMessage.__subclasses__()
    return {str(kind.__struct_config__.tag): kind for kind in kinds}


@pytest.mark.parametrize("tag", messages(wire))
def test_a_message_has_the_same_fields_on_both_sides(tag: str) -> None:
    assert shape(messages(protocol)[tag]) == shape(messages(wire)[tag])


def test_the_client_reads_every_message_and_no_other() -> None:
    assert set(messages(protocol)) == set(messages(wire)) == set(protocol.MESSAGES)


def test_constants_agree() -> None:
    names = ("PROTOCOL", "MESSAGE_BYTES", "LINE_CHARACTERS", "OPENING")
    assert {name: getattr(protocol, name) for name in names} == {name: getattr(wire, name) for name in names}


@pytest.mark.parametrize(
    ("file", "name", "value"),
    [
        ("session/session.js", "PROTOCOL", wire.PROTOCOL),
        ("session/queue.js", "LINE_CHARACTERS", wire.LINE_CHARACTERS),
        ("session/story.js", "OPENING", wire.OPENING),
    ],
)
def test_the_pages_constants_agree(file: str, name: str, value: object) -> None:
    found = re.search(rf"export const {name} = (.+);", (WEB / file).read_text())
    assert found is not None
    assert found.group(1).strip('"').replace("_", "") == str(value)


def test_an_unknown_message_is_skipped_and_a_broken_one_is_refused() -> None:
    assert protocol.read('{"type": "confetti", "colour": "green"}') is None
    assert protocol.read('{"type": "ok", "to": "a", "new": 1}') == protocol.Ok("a")
    for broken in ("{", "[]", '{"type": "ok"}', '{"type": "token", "to": "a", "take": "b"}'):
        with pytest.raises(msgspec.DecodeError):
            protocol.read(broken)
