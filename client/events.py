"""What happens in a play, as a screen needs to hear it, and why a connection ended, in a sentence.

Changes of the story's text (`Told`, `Anew`, `Ended` …) are in `client.story`. This module knows no
socket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from client.story import Turn

CONNECTION_LIMIT_S = 2 * 60 * 60
IDLE_LIMIT_S = 10 * 60


@dataclass(frozen=True, slots=True)
class Line:
    """A fragment of speech, to be shown `at_s` seconds after its beat began."""

    text: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Ask:
    """A question of the prologue; no `choices`: any reply will do."""

    key: str
    text: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Beat:
    """One step of the prologue: it runs to its question or its end."""

    id: str
    speaker: str | None
    lines: tuple[Line, ...]
    ask: Ask | None
    final: bool

    @classmethod
    def read(cls, frame: dict[str, Any]) -> Self:
        """From a `beat` frame. Raises `KeyError` or `TypeError` where it is none."""
        ask = frame.get("ask")
        return cls(
            id=frame["id"],
            speaker=frame.get("speaker"),
            lines=tuple(Line(line["text"], float(line["at_s"])) for line in frame["lines"]),
            ask=Ask(ask["key"], ask["text"], tuple(ask.get("choices") or ())) if ask else None,
            final=frame["final"],
        )

    @property
    def length_s(self) -> float:
        """When its last line has been read: at a silent reader's 18 characters a second, 1.2 to 2.5 s."""
        if not self.lines:
            return 0.0
        last = max(self.lines, key=lambda line: line.at_s)
        return last.at_s + min(2.5, max(1.2, len(last.text) / 18))


@dataclass(frozen=True, slots=True)
class Field:
    """One thing the world remembers of a visitor: how it is called, and what stands in for it."""

    label: str
    default: str


@dataclass(frozen=True, slots=True)
class Wake:
    """How far the storyteller has woken: `state` is waking, queued, ready or failed."""

    state: str
    progress: float | None = None
    eta_s: float | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """The connection is `opening`, `open`, `lost`, `taken` or `closed`; `retry_s` until the next try."""

    state: str
    sentence: str = ""
    retry_s: float | None = None


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The server has said hello. `again`: on a connection that was open already."""

    resumed: bool
    world: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class BeatCame:
    """The next step of the prologue. Its pace is the screen's business."""

    beat: Beat


@dataclass(frozen=True, slots=True)
class Woke:
    """The storyteller's waking has moved on."""

    wake: Wake


@dataclass(frozen=True, slots=True)
class AnswerCame:
    """The book has answered a line: `turn.reply`, and `turn.answer` for what it was matched by."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Earlier:
    """Older turns have come; none: this is the beginning."""

    turns: list[Turn]


@dataclass(frozen=True, slots=True)
class Failed:
    """Something was refused or went wrong: the action it concerns, or the turn, or neither."""

    code: str
    message: str
    action: dict[str, Any] | None = None
    turn: Turn | None = None


Event = Connection | Welcomed | BeatCame | Woke | AnswerCame | Earlier | Failed


class RefusedError(Exception):
    """An action was refused. `code` is stable, `message` is for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def explain_close(code: int | None, *, age_s: float, idle_s: float) -> str:
    """Why the connection ended, as far as its close code, age and idle time tell."""
    if code == 1009:
        return "That was too large to send: a message may have 128 KB at most. The line was not delivered."
    if code == 1003:
        return "That was not text, and only text can be sent. It was not delivered."
    if age_s > CONNECTION_LIMIT_S - 60:
        return "A connection may last two hours, and this one did."
    if idle_s > IDLE_LIMIT_S - 30:
        return "The connection was idle for ten minutes and was closed."
    if code == 1001:
        return "The server closed the connection."
    return "The connection was lost."
