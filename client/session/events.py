"""What happens in a play, as a screen needs to hear it.

Changes of the story's text (`Told`, `Restarted`, `Ended`, ...) are in `client.session.story`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from client.session.protocol import Beat, Wake
from client.session.story import Turn


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
class Forgotten:
    """The server no longer has the session, and has begun another. `unsent` are lines that were said in the old one."""

    unsent: list[str]


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
    """The answer index has answered a line: `turn.reply`, and `turn.answer` for what it was matched by."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class AsideCame:
    """The prologue has heard a line: `turn.reply` is what was said to it, if anything; `turn.kept`."""

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


Event = Connection | Welcomed | Forgotten | BeatCame | Woke | AnswerCame | AsideCame | Earlier | Failed


class RefusedError(Exception):
    """An action was refused. `code` is stable, `message` is for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
