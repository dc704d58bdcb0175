"""Protocol 1: every message between a client and Overture as a typed structure.

One JSON text frame is one message. A client's messages carry `action`, the server's `type`; `overture.codec` turns
frames into messages and back.

`docs/protocol.md` describes the same messages for people who write clients.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

PROTOCOL = 1

#: API Gateway's limits, in bytes: larger frames and messages never arrive, nor can they be sent.
FRAME_BYTES = 32 * 1024
MESSAGE_BYTES = 128 * 1024

#: The longest line a visitor may say, in Unicode code points.
LINE_CHARACTERS = 2_000

#: The turn that Front itself puts in the inbox when the prologue ends; no client may use the id.
OPENING = "opening"

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Text = Annotated[str, Meta(min_length=1, max_length=LINE_CHARACTERS)]
ProfileKey = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
ProfileValue = Annotated[str, Meta(max_length=200)]
Profile = dict[ProfileKey, ProfileValue]

TurnState = Literal["waiting", "telling", "done", "stopped", "failed", "answered"]
WakeState = Literal["waking", "queued", "ready", "failed"]
EndReason = Literal["stop", "length", "cancelled", "deadline", "error"]


class ProtocolError(Exception):
    """What a client asked cannot be done. `code` is stable, `message` is for a person."""

    def __init__(self, code: str, message: str, *, to: str | None = None, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.to = to
        self.retryable = retryable

    def answer(self, to: str | None = None) -> Error:
        """The `error` message that says so."""
        return Error(self.code, self.message, self.retryable, self.to or to)


# --- client to server ---------------------------------------------------------------------


class ClientMessage(Struct, tag_field="action", frozen=True):
    """Anything a client may send."""


class Hello(ClientMessage, tag="hello", frozen=True):
    """Always first: begins a session, or returns to one."""

    session: Annotated[str, Meta(min_length=22, max_length=128)] | None = None
    world: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$")] | None = None


class Say(ClientMessage, tag="say", frozen=True):
    """A visitor's line. `ask`: the question of the prologue that stands before them, to which it may be the reply."""

    id: Id
    text: Text
    ask: ProfileKey | None = None


class Next(ClientMessage, tag="next", frozen=True):
    """The beat named has been told: send the next."""

    id: Id
    beat: Id


class Skip(ClientMessage, tag="skip", frozen=True):
    """End the prologue now."""

    id: Id


class Stop(ClientMessage, tag="stop", frozen=True):
    """Stop telling the turn named."""

    of: Id


class Retry(ClientMessage, tag="retry", frozen=True):
    """Tell the last turn again."""

    id: Id
    of: Id


class Undo(ClientMessage, tag="undo", frozen=True):
    """Take the last turn back."""

    id: Id
    of: Id


class Edit(ClientMessage, tag="edit", frozen=True):
    """Say something else in the last turn, and have it told again."""

    id: Id
    of: Id
    text: Text


class Rewrite(ClientMessage, tag="rewrite", frozen=True):
    """Have the last reply be this text: the visitor's own, or one of its former takes."""

    id: Id
    of: Id
    text: Text


class Continue(ClientMessage, tag="continue", frozen=True):
    """Let the last reply go on from where it ended."""

    id: Id
    of: Id


class Remember(ClientMessage, tag="remember", frozen=True):
    """Change what the storyteller knows of the visitor; an empty value forgets the key."""

    id: Id
    profile: Annotated[Profile, Meta(min_length=1, max_length=32)]


class History(ClientMessage, tag="history", frozen=True):
    """Send the turns that came before the turn named."""

    before: Id


class Ping(ClientMessage, tag="ping", frozen=True):
    """Keep the connection open."""


Action = Hello | Say | Next | Skip | Stop | Retry | Undo | Edit | Rewrite | Continue | Remember | History | Ping

# --- server to client ---------------------------------------------------------------------


class ServerMessage(Struct, tag_field="type", frozen=True, omit_defaults=True):
    """Anything Overture may send."""


class TurnView(Struct, frozen=True, omit_defaults=True):
    """A turn as a client sees it. `take` numbers the attempts at the reply, from 1; `kept` as in `Aside`."""

    id: str
    said: str
    reply: str
    state: TurnState
    take: int
    kept: bool = False


class ProfileField(Struct, frozen=True):
    """One thing a world remembers of a visitor: how the memory panel calls it, and what stands in for it."""

    key: str
    label: str
    default: str


class Welcome(ServerMessage, tag="welcome", frozen=True):
    """The answer to `hello`. `session` is a bearer secret; `title` and `fields` are the world's.

    `simulated`: this is no Lambda, and its figures are what it would be there.
    """

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
    """The answer to `history`: turns before the one named, oldest first; empty at the beginning."""

    before: str
    turns: list[TurnView]


class Ok(ServerMessage, tag="ok", frozen=True):
    """The action with the id `to` has been done, once.

    `answered`, for a line: whether its `answer` or `aside` follows, or else the storyteller has it; absent for a reply.
    """

    to: str
    answered: bool | None = None


class Error(ServerMessage, tag="error", frozen=True):
    """What went wrong and what to do about it. `retryable`: the same action may succeed later."""

    code: str
    message: str
    retryable: bool
    to: str | None = None


class Pong(ServerMessage, tag="pong", frozen=True):
    """The answer to `ping`."""


class Wake(ServerMessage, tag="wake", frozen=True):
    """How far the storyteller has woken: `progress` is bytes loaded over bytes in all."""

    state: WakeState
    progress: Annotated[float, Meta(ge=0, le=1)] | None = None
    eta_s: Annotated[float, Meta(ge=0)] | None = None
    position: Annotated[int, Meta(ge=1)] | None = None


class BeatLine(Struct, frozen=True):
    """A fragment of speech, shown `at_s` seconds after its beat began."""

    text: str
    at_s: Annotated[float, Meta(ge=0)]


class BeatAsk(Struct, frozen=True, omit_defaults=True):
    """A question; `key` is the profile entry that the reply fills."""

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
    """A written answer to the line `to`; `matched` is the phrasing it was found by."""

    to: str
    text: str
    matched: str
    score: float
    saved: Saved


class Aside(ServerMessage, tag="aside", frozen=True):
    """What became of a line said in the prologue that no written answer covers.

    `text`: what the speaker says to it, or nothing. `kept`: the story begins with this line.
    """

    to: str
    text: str = ""
    kept: bool = False


class Token(ServerMessage, tag="token", frozen=True):
    """More of a reply: `at` code points of it come before `text`."""

    to: str
    take: Annotated[int, Meta(ge=1)]
    at: Annotated[int, Meta(ge=0)]
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
    """The reply to the turn `to` is over.

    `notes`: what the world knows that the storyteller was told with it. `visit`: what the session used so far, starts
    and waiting included.
    """

    to: str
    take: Annotated[int, Meta(ge=1)]
    reason: EndReason
    stats: Stats
    notes: list[str] = []
    visit: Used | None = None
