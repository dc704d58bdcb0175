"""A story as Markdown, to be kept. Knows turns, not where they came from."""

from __future__ import annotations

import re
from collections.abc import Iterable

from client.story import Turn


def as_markdown(title: str, turns: Iterable[Turn]) -> str:
    """The lines and replies of a story, in order, as Markdown in which nothing said is taken for markup."""
    parts = [f"# {title}"]
    for turn in turns:
        if turn.said:
            parts.append("\n".join(f"> {_plain(line)}" for line in turn.said.splitlines()))
        for line in turn.reply.splitlines():
            line = line.strip()
            if line.startswith(">") and turn.state != "answered":
                parts.append(f"- {_plain(line[1:].strip())}")
            elif line:
                parts.append(f"*{_plain(line)}*" if turn.state == "answered" else _plain(line))
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    text = re.sub(r"([\\`*_\[\]<>#|~])", r"\\\1", text)
    return re.sub(r"^(\d*)([-+.)])(?=\s)", r"\1\\\2", text)
