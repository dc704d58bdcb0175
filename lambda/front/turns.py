"""Lines: what is said in the story, answered from the book or put in the storyteller's inbox, and said again.

The half of the stage that has to do with turns; `stage` is the other. Like there, each action changes the session
once, by `Sessions.update`, then posts, then sends for the storyteller if a lease was reserved.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from front.invoker import CAPPED, StorytellerInvoker, ended_by_error
from overture import leases, protocol
from overture.connections import Connections
from overture.costs import saved_by_answer
from overture.leases import Queued
from overture.protocol import ProtocolError
from overture.sessions import INBOX_LINES, Sessions, SessionTransaction, Turn
from overture.settings import Settings
from prologue.answers.index import MOST_FACTS, AnswerIndex
from prologue.placeholders import clean
from prologue.world import World


class Lines:
    """What a visitor says in the story."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        connections: Connections,
        wakes: StorytellerInvoker,
        world: World,
        book: AnswerIndex,
        metrics: Metrics,
        memory_mb: int,
    ) -> None:
        self._settings, self._sessions, self._connections = settings, sessions, connections
        self._wakes, self._world, self._book = wakes, world, book
        self._metrics, self._memory_mb = metrics, memory_mb

    def open(self, tx: SessionTransaction) -> str | Queued | None:
        """The prologue is over: the first scene, with what the world knows about what brought the visitor."""
        session = tx.session
        session.in_story = True
        about = [session.profile.get(field.key, "") for field in self._world.profile if field.recalls]
        notes = dict.fromkeys(note for value in about for note in self._facts(value))
        return self._put_in_inbox(tx, tx.add_turn(protocol.OPENING, "", notes=[*notes][:MOST_FACTS]))

    def _facts(self, text: str) -> list[str]:
        """What the world knows that bears on a text, where the house looks that up at all."""
        return self._book.facts(text) if self._settings.knowledge_tokens and text.strip() else []

    def say(self, key: str, connection: str, message: protocol.Say) -> None:
        """A line: answered from the book, or put in the storyteller's inbox."""
        _check(message.text)
        began = time.perf_counter()
        found = self._book.consult(message.text, "story" if self._sessions.read(key).in_story else "prologue")
        match = found.match
        if match is None:
            self._tell(key, connection, message, found.facts if self._settings.knowledge_tokens else [])
            return
        search_s = time.perf_counter() - began
        saved = saved_by_answer(
            self._sessions.totals(),
            search_s=search_s,
            memory_mb=self._memory_mb,
            grid_kg_per_kwh=self._settings.grid_kg_per_kwh,
        )

        def note(tx: SessionTransaction) -> None:
            if message.id not in tx.session.done:
                tx.session.remember_done(message.id)
                tx.add_turn(message.id, message.text, reply=match.text, state="answered")

        self._sessions.update(key, note)
        self._connections.post(
            connection,
            protocol.Ok(message.id, answered=True),
            protocol.Answer(message.id, match.text, match.matched, round(match.score, 4), saved),
        )
        self._count("Answers")
        self._metrics.add_metric("SavedTokens", MetricUnit.Count, saved.tokens)
        self._metrics.add_metric("SavedMicrodollars", MetricUnit.Count, saved.usd * 1e6)

    def _tell(self, key: str, connection: str, message: protocol.Say, notes: list[str]) -> None:
        def put(tx: SessionTransaction) -> str | Queued | None:
            session = tx.session
            if message.id in session.done:
                return None
            if len(session.inbox) >= INBOX_LINES:
                raise ProtocolError(
                    "inbox_full",
                    f"{INBOX_LINES} lines are waiting already; say this when one was told.",
                    retryable=True,
                )
            session.remember_done(message.id)
            session.in_story = True  # a line said before the prologue's end ends it
            return self._put_in_inbox(tx, tx.add_turn(message.id, message.text, notes=notes))

        reserved = self._sessions.update(key, put)
        self._connections.post(connection, protocol.Ok(message.id, answered=False))
        self._wakes.send(key, reserved, connection)
        self._count("Lines")

    def stop(self, key: str, connection: str, message: protocol.Stop) -> None:
        """Stops the telling of a turn, or takes its line back out of the inbox."""

        def flag(tx: SessionTransaction) -> Turn | None:
            session = tx.session
            line = next((line for line in session.inbox if line.turn == message.of), None)
            if line is None:
                return None
            if leases.withdraw(tx, message.of):
                return tx.turn(line.seq)
            session.stop = message.of
            return None

        withdrawn = self._sessions.update(key, flag)
        if withdrawn is not None:
            self._connections.post(connection, ended_by_error(withdrawn, "cancelled"))

    def retry(self, key: str, connection: str, message: protocol.Retry) -> None:
        """Has the last turn told again."""

        def change(turn: Turn) -> None:
            if turn.state == "answered":  # the book had it until now, so nothing was looked up
                turn.notes = self._facts(turn.said)
            _anew(turn)

        self._again(key, connection, message.id, message.of, change)

    def edit(self, key: str, connection: str, message: protocol.Edit) -> None:
        """Changes what was said last, and has it told again."""
        _check(message.text)
        notes = self._facts(message.text)

        def change(turn: Turn) -> None:
            turn.said, turn.notes = message.text, notes
            _anew(turn)

        self._again(key, connection, message.id, message.of, change)

    def go_on(self, key: str, connection: str, message: protocol.Continue) -> None:
        """Has the last reply continued."""

        def change(turn: Turn) -> None:
            if turn.state == "answered":
                raise ProtocolError("not_a_story", "A written answer has no more to it; say a line instead.")
            turn.base = len(turn.reply)

        self._again(key, connection, message.id, message.of, change)

    def undo(self, key: str, connection: str, message: protocol.Undo) -> None:
        """Takes the last turn back."""

        def remove(tx: SessionTransaction) -> None:
            if message.id not in tx.session.done:
                turn = self._last(tx, message.of)
                earlier = self._sessions.turns(key, before=turn.seq)
                if turn.state != "answered" and all(before.state == "answered" for before in earlier):
                    raise ProtocolError("not_undoable", "The story begins here; `retry` or `edit` tells it anew.")
                tx.session.remember_done(message.id)
                tx.delete(turn)

        self._sessions.update(key, remove)
        self._connections.post(connection, protocol.Ok(message.id))

    def _again(self, key: str, connection: str, action: str, of: str, change: Callable[[Turn], None]) -> None:
        def put(tx: SessionTransaction) -> str | Queued | None:
            if action in tx.session.done:
                return None
            turn = self._last(tx, of)
            change(turn)
            turn.state = "waiting"
            tx.session.in_story = True  # a written answer of the prologue that is to be told after all
            tx.session.remember_done(action)
            tx.put(turn)
            return self._put_in_inbox(tx, turn)

        reserved = self._sessions.update(key, put)
        self._connections.post(connection, protocol.Ok(action))
        self._wakes.send(key, reserved, connection)

    def _last(self, tx: SessionTransaction, of: str) -> Turn:
        """The turn `of`, if it is the last (written answers after it do not count) and at rest."""
        for turn in tx.recent(20):
            if turn.id == of:
                if turn.state in ("waiting", "telling"):
                    raise ProtocolError("busy", "This turn is still being told: stop it first.", retryable=True)
                return turn
            if turn.state != "answered":
                break
        raise ProtocolError("not_last", f"`{of}` is not the last turn; only that can be changed.")

    def _put_in_inbox(self, tx: SessionTransaction, turn: Turn) -> str | Queued | None:
        if tx.session.capped and not tx.session.has_lease(tx.now):
            raise ProtocolError(CAPPED.code, CAPPED.message)
        leases.append(tx, turn)
        return leases.reserve(tx, self._settings)

    def _count(self, name: str) -> None:
        self._metrics.add_metric(name, MetricUnit.Count, 1)


def _check(text: str) -> None:
    if not clean(text):
        raise ProtocolError("bad_field", "The field `text` is blank: say something.")


def _anew(turn: Turn) -> None:
    turn.reply, turn.base = "", 0
    turn.take += 1
