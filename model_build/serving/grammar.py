"""What a request says about the form of its answer, as a grammar for the engine.

OpenAI's `response_format`, and vLLM's fields: `structured_outputs` with `json`, `regex`, `choice` or `grammar`
in it, or, as older versions spell them, `guided_json` and so on. At most one of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from storyteller.engine import EngineError, Grammar


def read_grammar(body: Mapping[str, Any]) -> Grammar | None:
    """The grammar of a request; None where its answer is free. Raises EngineError, in a sentence."""
    asked = {f"guided_{kind}": (kind, body.get(f"guided_{kind}")) for kind in _KINDS}
    structured = body.get("structured_outputs")
    if structured is not None:
        if not isinstance(structured, dict) or not set(structured) <= set(_KINDS):
            raise EngineError(f"structured_outputs must be an object with one of {', '.join(_KINDS)}.")
        asked |= {f"structured_outputs.{kind}": (kind, value) for kind, value in structured.items()}
    found = {name: (kind, value) for name, (kind, value) in asked.items() if value is not None}
    schema = _response_format(body.get("response_format"))
    if schema is not None:
        found["response_format"] = ("json", schema)
    if len(found) > 1:
        raise EngineError(f"{' and '.join(found)} are given at once: give one of them.")
    for name, (kind, value) in found.items():
        return _KINDS[kind](name, value)
    return None


def _response_format(value: Any) -> Any:
    """The JSON schema that `response_format` asks for; None for plain text."""
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    if kind == "json_schema":
        wrapped = value.get("json_schema")
        schema = wrapped.get("schema") if isinstance(wrapped, dict) else None
        if not isinstance(schema, dict):
            raise EngineError("response_format.json_schema.schema must be a JSON schema: give an object.")
        return schema
    raise EngineError("response_format must be an object whose type is text, json_object or json_schema.")


def _json(name: str, value: Any) -> Grammar:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise EngineError(f"{name} is no JSON: give a JSON schema.") from None
    if not isinstance(value, dict):
        raise EngineError(f"{name} must be a JSON schema: give an object.")
    return Grammar("json_schema", json.dumps(value))


def _regex(name: str, value: Any) -> Grammar:
    return Grammar("regex", _text(name, value, "a regular expression"))


def _lark(name: str, value: Any) -> Grammar:
    return Grammar("lark", _text(name, value, "a grammar in Lark or GBNF"))


def _choice(name: str, value: Any) -> Grammar:
    if not isinstance(value, list) or not value or not all(isinstance(text, str) and text for text in value):
        raise EngineError(f"{name} must be a list of texts, none of them empty.")
    return Grammar("lark", "start: " + " | ".join(json.dumps(text, ensure_ascii=False) for text in value))


def _text(name: str, value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise EngineError(f"{name} must be {what}: give a text.")
    return value


_KINDS: dict[str, Callable[[str, Any], Grammar]] = {"json": _json, "regex": _regex, "choice": _choice, "grammar": _lark}
