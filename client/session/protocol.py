"""Protocol 1 as a client reads it: the server's messages as typed structures.

The clients are separate programs and import nothing of the server. `tests/unit/client/session/test_protocol.py`
compares these types with `overture`'s field by field; docs/protocol.md describes them.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

PROTOCOL = 1

#: API Gateway sends no message larger than this, in bytes.
MESSAGE_BYTES = 128 * 1024

#: The longest line that may be said, in Unicode code points.
LINE_CHARACTERS = 2_000

#: The turn that the server itself begins when the prologue ends.
OPENING = "opening"

TurnState = Literal["waiting", "telling", "done", "stopped", "failed", "answered"]
WakeState = Literal["waking", "queued", "ready", "failed"]
EndReason = Literal["stop", "length", "cancelled", "deadline", "error"]


class ServerMessage(Struct, tag_field="type", frozen=True, omit_defaults=True):
    """Anything the server may send."""


class TurnView(Struct, frozen=True, omit_defaults=True):
    """A turn as the server has it. `take` numbers the attempts at the reply, from 1; `kept` as in `Aside`."""

    id: str
    said: str
    reply: str
    state: TurnState
    take: int
    kept: bool = False


class ProfileField(Struct, frozen=True):
    """One thing a world remembers of a visitor; `default` stands in for it."""

    key: str
    label: str
    default: str


class Welcome(ServerMessage, tag="welcome", frozen=True):
    session: str
    world: str
    protocol: int
    resumed: bool
    turns: list[TurnView]
    profile: dict[str, str]
    title: str = ""
    fields: list[ProfileField] = []
    simulated: bool = False


class Turns(ServerMessage, tag="history", frozen=True):
    before: str
    turns: list[TurnView]


class Ok(ServerMessage, tag="ok", frozen=True):
    """`answered`, for a line: whether its `answer` or `aside` follows; None for a reply to a question."""

    to: str
    answered: bool | None = None


class Error(ServerMessage, tag="error", frozen=True):
    code: str
    message: str
    retryable: bool
    to: str | None = None


class Pong(ServerMessage, tag="pong", frozen=True):
    pass


class Wake(ServerMessage, tag="wake", frozen=True):
    """How far the storyteller has loaded: `progress` from 0 to 1, `eta_s` an estimate in seconds."""

    state: WakeState
    progress: float | None = None
    eta_s: float | None = None
    position: int | None = None


class BeatLine(Struct, frozen=True):
    """A fragment of speech, shown `at_s` seconds after its beat began."""

    text: str
    at_s: float


class BeatAsk(Struct, frozen=True, omit_defaults=True):
    """A question; without `choices` any reply will do."""

    key: str
    text: str
    choices: list[str] | None = None


class Beat(ServerMessage, tag="beat", frozen=True):
    """One step of the prologue: it runs to its question or its end."""

    id: str
    lines: list[BeatLine]
    final: bool
    speaker: str | None = None
    ask: BeatAsk | None = None

    @property
    def length_s(self) -> float:
        """When its last line has been read: at a silent reader's 18 characters a second, 1.2 to 2.5 s."""
        if not self.lines:
            return 0.0
        last = max(self.lines, key=lambda line: line.at_s)
        return last.at_s + min(2.5, max(1.2, len(last.text) / 18))


class Saved(Struct, frozen=True):
    """What a written answer saved: tokens, US dollars, milliwatt-hours, grams of CO2e.

    `share`: of all lines of this deployment, those that were answered without the model. `wakes_spared`: answers given
    while no storyteller was at work for the visitor.
    """

    tokens: int
    usd: float
    mwh: float
    gco2e: float
    share: float
    wakes_spared: int


class Answer(ServerMessage, tag="answer", frozen=True):
    to: str
    text: str
    matched: str
    score: float
    saved: Saved


class Aside(ServerMessage, tag="aside", frozen=True):
    """What is said to a line of the prologue without a written answer, and whether the story begins with it."""

    to: str
    text: str = ""
    kept: bool = False


class Token(ServerMessage, tag="token", frozen=True):
    """More of a reply: `at` code points of it come before `text`."""

    to: str
    take: int
    at: int
    text: str


class Used(Struct, frozen=True):
    """Money in US dollars, energy in milliwatt-hours, carbon in grams of CO2e: likely values, with low and high."""

    usd: float
    mwh: float
    mwh_bounds: tuple[float, float]
    gco2e: float
    gco2e_bounds: tuple[float, float]


class Stats(Struct, frozen=True):
    """What one reply took. Times in milliseconds."""

    ttft_ms: float
    tokens: int
    tokens_per_s: float
    total_ms: float
    usd_per_million: float
    prompt_tokens: int
    reused_tokens: int
    used: Used


class End(ServerMessage, tag="end", frozen=True):
    to: str
    take: int
    reason: EndReason
    stats: Stats
    notes: list[str] = []
    visit: Used | None = None


AnyServerMessage = Welcome | Turns | Ok | Error | Pong | Wake | Beat | Answer | Aside | Token | End

MESSAGES: dict[str, type[AnyServerMessage]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(AnyServerMessage)
}
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in MESSAGES.items()}


def read(frame: str | bytes) -> AnyServerMessage | None:
    """The message in a frame; None for a type this client does not know. Raises `msgspec.DecodeError`."""
    kind: Any = msgspec.json.decode(frame, type=dict[str, Any]).get("type")
    decoder = _DECODERS.get(kind) if isinstance(kind, str) else None
    return decoder.decode(frame) if decoder else None
