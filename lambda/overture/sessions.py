"""Sessions: what is kept of a conversation, and the transactions by which it changes.

A session outlives its connections. Its inbox and its lease live in one document, so that a line
is appended and a lease reserved in one conditional write; each turn is a document of its own.
`Sessions.update` reads a session into a `SessionTransaction`, lets a function change it, writes everything
changed on the condition that nobody else changed it meanwhile, and begins again if somebody did. So the
function may run several times: it must have no other effect. The document keeps the ids of its last
writes, so that an update whose answer was lost finds that it happened.

The session's secret is never stored: documents are kept under a hash of it, the `key`, which
logs and invocations may carry.
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

from overture.accounting.ledger import Ledger
from overture.protocol import OPENING, End, EndReason, TurnState, TurnView, WakeState
from overture.slots import Slots
from overture.table import Conflict, Delete, Put, Table, Unavailable
from overture.waiting_line import WaitingLine

T = TypeVar("T")

DAY_S = 86_400.0
#: Actions remembered as done: a client sends one at a time, so a few would do.
DONE_KEPT = 64
#: Writes remembered: as many as others may make while the answer to one is being waited for.
WRITES_KEPT = 12
#: Lines that may wait at once.
INBOX_LINES = 8
#: API Gateway ends a connection after two hours.
CONNECTION_S = 2.25 * 3600
#: Partitions of the list of sessions with work in hand, which the sweep reads.
OPEN_SHARDS = 16
#: A document that others keep changing, or a table that does not answer, is tried for this long.
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

    `token` names the reservation that Front made at `since`; `fence`, set when an invocation confirms it,
    names that invocation, so that a doubled delivery of the same token finds the lease taken.
    """

    token: str
    until: float
    fence: str | None = None
    since: float = 0.0


class WakeStatus(Struct):
    """How far the storyteller had woken when last heard of."""

    state: WakeState = "waking"
    progress: float | None = None
    eta_s: float | None = None
    failures: int = 0


class Turn(Struct):
    """A visitor's line and its reply. `base`: characters of the reply that an earlier telling left.

    `notes`: what the world knows that bears on the line. `reason` says how the last telling ended.
    `kept`: a line of the prologue that the opening begins with. `version` is the document's, for the next write; 0
    before the first.
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
    kept: bool = False
    version: int = 0

    def view(self) -> TurnView:
        """The turn as a client may see it. What the opening begins with was said in turns of the prologue."""
        said = "" if self.id == OPENING else self.said
        return TurnView(self.id, said, self.reply, self.state, self.take, self.kept)


class Session(Struct):
    """The session's document.

    `capped`: its address has had its share of wakes, so no storyteller is invoked. `slot`: the slot that it last
    held. `waiting`: its place in the waiting line, a sort key; `position` what its visitor was told of it.
    `ended`: the `end` of a turn that is over and may not have reached the visitor yet. `kept`: lines of the prologue
    that the opening begins with. `ledger`: what it used.
    """

    key: str
    world: str
    profile: dict[str, str] = {}
    in_story: bool = False
    capped: bool = False
    script: dict[str, Any] = {}
    kept: list[str] = []
    ledger: Ledger = msgspec.field(default_factory=Ledger)
    connection: str | None = None
    address: str | None = None
    inbox: list[Line] = []
    lease: Lease | None = None
    slot: int | None = None
    waiting: str | None = None
    position: int | None = None
    wake: WakeStatus = msgspec.field(default_factory=WakeStatus, name="waking")
    telling: str | None = None
    ended: End | None = None
    stop: str | None = None
    last_seq: int = 0
    done: list[str] = []
    writes: list[str] = []

    def has_lease(self, now: float) -> bool:
        """Whether a storyteller is at work, or has been invoked."""
        return self.lease is not None and self.lease.until > now

    def remember_done(self, action: str) -> None:
        """Remembers that the action with this id was done, so that a second copy is not."""
        self.done = [*self.done[-(DONE_KEPT - 1) :], action]


def new_secret() -> str:
    """A new session's bearer secret: 192 random bits."""
    return secrets.token_urlsafe(24)


def key_of(secret: str) -> str:
    """The key that something secret (a session, a ticket, an address) is kept under: nobody gets back from it."""
    return hashlib.sha256(secret.encode()).hexdigest()[:32]


class SessionTransaction:
    """One session being changed, with its turns and what else must change with it. `id` names the attempt."""

    def __init__(self, sessions: Sessions, session: Session, version: int) -> None:
        self.id = secrets.token_hex(8)
        self.session = session
        self.now = time.time()
        self.slots, self.waiting_line = sessions.slots, sessions.waiting_line
        self._sessions = sessions
        self._version = version
        self._before = msgspec.json.encode(session)
        self._changes: dict[tuple[str, str], Put | Delete] = {}

    def add_turn(
        self,
        turn_id: str,
        said: str,
        *,
        reply: str = "",
        state: TurnState = "waiting",
        notes: Sequence[str] = (),
        kept: bool = False,
    ) -> Turn:
        """A new turn, after all others."""
        self.session.last_seq += 1
        turn = Turn(turn_id, self.session.last_seq, said, reply, state, notes=list(notes), kept=kept)
        self.put(turn)
        return turn

    def turn(self, seq: int) -> Turn | None:
        """Reads a turn; None when it is gone."""
        document = self._sessions.table.get(_pk(self.session.key), _turn_sk(seq))
        return _turn(document.body, document.version) if document else None

    def recent(self, limit: int) -> list[Turn]:
        """The newest turns, newest first."""
        return self._sessions.turns(self.session.key, limit=limit)

    def put(self, turn: Turn, *, writer: str = "") -> None:
        """Has the turn written with the session, if it is still as it was read (or `writer` wrote it last)."""
        self.also(self._sessions.turn_put(self.session.key, turn, writer))

    def delete(self, turn: Turn) -> None:
        """Has the turn removed with the session's change."""
        self.also(Delete(_pk(self.session.key), _turn_sk(turn.seq)))

    def also(self, change: Put | Delete) -> None:
        """Has another document change with the session, or not at all."""
        self._changes[change.pk, change.sk] = change

    def list_as_open(self, is_open: bool) -> None:
        """Has the session listed among those with work in hand, or no longer: the sweep looks at these."""
        pk, sk = _open_pk(self.session.key), self.session.key
        self.also(Put(pk, sk, b"", None, self._sessions.life_s) if is_open else Delete(pk, sk))

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._changes) or msgspec.json.encode(self.session) != self._before

    def write(self) -> None:
        """Writes everything. Raises `Conflict` or `Unavailable`."""
        self.session.writes = [*self.session.writes[-(WRITES_KEPT - 1) :], self.id]
        body = msgspec.json.encode(self.session)
        own = Put(_pk(self.session.key), "session", body, self._version, self._sessions.life_s)
        self._sessions.table.write(own, *self._changes.values(), writer=self.id)


class Sessions:
    """The sessions in a table. Every method raises `Unavailable` if the table stays away for eight seconds."""

    def __init__(self, table: Table, *, life_days: float = 30) -> None:
        self.table = table
        self.slots, self.waiting_line = Slots(table), WaitingLine(table)
        self.life_s = life_days * DAY_S

    def create(self, session: Session) -> None:
        """Keeps a new session."""
        put = Put(_pk(session.key), "session", msgspec.json.encode(session), 0, self.life_s, writer=session.key)
        _patiently(lambda: self.table.write(put))

    def read(self, key: str) -> Session:
        """Reads a session. Raises `NoSession`."""
        return _patiently(lambda: self._read(key))[0]

    def update(self, key: str, change: Callable[[SessionTransaction], T]) -> T:
        """Changes a session by `change`, which is run again if somebody else was faster.

        Raises `NoSession`, after eight seconds `Conflict` or `Unavailable`, and whatever `change` raises (then
        nothing is written).
        """
        ends = time.monotonic() + _PATIENCE_S
        attempts: dict[str, T] = {}
        while True:
            try:
                session, version = self._read(key)
                for write in session.writes:
                    if write in attempts:
                        return attempts[write]
                tx = SessionTransaction(self, session, version)
                result = change(tx)
                if tx.changed:
                    attempts[tx.id] = result
                    tx.write()
                return result
            except (Conflict, Unavailable) as error:
                if time.monotonic() > ends:
                    raise
                # Not longer and longer: who waits longer between two attempts is overtaken more often.
                time.sleep(random.uniform(0, 0.02) if isinstance(error, Conflict) else random.uniform(0.1, 0.3))

    def save_turn(self, key: str, turn: Turn, *, writer: str) -> None:
        """Writes a turn alone; counts its version up. Raises `Conflict` when somebody else has written it."""
        self.table.write(self.turn_put(key, turn, writer))
        turn.version += 1

    def turn_put(self, key: str, turn: Turn, writer: str = "") -> Put:
        """The write of a turn that is still as it was read, or was last written by `writer`."""
        return Put(_pk(key), _turn_sk(turn.seq), msgspec.json.encode(turn), turn.version, self.life_s, writer)

    def turns(self, key: str, *, before: int | None = None, limit: int | None = None) -> list[Turn]:
        """The session's turns, newest first; only those before the number `before`, if given."""
        high = None if before is None else _turn_sk(before)
        documents = _patiently(lambda: self.table.query(_pk(key), "turn#", before=high, limit=limit))
        return [_turn(document.body, document.version) for document in documents]

    def open_keys(self, shard: int) -> list[str]:
        """The keys of the sessions with work in hand, of one of the `OPEN_SHARDS`."""
        return [document.sk for document in self.table.query(f"OPEN#{shard}")]

    def forget_open(self, key: str) -> None:
        """Takes a session that is no more off that list."""
        self.table.write(Delete(_open_pk(key), key))

    def bind(self, connection: str, key: str) -> None:
        """Remembers which session a connection speaks for."""
        _patiently(lambda: self.table.write(Put(f"C#{connection}", "connection", key.encode(), None, CONNECTION_S)))

    def bound(self, connection: str) -> str | None:
        """The key of the session that a connection speaks for."""
        document = _patiently(lambda: self.table.get(f"C#{connection}", "connection"))
        return document.body.decode() if document else None

    def unbind(self, connection: str) -> str | None:
        """Forgets a connection; returns the key of the session it spoke for."""
        key = self.bound(connection)
        if key is not None:
            _patiently(lambda: self.table.write(Delete(f"C#{connection}", "connection")))
        return key

    def _read(self, key: str) -> tuple[Session, int]:
        document = self.table.get(_pk(key), "session")
        if document is None:
            raise NoSession
        return msgspec.json.decode(document.body, type=Session), document.version


def _patiently(work: Callable[[], T]) -> T:
    """Tries again while the table does not answer."""
    ends = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return work()
        except Unavailable:
            if time.monotonic() > ends:
                raise
            time.sleep(random.uniform(0.1, 0.3))


def _pk(key: str) -> str:
    return f"S#{key}"


def _open_pk(key: str) -> str:
    return f"OPEN#{int.from_bytes(hashlib.sha256(key.encode()).digest()[:2]) % OPEN_SHARDS}"


def _turn_sk(seq: int) -> str:
    return f"turn#{seq:06d}"


def _turn(body: bytes, version: int) -> Turn:
    turn = msgspec.json.decode(body, type=Turn)
    turn.version = version
    return turn
