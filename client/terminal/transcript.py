"""A story as Markdown, to be kept. Knows turns, not where they came from."""

from __future__ import annotations

import re
from collections.abc import Iterable

from client.session.story import Turn


def as_markdown(title: str, turns: Iterable[Turn]) -> str:
    """The lines and replies of a story, in order, as Markdown in which nothing said is taken for markup."""
    parts = [f"# {title}"]
    for turn in turns:
        if turn.said:
            parts.append("\n".join(f"> {_plain(line)}" for line in turn.said.splitlines()))
        told, choices = turn.parts
        parts += [f"*{_plain(line)}*" if turn.state == "answered" else _plain(line) for line in told]
        parts += [f"- {_plain(choice)}" for choice in choices]
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    text = re.sub(r"([\\`*_\[\]<>#|~])", r"\\\1", text)
    return re.sub(r"^(\d*)([-+.)])(?=\s)", r"\1\\\2", text)
