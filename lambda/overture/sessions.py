"""Sessions: what is kept of a conversation, and the drafts by which it changes.

A session outlives its connections. Its inbox and its lease live in one document, so that a line
is appended and a lease reserved in one conditional write; each turn is a document of its own.
`Sessions.update` reads a session into a `SessionTransaction`, lets a function change it, writes everything
changed in one transaction on the condition that nobody else changed it meanwhile, and begins
again if somebody did. So the function may run several times: it must have no other effect.

The session's secret is never stored: documents are kept under a hash of it, the `key`, which
logs and invocations may carry. This module knows the table, not the wire's sockets or AWS Lambda.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from overture.protocol import EndReason, TurnState, TurnView, WakeState
from overture.table import Conflict, Delete, Put, Table

T = TypeVar("T")

DAY_S = 86_400.0
#: Actions remembered as done: a client sends one at a time, so a few would do.
DONE_KEPT = 64
#: Lines that may wait at once.
INBOX_LINES = 8
#: API Gateway ends a connection after two hours.
CONNECTION_S = 2.25 * 3600
#: A document that others keep changing is tried for this long; Front has 29 s for everything.
_PATIENCE_S = 8.0


class NoSession(Exception):
    """There is no such session, or it was forgotten."""


class Line(Struct):
    """A turn that waits for the storyteller. `failures`: how often it took an invocation with it."""

    turn: str
    seq: int
    failures: int = 0


class Lease(Struct):
    """The right to work for a session, until `until` (Unix time, seconds).

    `token` names the reservation that Front made; `fence`, set when an invocation confirms it,
    names that invocation, so that a doubled delivery of the same token finds the lease taken.
    """

    token: str
    until: float
    fence: str | None = None


class WakeStatus(Struct):
    """How far the storyteller had woken when last heard of."""

    state: WakeState = "waking"
    progress: float | None = None
    eta_s: float | None = None
    failures: int = 0


class Turn(Struct):
    """A visitor's line and its reply. `base`: characters of the reply that an earlier telling left.

    `notes`: what the world knows that bears on the line. `reason` says how the last telling ended.
    `version` is the document's, kept here for the next write; 0 before the first.
    """

    id: str
    seq: int
    said: str
    reply: str = ""
    state: TurnState = "waiting"
    take: int = 1
    base: int = 0
    reason: EndReason | None = None
    notes: list[str] = []
    version: int = 0

    def view(self) -> TurnView:
        """The turn as a client may see it."""
        return TurnView(self.id, self.said, self.reply, self.state, self.take)


class Session(Struct):
    """The session's document. `capped`: its address has had its share of wakes, so nobody is sent for."""

    key: str
    world: str
    profile: dict[str, str] = {}
    in_story: bool = False
    capped: bool = False
    script: dict[str, Any] = {}
    connection: str | None = None
    address: str | None = None
    inbox: list[Line] = []
    lease: Lease | None = None
    wake: WakeStatus = msgspec.field(default_factory=WakeStatus, name="waking")
    telling: str | None = None
    stop: str | None = None
    last_seq: int = 0
    done: list[str] = []

    def has_lease(self, now: float) -> bool:
        """Whether somebody is at work, or has been sent for."""
        return self.lease is not None and self.lease.until > now

    def remember_done(self, action: str) -> None:
        """Remembers that the action with this id was done, so that a second copy is not."""
        self.done = [*self.done[-(DONE_KEPT - 1) :], action]


class House(Struct):
    """All sessions that a storyteller works for (key → until when at the latest), and those that wait."""

    live: dict[str, float] = {}
    queue: list[str] = []


class Totals(Struct):
    """What replies have cost in all: the measure of what a written answer saves."""

    replies: int = 0
    tokens: int = 0
    usd: float = 0.0
    mwh: float = 0.0


def new_secret() -> str:
    """A new session's bearer secret: 192 random bits."""
    return secrets.token_urlsafe(24)


def key_of(secret: str) -> str:
    """The key that something secret (a session, a ticket, an address) is kept under: nobody gets back from it."""
    return hashlib.sha256(secret.encode()).hexdigest()[:32]


class SessionTransaction:
    """One session being changed, with its turns and, if asked for, the house."""

    def __init__(self, sessions: Sessions, session: Session, version: int) -> None:
        self.session = session
        self.now = time.time()
        self._sessions = sessions
        self._version = version
        self._changes: dict[str, Put | Delete] = {}
        self._house: tuple[House, int] | None = None

    @property
    def house(self) -> House:
        """The house, read when first asked for and then written together with the session."""
        if self._house is None:
            self._house = self._sessions.house()
        return self._house[0]

    def add_turn(
        self, turn_id: str, said: str, *, reply: str = "", state: TurnState = "waiting", notes: Sequence[str] = ()
    ) -> Turn:
        """A new turn, after all others."""
        self.session.last_seq += 1
        turn = Turn(turn_id, self.session.last_seq, said, reply, state, notes=list(notes))
        self.put(turn)
        return turn

    def turn(self, seq: int) -> Turn:
        """Reads a turn. Raises `NoSession` when it is gone: the session was being forgotten."""
        document = self._sessions.table.get(_pk(self.session.key), _turn_sk(seq))
        if document is None:
            raise NoSession
        return _turn(document.body, document.version)

    def recent(self, limit: int) -> list[Turn]:
        """The newest turns, newest first."""
        return self._sessions.turns(self.session.key, limit=limit)

    def put(self, turn: Turn) -> None:
        """Has the turn written together with the session, if it is still as it was read."""
        life_s = self._sessions.life_s
        self._changes[_turn_sk(turn.seq)] = Put(
            _pk(self.session.key), _turn_sk(turn.seq), msgspec.json.encode(turn), turn.version, life_s
        )

    def delete(self, turn: Turn) -> None:
        """Has the turn removed together with the session's change."""
        self._changes[_turn_sk(turn.seq)] = Delete(_pk(self.session.key), _turn_sk(turn.seq))

    def write(self) -> None:
        """Writes everything, or raises `Conflict`."""
        life_s = self._sessions.life_s
        body = msgspec.json.encode(self.session)
        changes = [Put(_pk(self.session.key), "session", body, self._version, life_s), *self._changes.values()]
        if self._house is not None:
            house, version = self._house
            changes.append(Put("HOUSE", "house", msgspec.json.encode(house), version, 365 * DAY_S))
        self._sessions.table.write(*changes)


class Sessions:
    """The sessions in a table."""

    def __init__(self, table: Table, *, life_days: float = 30) -> None:
        self.table = table
        self.life_s = life_days * DAY_S

    def create(self, session: Session) -> None:
        """Keeps a new session."""
        self.table.write(Put(_pk(session.key), "session", msgspec.json.encode(session), 0, self.life_s))

    def read(self, key: str) -> Session:
        """Reads a session. Raises `NoSession`."""
        return self._read(key)[0]

    def update(self, key: str, change: Callable[[SessionTransaction], T]) -> T:
        """Changes a session by `change`, which is run again if somebody else was faster.

        Raises `NoSession`, `Conflict` after eight seconds of that, and whatever `change` raises (then
        nothing is written).
        """
        ends = time.monotonic() + _PATIENCE_S
        while True:
            session, version = self._read(key)
            before = msgspec.json.encode(session)
            tx = SessionTransaction(self, session, version)
            result = change(tx)
            if msgspec.json.encode(session) == before and not tx._changes and tx._house is None:
                return result
            try:
                tx.write()
            except Conflict:
                if time.monotonic() > ends:
                    raise
                # Not longer and longer: who waits longer between two attempts is overtaken more often.
                time.sleep(random.uniform(0, 0.02))
                continue
            return result

    def save_turn(self, key: str, turn: Turn) -> None:
        """Writes a turn alone. Raises `Conflict` when somebody else has it now; counts its version up."""
        self.table.write(Put(_pk(key), _turn_sk(turn.seq), msgspec.json.encode(turn), turn.version, self.life_s))
        turn.version += 1

    def turns(self, key: str, *, before: int | None = None, limit: int | None = None) -> list[Turn]:
        """The session's turns, newest first; only those before the number `before`, if given."""
        high = None if before is None else _turn_sk(before)
        documents = self.table.query(_pk(key), "turn#", before=high, limit=limit)
        return [_turn(document.body, document.version) for document in documents]

    def house(self) -> tuple[House, int]:
        """The house and its version."""
        document = self.table.get("HOUSE", "house")
        return (msgspec.json.decode(document.body, type=House), document.version) if document else (House(), 0)

    def update_house(self, change: Callable[[House], T]) -> T:
        """Changes the house alone, beginning again if somebody else was faster. Raises as `update`."""
        ends = time.monotonic() + _PATIENCE_S
        while True:
            house, version = self.house()
            before = msgspec.json.encode(house)
            result = change(house)
            after = msgspec.json.encode(house)
            if after == before:
                return result
            try:
                self.table.write(Put("HOUSE", "house", after, version, 365 * DAY_S))
            except Conflict:
                if time.monotonic() > ends:
                    raise
                time.sleep(random.uniform(0, 0.05))
                continue
            return result

    def totals(self) -> Totals:
        """What replies have cost in all, so far."""
        document = self.table.get("HOUSE", "totals")
        return msgspec.json.decode(document.body, type=Totals) if document else Totals()

    def add_to_totals(self, tokens: int, usd: float, mwh: float) -> None:
        """Counts one more reply. Two at the very same time may count as one: it is a mean, not a bill."""
        totals = self.totals()
        body = msgspec.json.encode(
            Totals(totals.replies + 1, totals.tokens + tokens, totals.usd + usd, totals.mwh + mwh)
        )
        self.table.write(Put("HOUSE", "totals", body, None, 365 * DAY_S))

    def bind(self, connection: str, key: str) -> None:
        """Remembers which session a connection speaks for."""
        self.table.write(Put(f"C#{connection}", "connection", key.encode(), None, CONNECTION_S))

    def bound(self, connection: str) -> str | None:
        """The key of the session that a connection speaks for."""
        document = self.table.get(f"C#{connection}", "connection")
        return document.body.decode() if document else None

    def unbind(self, connection: str) -> str | None:
        """Forgets a connection; returns the key of the session it spoke for."""
        document = self.table.take(f"C#{connection}", "connection")
        return document.body.decode() if document else None

    def _read(self, key: str) -> tuple[Session, int]:
        document = self.table.get(_pk(key), "session")
        if document is None:
            raise NoSession
        return msgspec.json.decode(document.body, type=Session), document.version


def _pk(key: str) -> str:
    return f"S#{key}"


def _turn_sk(seq: int) -> str:
    return f"turn#{seq:06d}"


def _turn(body: bytes, version: int) -> Turn:
    turn = msgspec.json.decode(body, type=Turn)
    turn.version = version
    return turn
