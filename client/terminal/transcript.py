"""What is told, as it is shown and as it is kept (Markdown)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from client.session.story import Turn
from client.terminal.story_file import Entry


def as_markdown(title: str, turns: Iterable[Turn], prologue: Sequence[Entry] = ()) -> str:
    """The lines and replies of a story, in order, as Markdown in which nothing said is taken for markup."""
    parts = [f"# {title}"]
    waiting = {turn.id: turn for turn in turns}
    speaker: str | None = None
    for entry in prologue:
        if entry.text:
            if entry.speaker and entry.speaker != speaker:
                parts.append(f"**{_plain(entry.speaker)}**")
            speaker = entry.speaker
            parts.append(_plain(entry.text))
        elif entry.asked:
            parts.append(f"*{_plain(entry.asked)}*")
        elif entry.said:
            parts.append(_quoted(entry.said))
        elif entry.turn in waiting:
            parts += _turn(waiting.pop(entry.turn))
    for turn in waiting.values():
        parts += _turn(turn)
    return "\n\n".join(parts) + "\n"


def without_choices(whole: str, fresh: str) -> str:
    """The fresh end of a reply so far, without its choices, which are offered when it has ended."""
    start = len(whole) - len(fresh)
    kept = ""
    at = 0
    for line in whole.splitlines(keepends=True):
        begin, at = at, at + len(line)
        if at > start and not line.lstrip().startswith(">"):
            kept += line[max(0, start - begin) :]
    return kept


def _turn(turn: Turn) -> list[str]:
    told, choices = turn.parts
    parts = [_quoted(turn.said)] if turn.said else []
    parts += [f"*{_plain(line)}*" if turn.state == "answered" else _plain(line) for line in told]
    return parts + [f"- {_plain(choice)}" for choice in choices]


def _quoted(text: str) -> str:
    return "\n".join(f"> {_plain(line)}" for line in text.splitlines())


def _plain(text: str) -> str:
    text = re.sub(r"([\\`*_\[\]<>#|~])", r"\\\1", text)
    return re.sub(r"^(\d*)([-+.)])(?=\s)", r"\1\\\2", text)
