"""Puts a visitor's words safely inside ours.

A template has placeholders such as `{name}`. They are filled in one pass, so a value that looks like a
placeholder stays plain text; and a value is always one line of bounded length, so no visitor can add a
line to a prompt or a page to a speech.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

#: The longest value, in code points.
VALUE_CHARACTERS = 80

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")
#: What older chat templates write as plain text around a turn: `[INST]`, `<<SYS>>`. (Control tokens such as
#: `<|im_end|>` need no care here: the tokenizer never makes one out of a visitor's text.)
_MARKER = re.compile(r"<(?=<SYS|</SYS|/?SYS>)|\[(?=/?INST\])", re.IGNORECASE)
_JOINER = "\u200d"  # holds emoji such as families together


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with each `{key}` replaced by `flatten(values[key])`. Raises `KeyError` for one without value."""
    return _PLACEHOLDER.sub(lambda match: flatten(values[match[1]]), template)


def fill_known(templates: Iterable[str], values: Mapping[str, str]) -> list[str]:
    """The templates whose placeholders all have a value, filled."""
    return [fill(template, values) for template in templates if set(placeholders(template)) <= values.keys()]


def placeholders(template: str) -> Iterator[str]:
    """The keys of the placeholders of a template, in order, repeats included."""
    return (match[1] for match in _PLACEHOLDER.finditer(template))


def flatten(text: str, limit: int = VALUE_CHARACTERS) -> str:
    """The text as one clean line of at most `limit` code points, clipped at a word where there is one near the end."""
    line = " ".join(clean(text).split())
    if len(line) <= limit:
        return line
    cut = line[: limit - 1]
    word = cut.rfind(" ")
    return (cut[:word] if word >= limit // 2 else cut).rstrip() + "…"


def clean(text: str) -> str:
    """The text without control characters, invisible marks, lone surrogates and chat markers; line breaks stay."""
    kept = []
    for character in text.replace("\r\n", "\n"):
        category = unicodedata.category(character)
        if character == "\n" or character == _JOINER:
            kept.append(character)
        elif category in ("Cc", "Zl", "Zp"):
            kept.append("\n" if category[0] == "Z" else " ")
        elif category[0] != "C":
            kept.append(character)
    return _MARKER.sub(lambda match: match[0] + " ", "".join(kept)).strip()
