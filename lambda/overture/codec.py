"""Frames into messages and messages into frames; both are checked.

`read` turns a client's frame into a `ClientMessage` or raises `ProtocolError` with a sentence that names the field;
`write` turns a `ServerMessage` into text.
"""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec

from overture.protocol import MESSAGE_BYTES, OPENING, Action, ClientMessage, ProtocolError, ServerMessage

_ACTIONS = {str(kind.__struct_config__.tag): kind for kind in get_args(Action)}
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in _ACTIONS.items()}


def read(frame: str | bytes) -> ClientMessage:
    """Reads one frame from a client.

    Raises `ProtocolError` with `code` `bad_json` (not a JSON object), `unknown_action` or `bad_field`;
    `to` is the frame's `id` where it has a usable one, so that the client knows what was refused.
    """
    raw = _parse(frame)
    to = raw.get("id")
    to = to if isinstance(to, str) and 0 < len(to) <= 64 else None
    action = raw.get("action")
    if not isinstance(action, str) or action not in _ACTIONS:
        said = f"{action!r:.40}" if "action" in raw else "missing"
        raise ProtocolError(
            "unknown_action", f"The field `action` is {said}; it must be one of {', '.join(_ACTIONS)}.", to=to
        )
    try:
        message: ClientMessage = _DECODERS[action].decode(frame)
    except msgspec.ValidationError as error:
        raise ProtocolError("bad_field", f"This `{action}` cannot be used: {_explain(str(error))}", to=to) from None
    if getattr(message, "id", None) == OPENING:
        raise ProtocolError(
            "bad_field",
            f"This `{action}` cannot be used: the id `{OPENING}` belongs to the first scene; choose another.",
        )
    return message


def _parse(frame: str | bytes) -> dict[str, Any]:
    if len(frame) > MESSAGE_BYTES:
        raise ProtocolError("bad_json", f"This frame is over {MESSAGE_BYTES} bytes. Send less at once.")
    try:
        raw: Any = msgspec.json.decode(frame)
        if isinstance(raw, dict):
            json.loads(frame, object_pairs_hook=_without_doubles)
    except RecursionError:
        raise ProtocolError("bad_json", "This frame is nested too deeply. Send one flat JSON object.") from None
    except (ValueError, UnicodeError) as error:  # msgspec's are ValueErrors, too
        raise ProtocolError("bad_json", f"This frame is not JSON ({error}). Send one JSON object per frame.") from None
    if not isinstance(raw, dict):
        raise ProtocolError("bad_json", "This frame is JSON, but not an object. Send one JSON object per frame.")
    return raw


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {doubled!r:.40} comes twice")
    return found


#: Made here and not with the first message of a kind: msgspec crashes where two threads meet in making one.
_WRITTEN = {kind: msgspec.json.Decoder(kind) for kind in ServerMessage.__subclasses__()}


def write(message: ServerMessage) -> str:
    """Writes one message for a client. Raises `msgspec.ValidationError` if a field is out of its range."""
    text = msgspec.json.encode(message)
    _WRITTEN[type(message)].decode(text)
    return text.decode()


def _explain(problem: str) -> str:
    """msgspec says "Expected `str`, got `int` - at `$.text`": name the field first instead."""
    what, _, where = problem.partition(" - at ")
    field = where.strip("`").removeprefix("$.").removeprefix("$")
    return f"the field `{field}`: {what[0].lower()}{what[1:]}." if field else f"{what[0].lower()}{what[1:]}."
