"""The stage: what each action of a visitor does, outside the storyteller's own work.

One method an action; those of the story's lines are in `lines`. Each changes the session once, by
`Sessions.update` (so the function inside it has no effect but on the tx), then posts, then sends for the
storyteller if a lease was reserved. Knows the wire, the world and the book; knows no event shapes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from front.invoker import CAPPED, StorytellerInvoker
from front.turns import Lines
from overture import leases, protocol
from overture.connections import Connections, fit_turns
from overture.leases import Queued
from overture.protocol import ProtocolError
from overture.sessions import NoSession, Session, Sessions, SessionTransaction, WakeStatus, key_of, new_secret
from overture.settings import Settings
from prologue.script.player import Beat, ReplyError
from prologue.world import World

logger = Logger(child=True)

#: Room left in a message for its frame when turns are fitted into it.
_TURNS_BYTES = protocol.MESSAGE_BYTES - 8 * 1024
_RECENT_TURNS = 60

HELLO_FIRST = protocol.Error("hello_first", "Say `hello` before anything else on a new connection.", retryable=True)
TAKEN_OVER = protocol.Error(
    "taken_over", "This story was opened elsewhere and goes on there; come back here to take it over.", retryable=False
)


class Moved(NamedTuple):
    """What a step in the prologue came to: a beat to send, or a storyteller to send for."""

    beat: Beat | None
    reserved: str | Queued | None


class Stage:
    """Acts for one visitor's frame at a time."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        connections: Connections,
        wakes: StorytellerInvoker,
        world: World,
        lines: Lines,
        metrics: Metrics,
    ) -> None:
        self._settings, self._sessions, self._connections = settings, sessions, connections
        self._wakes, self._world, self._lines, self._metrics = wakes, world, lines, metrics

    def act(self, connection: str, address: str | None, frame: str) -> None:
        """Does what one frame asks, or posts the `error` that says why not."""
        try:
            message = protocol.read(frame)
        except ProtocolError as refusal:
            self._connections.post(connection, refusal.answer())
            return
        if isinstance(message, protocol.Hello):
            self._guard(connection, None, lambda: self.hello(connection, address, message))
            return
        key = self._sessions.bound(connection)
        if key is None:
            self._connections.post(connection, msgspec.structs.replace(HELLO_FIRST, to=getattr(message, "id", None)))
            return
        logger.append_keys(session=key)
        action = message.before if isinstance(message, protocol.History) else getattr(message, "id", None)
        self._guard(connection, action, lambda: self._dispatch(key, connection, message))

    def leave(self, connection: str) -> None:
        """A connection closed: the session forgets it, if it was still its own."""
        key = self._sessions.unbind(connection)
        if key is None:
            return

        def forget(tx: SessionTransaction) -> None:
            if tx.session.connection == connection:
                tx.session.connection = None
                if tx.session.wake.state == "queued":
                    leases.leave_queue(tx.house, key)

        try:
            self._sessions.update(key, forget)
        except NoSession:
            logger.info("the session of a closed connection is forgotten")

    # --- hello ------------------------------------------------------------------------

    def hello(self, connection: str, address: str | None, message: protocol.Hello) -> None:
        """Begins a session or returns to one, and has the storyteller begin to wake."""
        if message.world is not None and message.world != self._world.name:
            raise ProtocolError(
                "unknown_world", f"This house plays `{self._world.name}`; leave `world` out, or name that."
            )
        secret, key, resumed = self._find_or_create(message.session)
        logger.append_keys(session=key)
        self._sessions.bind(connection, key)
        may_wake = self._sessions.read(key).has_lease(time.time()) or self._wakes.allowed(address)

        def enter(tx: SessionTransaction) -> tuple[Session, str | None, Beat | None, str | Queued | None]:
            session = tx.session
            former, session.connection, session.address = session.connection, connection, address
            beat = None if session.in_story else self._world.script.current(session.script)
            if beat is None and not session.in_story:
                beat = self._advance(session)
            reserved: str | Queued | None = None
            if not session.has_lease(tx.now):
                session.capped = not may_wake
                session.wake = WakeStatus("waking" if may_wake else "failed", progress=0.0 if may_wake else None)
                reserved = leases.reserve(tx, self._settings) if may_wake else None
            return session, former, beat, reserved

        session, former, beat, reserved = self._sessions.update(key, enter)
        turns = [turn.view() for turn in self._sessions.turns(key, limit=_RECENT_TURNS)] if resumed else []
        world = self._world
        fields = [protocol.ProfileField(field.key, field.label, field.default) for field in world.profile]

        def welcome(shown: list[protocol.TurnView]) -> protocol.Welcome:
            return protocol.Welcome(
                secret, world.name, protocol.PROTOCOL, resumed, shown, session.profile, world.title, fields
            )

        wake = _wake(session.wake)
        self._connections.post(connection, fit_turns(turns, _TURNS_BYTES, welcome))
        if not isinstance(reserved, Queued):
            self._connections.post(connection, wake)
        if not may_wake:
            self._connections.post(connection, CAPPED)
        self._wakes.send(key, reserved, connection)
        if beat is not None:
            self._connections.post(connection, _beat(beat))
        if former is not None and former != connection:
            self._sessions.unbind(former)
            self._connections.post(former, TAKEN_OVER)
            self._connections.close(former)
        if reserved is None and may_wake:
            # A storyteller at work may have said "ready" just before our older news of it.
            latest = _wake(self._sessions.read(key).wake)
            if latest.state != wake.state:
                self._connections.post(connection, latest)
        self._count("Resumed" if resumed else "Sessions")

    def _find_or_create(self, secret: str | None) -> tuple[str, str, bool]:
        if secret is not None:
            key = key_of(secret)
            try:
                if self._sessions.read(key).world == self._world.name:
                    return secret, key, True
            except NoSession:
                pass
        secret = new_secret()
        key = key_of(secret)
        self._sessions.create(Session(key, self._world.name, script=self._world.script.begin()))
        return secret, key, False

    # --- the prologue -----------------------------------------------------------------

    def reply(self, key: str, connection: str, message: protocol.Say) -> None:
        """A reply to a question of the prologue."""
        ask = message.ask or ""

        def answer(tx: SessionTransaction) -> Moved | None:
            session = tx.session
            if message.id in session.done:
                return None
            beat = None if session.in_story else self._world.script.current(session.script)
            if beat is None or beat.ask is None or beat.ask.key != ask:
                raise ProtocolError("not_asked", f"Nobody is asking for `{ask}` at the moment; say it without `ask`.")
            try:
                value, session.script = self._world.script.reply(session.script, ask, message.text)
            except ReplyError as refusal:
                raise ProtocolError("bad_reply", str(refusal)) from None
            if any(field.key == ask for field in self._world.profile):  # else a choice that is nobody's business later
                session.profile = {**session.profile, ask: value}
            return self._move(tx, message.id, beat)

        self._follow(key, connection, message.id, self._sessions.update(key, answer))

    def next(self, key: str, connection: str, message: protocol.Next) -> None:
        """A beat has been told."""

        def move(tx: SessionTransaction) -> Moved | None:
            session = tx.session
            if message.id in session.done or session.in_story:
                return None
            beat = self._world.script.current(session.script)
            if beat is not None and beat.id != message.beat:
                # The client is behind, or ahead: both are mended by where the session is.
                session.remember_done(message.id)
                return Moved(beat, None)
            return self._move(tx, message.id, beat)

        self._follow(key, connection, message.id, self._sessions.update(key, move))

    def skip(self, key: str, connection: str, message: protocol.Skip) -> None:
        """The prologue ends here."""

        def end(tx: SessionTransaction) -> Moved | None:
            if message.id in tx.session.done or tx.session.in_story:
                return None
            tx.session.remember_done(message.id)
            return Moved(None, self._lines.open(tx))

        self._follow(key, connection, message.id, self._sessions.update(key, end))

    def _move(self, tx: SessionTransaction, action: str, told: Beat | None) -> Moved:
        session = tx.session
        session.remember_done(action)
        if told is not None and told.final:
            return Moved(None, self._lines.open(tx))
        reserved = leases.reserve(tx, self._settings) if session.wake.state == "queued" else None
        return Moved(self._advance(session), reserved)

    def _advance(self, session: Session) -> Beat:
        beat, session.script = self._world.script.next(
            session.script, session.wake.state == "ready", session.wake.eta_s, session.profile
        )
        return beat

    def _follow(self, key: str, connection: str, action: str, moved: Moved | None) -> None:
        self._connections.post(connection, protocol.Ok(action))
        if moved is not None:
            if moved.beat is not None:
                self._connections.post(connection, _beat(moved.beat))
            self._wakes.send(key, moved.reserved, connection)

    # --- the rest ---------------------------------------------------------------------

    def remember(self, key: str, connection: str, message: protocol.Remember) -> None:
        """Changes what the storyteller knows of the visitor."""
        known = {field.key for field in self._world.profile}
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

        self._sessions.update(key, change)
        self._connections.post(connection, protocol.Ok(message.id))

    def history(self, key: str, connection: str, message: protocol.History) -> None:
        """Sends older turns."""
        turns = self._sessions.turns(key)
        place = next((place for place, turn in enumerate(turns) if turn.id == message.before), None)
        if place is None:
            raise ProtocolError("unknown_turn", f"There is no turn `{message.before}` in this story.")
        older = [turn.view() for turn in turns[place + 1 :]]
        self._connections.post(
            connection, fit_turns(older, _TURNS_BYTES, lambda shown: protocol.Turns(message.before, shown))
        )

    def _dispatch(self, key: str, connection: str, message: protocol.ClientMessage) -> None:
        match message:
            case protocol.Say(ask=None):
                self._lines.say(key, connection, message)
            case protocol.Say():
                self.reply(key, connection, message)
            case protocol.Next():
                self.next(key, connection, message)
            case protocol.Skip():
                self.skip(key, connection, message)
            case protocol.Stop():
                self._lines.stop(key, connection, message)
            case protocol.Retry():
                self._lines.retry(key, connection, message)
            case protocol.Edit():
                self._lines.edit(key, connection, message)
            case protocol.Continue():
                self._lines.go_on(key, connection, message)
            case protocol.Undo():
                self._lines.undo(key, connection, message)
            case protocol.Remember():
                self.remember(key, connection, message)
            case protocol.History():
                self.history(key, connection, message)
            case protocol.Ping():
                self._connections.post(connection, protocol.Pong())

    def _guard(self, connection: str, action: str | None, work: Callable[[], None]) -> None:
        """Tells the visitor of every refusal, and of faults of ours without their insides."""
        try:
            work()
        except ProtocolError as refusal:
            self._connections.post(connection, refusal.answer(action))
        except NoSession:
            self._connections.post(
                connection,
                protocol.Error("no_session", "This session was forgotten: say `hello` to begin anew.", True, action),
            )
        except Exception:  # raising would have the gateway send the visitor a frame that is not of the protocol
            logger.exception("a frame could not be acted on")
            self._count("Faults")
            self._connections.post(
                connection,
                protocol.Error(
                    "internal", "Something went wrong in the house; nothing is lost. Try again.", True, action
                ),
            )

    def _count(self, name: str) -> None:
        self._metrics.add_metric(name, MetricUnit.Count, 1)


def _wake(waking: WakeStatus) -> protocol.Wake:
    return protocol.Wake(waking.state, progress=waking.progress, eta_s=waking.eta_s)


def _beat(beat: Beat) -> protocol.Beat:
    ask = None
    if beat.ask is not None:
        ask = protocol.BeatAsk(beat.ask.key, beat.ask.text, list(beat.ask.choices) if beat.ask.choices else None)
    lines = [protocol.BeatLine(line.text, line.at_s) for line in beat.lines]
    return protocol.Beat(beat.id, lines, beat.final, beat.speaker, ask)
