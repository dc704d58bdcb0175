"""Actions: what each frame of a visitor does, outside the storyteller's own work.

`act` reads a frame and dispatches it to one function, here, in `prologue` or (for the story's turns) in `turns`.
Each changes the session once, by `Sessions.update` (so the function inside it has no effect but on the transaction),
then invokes the storyteller if a lease was reserved, and returns the messages for its visitor, which are posted last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
from aws_lambda_powertools import Logger

from front import prologue, turns
from front.invoker import CAPPED
from front.turns import Front, Visitor
from overture import codec, leases, protocol
from overture.leases import HELD, Reservation
from overture.protocol import ProtocolError, ServerMessage
from overture.sessions import NoSession, Session, SessionTransaction, WakeStatus, key_of, new_secret
from prologue.script.player import Beat

logger = Logger(child=True)

#: Room left in a message for its frame when turns are fitted into it.
_TURNS_BYTES = protocol.MESSAGE_BYTES - 8 * 1024
_RECENT_TURNS = 60

HELLO_FIRST = protocol.Error("hello_first", "Say `hello` before anything else on a new connection.", retryable=True)
TAKEN_OVER = protocol.Error(
    "taken_over", "This story was opened elsewhere and goes on there; come back here to take it over.", retryable=False
)
NO_SESSION = protocol.Error("no_session", "This session was forgotten: say `hello` to begin again.", retryable=True)
INTERNAL = protocol.Error("internal", "Something went wrong on our side; nothing is lost. Try again.", retryable=True)


def act(front: Front, connection: str, address: str | None, frame: str) -> None:
    """Does what one frame asks, or posts the `error` that says why not."""
    to: str | None = None
    replies: list[ServerMessage]
    try:
        message = codec.read(frame)
        to = message.before if isinstance(message, protocol.History) else getattr(message, "id", None)
        replies = _perform(front, connection, address, message)
    except ProtocolError as refusal:
        replies = [refusal.answer(to)]
    except NoSession:
        replies = [_about(NO_SESSION, to)]
    except Exception:  # raising would have the gateway send the visitor a frame that is not of the protocol
        logger.exception("a frame could not be acted on")
        front.count("Faults")
        replies = [_about(INTERNAL, to)]
    front.connections.post(connection, *replies)


def leave(front: Front, connection: str) -> None:
    """A connection closed: the session forgets it, if it was still its own."""
    key = front.sessions.unbind(connection)
    if key is None:
        return

    def forget(tx: SessionTransaction) -> None:
        if tx.session.connection == connection:
            leases.leave(tx)

    try:
        front.sessions.update(key, forget)
    except NoSession:
        logger.info("the session of a closed connection is forgotten")


# --- hello ----------------------------------------------------------------------------------


def hello(front: Front, connection: str, address: str | None, message: protocol.Hello) -> list[ServerMessage]:
    """Begins a session or returns to one, and has the storyteller begin to wake."""
    world, sessions = front.world, front.sessions
    if message.world is not None and message.world != world.name:
        raise ProtocolError("unknown_world", f"This is the world `{world.name}`; leave `world` out, or name that.")
    secret, key, resumed = _find_or_create(front, message.session)
    logger.append_keys(session=key)
    sessions.bind(connection, key)
    may_wake = sessions.read(key).has_lease(time.time()) or front.invoker.allowed(address)

    def enter(tx: SessionTransaction) -> tuple[Session, str | None, Beat | None, Reservation]:
        session = tx.session
        former, session.connection, session.address = session.connection, connection, address
        beat = None if session.in_story else world.script.current(session.script)
        if beat is None and not session.in_story:
            beat = prologue.advance(front, session)
        reservation = HELD
        if not session.has_lease(tx.now):
            session.capped = not may_wake
            session.wake = WakeStatus("waking", progress=0.0) if may_wake else WakeStatus("failed")
            reservation = leases.reserve(tx, front.settings) if may_wake else HELD
            if reservation.state == "full":
                session.wake = WakeStatus("failed")
        return session, former, beat, reservation

    session, former, beat, reservation = sessions.update(key, enter)
    news = front.invoker.send(key, reservation)
    shown = [turn.view() for turn in sessions.turns(key, limit=_RECENT_TURNS)] if resumed else []
    fields = [protocol.ProfileField(field.key, field.label, field.default) for field in world.profile]

    def welcome(fitted: list[protocol.TurnView]) -> protocol.Welcome:
        return protocol.Welcome(
            secret,
            world.name,
            protocol.PROTOCOL,
            resumed,
            fitted,
            session.profile,
            world.title,
            fields,
            front.settings.simulated,
        )

    wake = _wake(session.wake)
    replies: list[ServerMessage] = [fit_turns(shown, _TURNS_BYTES, welcome)]
    if reservation.state in ("held", "reserved"):
        replies.append(wake)
    replies += news if may_wake else [CAPPED]
    if beat is not None:
        replies.append(prologue.view(beat))
    front.connections.post(connection, *replies)
    if former is not None and former != connection:
        sessions.unbind(former)
        front.connections.post(former, TAKEN_OVER)
        front.connections.close(former)
    front.count("Resumed" if resumed else "Sessions")
    # A storyteller at work may have said "ready" just before our older news of it.
    latest = _wake(sessions.read(key).wake)
    told = reservation.state in ("held", "reserved") and not news and may_wake
    return [latest] if told and latest.state != wake.state else []


def fit_turns(
    turns: list[protocol.TurnView], room: int, write: Callable[[list[protocol.TurnView]], ServerMessage]
) -> ServerMessage:
    """The message with as many of the newest turns (given newest first) as fit `room` bytes, oldest first."""
    kept: list[protocol.TurnView] = []
    used = len(codec.write(write([])).encode())
    for turn in turns:
        used += len(codec.write(protocol.Turns("", [turn])).encode())
        if kept and used > room:
            break
        kept.append(turn)
    return write(kept[::-1])


def _find_or_create(front: Front, secret: str | None) -> tuple[str, str, bool]:
    if secret is not None:
        key = key_of(secret)
        try:
            if front.sessions.read(key).world == front.world.name:
                return secret, key, True
        except NoSession:
            pass
    secret = new_secret()
    key = key_of(secret)
    front.sessions.create(Session(key, front.world.name, script=front.world.script.begin()))
    return secret, key, False


# --- the rest -------------------------------------------------------------------------------


def remember(front: Front, visitor: Visitor, message: protocol.Remember) -> list[ServerMessage]:
    """Changes what the storyteller knows of the visitor."""
    known = {field.key for field in front.world.profile}
    for entry in message.profile:
        if entry not in known:
            raise ProtocolError(
                "bad_field", f"The field `profile` has `{entry}`; this world knows {', '.join(sorted(known))}."
            )

    def change(tx: SessionTransaction) -> None:
        session = tx.session
        if message.id not in session.done:
            session.remember_done(message.id)
            session.profile = {k: v for k, v in {**session.profile, **message.profile}.items() if v.strip()}

    front.sessions.update(visitor.key, change)
    return [protocol.Ok(message.id)]


def history(front: Front, visitor: Visitor, message: protocol.History) -> list[ServerMessage]:
    """Sends older turns."""
    told = front.sessions.turns(visitor.key)
    place = next((place for place, turn in enumerate(told) if turn.id == message.before), None)
    if place is None:
        raise ProtocolError("unknown_turn", f"There is no turn `{message.before}` in this story.")
    older = [turn.view() for turn in told[place + 1 :]]
    return [fit_turns(older, _TURNS_BYTES, lambda shown: protocol.Turns(message.before, shown))]


def ping(front: Front, visitor: Visitor, message: protocol.Ping) -> list[ServerMessage]:
    """Keeps the connection open."""
    return [protocol.Pong()]


_ACTIONS: dict[type[protocol.ClientMessage], Callable[[Front, Visitor, Any], list[ServerMessage]]] = {
    protocol.Say: prologue.say,
    protocol.Next: prologue.next_beat,
    protocol.Skip: prologue.skip,
    protocol.Stop: turns.stop,
    protocol.Retry: turns.retry,
    protocol.Edit: turns.edit,
    protocol.Rewrite: turns.rewrite,
    protocol.Continue: turns.go_on,
    protocol.Undo: turns.undo,
    protocol.Remember: remember,
    protocol.History: history,
    protocol.Ping: ping,
}


def _perform(
    front: Front, connection: str, address: str | None, message: protocol.ClientMessage
) -> list[ServerMessage]:
    if isinstance(message, protocol.Hello):
        return hello(front, connection, address, message)
    key = front.sessions.bound(connection)
    if key is None:
        return [_about(HELLO_FIRST, getattr(message, "id", None))]
    logger.append_keys(session=key)
    return _ACTIONS[type(message)](front, Visitor(key, connection), message)


def _about(error: protocol.Error, to: str | None) -> protocol.Error:
    return msgspec.structs.replace(error, to=to)


def _wake(status: WakeStatus) -> protocol.Wake:
    return protocol.Wake(status.state, progress=status.progress, eta_s=status.eta_s)
