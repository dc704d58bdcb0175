"""Leases: at most one storyteller invocation works for a session, and no line is lost.

Every rule of the lease (docs/architecture.md) is one function here that changes a `SessionTransaction`;
callers run it by `Sessions.update`. Front reserves (in the very write that appends a line) and then invokes; the
storyteller confirms, renews, takes lines, finishes them and gives the lease back; the destination
of its asynchronous invocations settles what became of it.

This module knows no AWS Lambda: it returns tokens, and the caller invokes.
"""

from __future__ import annotations

import secrets
from typing import Literal, NamedTuple

from msgspec import Struct

from overture.sessions import House, Lease, Line, SessionTransaction, Turn, WakeStatus
from overture.settings import Settings

#: A lease still counted in the house this long after it was made is a leak (15 min is Lambda's longest run).
LONGEST_S = 15 * 60 + 120
#: A line, or a wake without a line, that failed this often is given up.
TRIES = 2


class Fenced(Exception):
    """The lease is no longer this invocation's: stop without a word."""


class Failure(Struct):
    """What a lost invocation left: a token to invoke with, and a turn to give up, if any."""

    token: str | None = None
    given_up: Turn | None = None
    wake_given_up: bool = False
    connection: str | None = None
    interrupted: str | None = None


class Queued(NamedTuple):
    """The session waits for a free storyteller, at this place (from 1)."""

    position: int


def reserve(tx: SessionTransaction, settings: Settings) -> str | Queued | None:
    """Reserves the lease if nobody has it: the token to invoke with, the place in the queue, or None."""
    session = tx.session
    if session.has_lease(tx.now):
        return None
    if settings.concurrency and not _admit(tx.house, session.key, tx.now, settings.concurrency):
        session.lease = None
        session.wake = WakeStatus("queued", failures=session.wake.failures)
        return Queued(tx.house.queue.index(session.key) + 1)
    token = secrets.token_hex(16)
    session.lease = Lease(token, tx.now + settings.reservation_s)
    session.telling = None
    if session.wake.state == "queued":
        session.wake = WakeStatus(failures=session.wake.failures)
    return token


def confirm(tx: SessionTransaction, token: str, settings: Settings) -> str | None:
    """Makes a reservation one's own: the fence to work under, or None if it is not there any more."""
    lease = tx.session.lease
    if lease is None or lease.token != token or lease.fence is not None or lease.until <= tx.now:
        return None
    lease.fence = secrets.token_hex(16)
    lease.until = tx.now + settings.lease_s
    return lease.fence


def renew(tx: SessionTransaction, fence: str, settings: Settings) -> None:
    """Prolongs the lease. Raises `Fenced`."""
    _own(tx, fence).until = tx.now + settings.lease_s


def take_line(tx: SessionTransaction, fence: str, settings: Settings) -> Turn | None:
    """Takes the first line of the inbox in hand; None when it is empty. Raises `Fenced`.

    A turn that an earlier invocation was telling when it was lost is begun anew, as a higher take.
    """
    renew(tx, fence, settings)
    session = tx.session
    if not session.inbox:
        return None
    turn = tx.turn(session.inbox[0].seq)
    if turn.state == "telling":
        turn.take += 1
        turn.reply = turn.reply[: turn.base]
    turn.state = "telling"
    session.telling = turn.id
    tx.put(turn)
    turn.version += 1
    return turn


def finish_line(
    tx: SessionTransaction, fence: str, turn: Turn, state: Literal["done", "stopped", "failed"], settings: Settings
) -> None:
    """Keeps the finished reply and takes its line out of the inbox, in one write. Raises `Fenced`."""
    renew(tx, fence, settings)
    session = tx.session
    session.inbox = [line for line in session.inbox if line.turn != turn.id]
    session.telling = None
    if session.stop == turn.id:
        session.stop = None
    turn.state = state
    tx.put(turn)


def release(tx: SessionTransaction, fence: str, settings: Settings, *, only_if_idle: bool = True) -> bool:
    """Gives the lease back, unless a line has come meanwhile. Raises `Fenced`."""
    _own(tx, fence)
    if only_if_idle and tx.session.inbox:
        return False
    _clear(tx, settings)
    return True


def cancel(tx: SessionTransaction, token: str, settings: Settings) -> None:
    """Clears a reservation that nobody could be sent for; its lines stay in the inbox."""
    lease = tx.session.lease
    if lease is not None and lease.token == token:
        _clear(tx, settings)
        tx.session.wake.state = "failed"


def append(tx: SessionTransaction, turn: Turn) -> None:
    """Puts a turn in the inbox."""
    tx.session.inbox.append(Line(turn.id, turn.seq))


def withdraw(tx: SessionTransaction, turn_id: str) -> bool:
    """Takes a line that nobody is telling yet out of the inbox; False if it is being told or not there."""
    session = tx.session
    waiting = [line for line in session.inbox if line.turn == turn_id]
    if not waiting or (session.telling == turn_id and session.has_lease(tx.now)):
        return False
    turn = tx.turn(waiting[0].seq)
    turn.state = "stopped"
    tx.put(turn)
    session.inbox = [line for line in session.inbox if line.turn != turn_id]
    return True


def settle(tx: SessionTransaction, token: str, settings: Settings, *, failed: bool) -> Failure | None:
    """What to do when the invocation that was sent with `token` is over; None when there is nothing.

    An invocation that did its work has given its lease back, and the token is not found. If it is
    found, the invocation was lost (`failed`), or ran out of time with lines left: the lease is
    cleared and reserved anew, unless the line (or a wake for no line) has now failed `TRIES` times.
    """
    session = tx.session
    if session.lease is None or session.lease.token != token:
        return None
    left = Failure(connection=session.connection)
    _clear(tx, settings)
    session.telling = None
    if failed and session.inbox:
        first = session.inbox[0]
        first.failures += 1
        left.interrupted = first.turn
        if first.failures >= TRIES:
            left.given_up = _give_up(tx, first)
    elif failed:
        session.wake.failures += 1
        left.wake_given_up = session.wake.failures >= TRIES
        if left.wake_given_up:
            session.wake = WakeStatus("failed")
    if session.inbox or (failed and not left.wake_given_up and left.given_up is None):
        reserved = reserve(tx, settings)
        left.token = reserved if isinstance(reserved, str) else None
    return left


def leave_queue(house: House, key: str) -> None:
    """Forgets that a session waited: nobody is there any more."""
    house.queue = [waiting for waiting in house.queue if waiting != key]


def has_room(house: House, now: float, concurrency: int) -> bool:
    """Whether one more storyteller may work."""
    return sum(until > now for until in house.live.values()) < concurrency


def _admit(house: House, key: str, now: float, concurrency: int) -> bool:
    house.live = {held: until for held, until in house.live.items() if until > now and held != key}
    ahead = house.queue.index(key) if key in house.queue else len(house.queue)
    if len(house.live) + ahead >= concurrency:
        if key not in house.queue:
            house.queue.append(key)
        return False
    leave_queue(house, key)
    house.live[key] = now + LONGEST_S
    return True


def _own(tx: SessionTransaction, fence: str) -> Lease:
    lease = tx.session.lease
    if lease is None or lease.fence != fence:
        raise Fenced
    return lease


def _clear(tx: SessionTransaction, settings: Settings) -> None:
    tx.session.lease = None
    # Without a cap nothing was counted, and the house need not be read: it is one item for all sessions.
    if settings.concurrency:
        tx.house.live.pop(tx.session.key, None)


def _give_up(tx: SessionTransaction, line: Line) -> Turn:
    turn = tx.turn(line.seq)
    turn.state = "failed"
    tx.put(turn)
    tx.session.inbox = [waiting for waiting in tx.session.inbox if waiting is not line]
    return turn
