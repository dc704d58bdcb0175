"""Leases: at most one storyteller invocation works for a session, and no line is lost.

Every rule of the lease (docs/architecture.md) is one function here that changes a `SessionTransaction`;
callers run it by `Sessions.update`. Front reserves (in the very write that appends a line) and then
invokes; the storyteller confirms, renews, takes lines, finishes them and gives the lease back; the
destination of its asynchronous invocations settles what became of it; the sweep mends what nobody settled.

With a cap on the storytellers a reservation takes a slot, too, and keeps it until its invocation is over.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from msgspec import Struct

from overture.protocol import End
from overture.sessions import Lease, Line, SessionTransaction, Turn, WakeStatus
from overture.settings import Settings
from overture.slots import Slot

#: A line, or a wake without a line, that failed this often is given up.
TRIES = 2
#: A reservation that nobody confirmed for so long is invoked again, with the same token; most are confirmed in a fifth.
UNCONFIRMED_S, SOON = 15.0, 0.2
#: How often a holder renews its lease in a lease's life. Who is half a renewal late may be dead.
RENEWALS, LATE_RENEWALS = 4, 1.5
#: Clocks of two machines may differ by so much.
CLOCKS_DIFFER_S = 1.0


class Fenced(Exception):
    """The lease is no longer this invocation's: stop without a word."""


class Reservation(NamedTuple):
    """What reserving came to.

    `reserved`: invoke the storyteller with `token` (and `slot`, if there is a cap). `waiting`: the session has
    the place `position` in the waiting line. `held`: a storyteller has the lease already. `full`: too many wait.
    """

    state: Literal["reserved", "waiting", "held", "full"]
    token: str = ""
    slot: int | None = None
    position: int = 0


HELD, FULL = Reservation("held"), Reservation("full")


class Taken(NamedTuple):
    """The line taken in hand, if there was one, and the ids of lines whose turn was gone."""

    turn: Turn | None
    dropped: list[str]


class Settled(Struct):
    """What an invocation that is over left to be done: for the story a reservation, for the visitor the rest.

    `live`: the invocation is not over as far as can be seen, and this is its lease.
    """

    connection: str | None = None
    reservation: Reservation = HELD
    live: Lease | None = None
    #: The turn that was being told.
    interrupted: str | None = None
    given_up: Turn | None = None
    dropped: list[str] = []
    wake_given_up: bool = False
    ended: End | None = None


def reserve(tx: SessionTransaction, settings: Settings) -> Reservation:
    """Reserves the lease if nobody has it, with a slot if there is a cap."""
    session = tx.session
    if session.has_lease(tx.now):
        return HELD
    session.lease = None
    if not settings.concurrency:
        return _reserve(tx, settings, None)
    slot = _find_slot(tx, settings)
    return _reserve(tx, settings, slot) if slot is not None else _wait(tx, settings)


def reserve_waiting(tx: SessionTransaction, settings: Settings, slot: Slot) -> Reservation | None:
    """Reserves for a session of the waiting line, with this slot; None if it does not wait any more.

    `HELD` when the slot is not as it was read: somebody else has it by now.
    """
    session = tx.session
    if session.waiting is None:
        return None
    if session.connection is None or session.has_lease(tx.now):
        _leave_line(tx)
        return None
    # Not the version alone: a slot that was freed and taken again begins with the same one.
    if tx.slots.read(slot.number) != slot:
        return HELD
    return _reserve(tx, settings, slot)


def confirm(tx: SessionTransaction, token: str, settings: Settings) -> str | None:
    """Makes a reservation one's own: the fence to work under, or None if it is not there any more."""
    lease = tx.session.lease
    if lease is None or lease.token != token or lease.fence is not None or lease.until <= tx.now:
        return None
    lease.fence = tx.id
    lease.until = tx.now + settings.lease_s
    return lease.fence


def renew(tx: SessionTransaction, fence: str, settings: Settings) -> None:
    """Prolongs the lease. Raises `Fenced`."""
    _own(tx, fence).until = tx.now + settings.lease_s


def take_line(tx: SessionTransaction, fence: str, settings: Settings) -> Taken:
    """Takes the first line of the inbox in hand. Raises `Fenced`.

    A turn that an earlier invocation was telling when it was lost is begun again, as a higher take.
    """
    renew(tx, fence, settings)
    session = tx.session
    session.ended = None
    dropped: list[str] = []
    while session.inbox:
        turn = tx.turn(session.inbox[0].seq)
        if turn is None:
            dropped.append(session.inbox.pop(0).turn)
            continue
        if turn.state == "telling":
            turn.take += 1
            turn.reply = turn.reply[: turn.base]
        turn.state = "telling"
        session.telling = turn.id
        tx.put(turn)
        turn.version += 1
        return Taken(turn, dropped)
    return Taken(None, dropped)


def finish_line(
    tx: SessionTransaction,
    fence: str,
    turn: Turn,
    state: Literal["done", "stopped", "failed"],
    end: End | None,
    settings: Settings,
) -> None:
    """Keeps the finished reply and takes its line out of the inbox, in one write. Raises `Fenced`.

    `end` is kept until the next line or the release: if the storyteller dies before it is posted, Front posts it.
    """
    renew(tx, fence, settings)
    session = tx.session
    session.inbox = [line for line in session.inbox if line.turn != turn.id]
    session.telling = None
    session.ended = end
    _forget_stop(tx, turn.id)
    turn.state = state
    tx.put(turn, writer=fence)


def release(tx: SessionTransaction, fence: str, *, only_if_idle: bool = True) -> bool:
    """Gives the lease back, unless a line has come meanwhile. Raises `Fenced`.

    The slot stays taken until the invocation is over: then Front passes it on.
    """
    _own(tx, fence)
    if only_if_idle and tx.session.inbox:
        return False
    tx.session.ended = None
    _clear(tx)
    return True


def cancel(tx: SessionTransaction, token: str) -> None:
    """Clears a reservation that could not be invoked. Its lines stay, and the sweep tries again."""
    session = tx.session
    if session.lease is not None and session.lease.token == token:
        session.lease = None
        session.wake.state = "failed"


def append(tx: SessionTransaction, turn: Turn) -> None:
    """Puts a turn in the inbox."""
    _forget_stop(tx, turn.id)
    tx.session.inbox.append(Line(turn.id, turn.seq))


def withdraw(tx: SessionTransaction, turn_id: str) -> Turn | None:
    """Takes a line that nobody is telling yet out of the inbox; None if it is being told or not there."""
    session = tx.session
    line = next((line for line in session.inbox if line.turn == turn_id), None)
    if line is None or (session.telling == turn_id and session.has_lease(tx.now)):
        return None
    turn = tx.turn(line.seq)
    session.inbox = [waiting for waiting in session.inbox if waiting.turn != turn_id]
    _forget_stop(tx, turn_id)
    if turn is not None:
        turn.state = "stopped"
        tx.put(turn)
    return turn


def settle(tx: SessionTransaction, token: str, settings: Settings, *, failed: bool, tried: bool = True) -> Settled:
    """What to do when the invocation that was sent with `token` is over.

    An invocation that did its work has given its lease back, and the token is not found. If it is
    found, the invocation was lost (`failed`), or ran out of time with lines left: the lease is
    cleared and reserved again, unless the line (or a wake for no line) has now failed `TRIES` times.
    It only counts as a failure if the storyteller was `tried`: Lambda may have had no room for it.
    """
    session = tx.session
    if session.lease is None or session.lease.token != token:
        return Settled()
    return _settle(tx, settings, failed=failed, tried=tried)


def mend(tx: SessionTransaction, settings: Settings) -> Settled:
    """What the sweep does for a session with work in hand."""
    session, lease = tx.session, tx.session.lease
    if lease is not None:
        _cut_short(lease, tx.now, settings)
    if lease is not None and lease.until > tx.now:
        if lease.fence is None and tx.now >= lease.since + UNCONFIRMED_S:
            return Settled(session.connection, Reservation("reserved", lease.token, session.slot))
        return Settled(live=lease)
    if lease is not None:
        return _settle(tx, settings, failed=True, tried=lease.fence is not None)
    left = Settled(session.connection, ended=session.ended)
    session.ended = None
    if not session.inbox or session.connection is None:
        tx.list_as_open(False)  # `hello` reserves for a visitor who comes back
    elif not session.capped and session.waiting is None:
        left.reservation = reserve(tx, settings)
    return left


def due(lease: Lease, now: float, settings: Settings) -> float:
    """When a live lease should have changed (been confirmed, or renewed); if it is past that, when it may be mended."""
    if lease.fence is None:
        changed, over = lease.since + UNCONFIRMED_S * SOON, lease.since + UNCONFIRMED_S
    else:
        renewed = lease.until - settings.lease_s
        changed, over = renewed + settings.lease_s / RENEWALS * LATE_RENEWALS, lease.until
    return changed if changed > now else over


def _cut_short(lease: Lease, now: float, settings: Settings) -> None:
    """Corrects a lease that a clock wrote which is ahead of ours: nobody would look at it before its time."""
    longest = settings.reservation_s if lease.fence is None else settings.lease_s
    if lease.until > now + longest + CLOCKS_DIFFER_S:
        lease.until = now + longest
    if lease.since > now + CLOCKS_DIFFER_S:
        lease.since = now


def _settle(tx: SessionTransaction, settings: Settings, *, failed: bool, tried: bool) -> Settled:
    session = tx.session
    left = Settled(session.connection, ended=session.ended)
    session.ended = None
    telling, session.telling = session.telling, None
    _clear(tx)
    if failed and tried and session.inbox:
        first = session.inbox[0]
        first.failures += 1
        if first.failures >= TRIES:
            _give_up(tx, first, left)
        else:
            left.interrupted = first.turn
    elif failed and tried and telling is None and left.ended is None and session.wake.state != "ready":
        session.wake.failures += 1
        left.wake_given_up = session.wake.failures >= TRIES
        if left.wake_given_up:
            session.wake = WakeStatus("failed")
    over = left.wake_given_up or left.ended or left.given_up or left.dropped or session.wake.state == "ready"
    # When nobody is there to hear it, only a line that was being told is tried again.
    lines = bool(session.inbox)
    if (lines or (failed and not over)) if session.connection is not None else (lines and tried):
        left.reservation = reserve(tx, settings)
    return left


def _reserve(tx: SessionTransaction, settings: Settings, slot: Slot | None) -> Reservation:
    session = tx.session
    session.lease = Lease(tx.id, tx.now + settings.reservation_s, since=tx.now)
    session.telling = None
    if session.wake.state == "queued":
        session.wake = WakeStatus(failures=session.wake.failures)
    if slot is not None:
        session.slot = slot.number
        tx.also(tx.slots.put(slot, session.key, tx.id))
        _leave_line(tx)
    tx.list_as_open(True)
    return Reservation("reserved", tx.id, None if slot is None else slot.number)


def _find_slot(tx: SessionTransaction, settings: Settings) -> Slot | None:
    """The slot that this session still has from its last lease, or a free one if nobody waits for it.

    A free slot with somebody waiting is the trace of a failure: a slot that is freed is handed on at once.
    """
    session = tx.session
    if session.slot is not None and session.slot < settings.concurrency:
        own = tx.slots.read(session.slot)
        if own.holder is not None and own.holder.session == session.key:
            return own
    if session.waiting is not None or tx.waiting_line.somebody_waits_beside(session.key):
        return None
    return tx.slots.find_free(settings.concurrency)


def _wait(tx: SessionTransaction, settings: Settings) -> Reservation:
    session = tx.session
    place, join = session.waiting, None
    if place is None:
        place, join = tx.waiting_line.join(session.key, tx.now)
    position = tx.waiting_line.position(session.key, place)
    if session.waiting is not None:
        position = min(position, session.position or position)
    elif position > settings.waiting_limit:
        tx.list_as_open(True)  # what the inbox has is tried again by the sweep
        return FULL
    if join is not None:
        tx.also(join)
    session.waiting, session.position = place, position
    session.wake = WakeStatus("queued", failures=session.wake.failures)
    return Reservation("waiting", position=position)


def leave(tx: SessionTransaction) -> None:
    """The visitor has gone: the session gives up its place in the waiting line."""
    tx.session.connection = None
    _leave_line(tx)


def _leave_line(tx: SessionTransaction) -> None:
    session = tx.session
    if session.waiting is not None:
        tx.also(tx.waiting_line.leave(session.key, session.waiting))
    session.waiting = session.position = None


def _own(tx: SessionTransaction, fence: str) -> Lease:
    lease = tx.session.lease
    if lease is None or lease.fence != fence:
        raise Fenced
    return lease


def _clear(tx: SessionTransaction) -> None:
    tx.session.lease = None
    tx.list_as_open(False)


def _forget_stop(tx: SessionTransaction, turn_id: str) -> None:
    if tx.session.stop == turn_id:
        tx.session.stop = None


def _give_up(tx: SessionTransaction, line: Line, left: Settled) -> None:
    tx.session.inbox = [waiting for waiting in tx.session.inbox if waiting is not line]
    _forget_stop(tx, line.turn)
    turn = tx.turn(line.seq)
    if turn is None:
        left.dropped = [line.turn]
        return
    turn.state = "failed"
    tx.put(turn)
    left.given_up = turn
