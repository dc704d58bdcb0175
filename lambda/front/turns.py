"""The story's turns: what a visitor says, answered from the index or put in the storyteller's inbox, and said again.

One function an action, like those of `actions`: each changes the session once, by `Sessions.update`, invokes
the storyteller if a lease was reserved, and returns the messages for its visitor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from front.invoker import CAPPED, FULL, StorytellerInvoker, ended_by_error
from overture import leases, protocol
from overture.accounting.costs import Deployment, saved_by_answer
from overture.accounting.grid import grid
from overture.accounting.ledger import Ledger
from overture.connections import Connections
from overture.counters import add_to_ledger, read_ledger
from overture.leases import HELD, Reservation
from overture.protocol import ProtocolError, ServerMessage
from overture.sessions import INBOX_LINES, Sessions, SessionTransaction, Turn
from overture.settings import Settings
from prologue.answers.index import MOST_FACTS, AnswerIndex, Found, State
from prologue.placeholders import clean
from prologue.world import World


@dataclass(frozen=True, slots=True)
class Front:
    """What every action works with."""

    settings: Settings
    sessions: Sessions
    connections: Connections
    invoker: StorytellerInvoker
    world: World
    index: AnswerIndex
    metrics: Metrics
    memory_mb: int

    def count(self, name: str, value: float = 1) -> None:
        """Counts something in the metrics."""
        self.metrics.add_metric(name, MetricUnit.Count, value)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who acts: the key of their session, and the connection they speak through."""

    key: str
    connection: str


class Search(NamedTuple):
    """What was found on a line, and the seconds that it took."""

    found: Found
    seconds: float


def open_story(front: Front, tx: SessionTransaction) -> Reservation:
    """The prologue is over: the first scene, from the lines that were kept for it.

    The world's facts about what brought the visitor, and about those lines, go with it.
    """
    session = tx.session
    session.in_story = True
    about = [session.profile.get(field.key, "") for field in front.world.profile if field.recalls]
    notes = dict.fromkeys(note for value in [*session.kept, *about] for note in _facts(front, value))
    said, session.kept = "\n".join(session.kept), []
    return _put_in_inbox(front, tx, tx.add_turn(protocol.OPENING, said, notes=[*notes][:MOST_FACTS]))


def look_up(front: Front, text: str, state: State) -> Search:
    """What there is on a line: a written answer, or facts."""
    began = time.perf_counter()
    found = front.index.consult(text, state)
    return Search(found, time.perf_counter() - began)


def say(front: Front, visitor: Visitor, message: protocol.Say) -> list[ServerMessage]:
    """A line of the story: answered from the answer index, or put in the storyteller's inbox."""
    search = look_up(front, message.text, "story")
    if search.found.match is None:
        return _tell(front, visitor, message, search.found.facts if front.settings.knowledge_tokens else [])
    return answer(front, visitor, message, search)


def answer(front: Front, visitor: Visitor, message: protocol.Say, search: Search) -> list[ServerMessage]:
    """Gives the written answer that was found."""
    match = search.found.match
    assert match is not None
    table, used = front.sessions.table, Ledger(search_s=search.seconds, answers=1)

    def note(tx: SessionTransaction) -> tuple[bool, bool]:
        is_first, spared = message.id not in tx.session.done, not tx.session.has_lease(tx.now)
        if is_first:
            tx.session.remember_done(message.id)
            tx.session.ledger += used
            tx.add_turn(message.id, message.text, reply=match.text, state="answered")
        return is_first, spared

    is_first, spared = front.sessions.update(visitor.key, note)
    deployment = Deployment(front.settings.storyteller_mb, front.memory_mb, grid(front.settings.region))
    saved = saved_by_answer(read_ledger(table), search_s=search.seconds, spared_start=spared, deployment=deployment)
    if is_first:
        add_to_ledger(table, used + Ledger(wakes_spared=int(spared)))
    front.count("Answers")
    front.count("WakesSpared", spared)
    front.count("SavedMilliwattHours", saved.mwh)
    front.count("SavedMilligramsCO2e", saved.gco2e * 1000)
    front.count("SavedTokens", saved.tokens)
    front.count("SavedMicrodollars", saved.usd * 1e6)
    return [
        protocol.Ok(message.id, answered=True),
        protocol.Answer(message.id, match.text, match.matched, round(match.score, 4), saved),
    ]


def stop(front: Front, visitor: Visitor, message: protocol.Stop) -> list[ServerMessage]:
    """Stops the telling of a turn, or takes its line back out of the inbox."""

    def flag(tx: SessionTransaction) -> Turn | None:
        session = tx.session
        withdrawn = leases.withdraw(tx, message.of)
        if withdrawn is None and any(line.turn == message.of for line in session.inbox):
            session.stop = message.of
        return withdrawn

    withdrawn = front.sessions.update(visitor.key, flag)
    return [] if withdrawn is None else [ended_by_error(withdrawn, "cancelled")]


def retry(front: Front, visitor: Visitor, message: protocol.Retry) -> list[ServerMessage]:
    """Has the last turn told again."""

    def change(turn: Turn) -> None:
        if turn.state == "answered":  # the index had it until now, so nothing was looked up
            turn.notes = _facts(front, turn.said)
        _begin_again(turn)

    return _tell_again(front, visitor, message.id, message.of, change)


def edit(front: Front, visitor: Visitor, message: protocol.Edit) -> list[ServerMessage]:
    """Changes what was said last, and has it told again."""
    check(message.text)
    notes = _facts(front, message.text)

    def change(turn: Turn) -> None:
        turn.said, turn.notes = message.text, notes
        _begin_again(turn)

    return _tell_again(front, visitor, message.id, message.of, change)


def rewrite(front: Front, visitor: Visitor, message: protocol.Rewrite) -> list[ServerMessage]:
    """Makes a text the last reply; the story goes on from it."""
    check(message.text)

    def change(tx: SessionTransaction) -> None:
        if message.id in tx.session.done:
            return
        turn = _last(tx, message.of)
        if turn.state == "answered":
            raise ProtocolError("not_a_story", "A written answer is not the storyteller's; say a line instead.")
        turn.reply, turn.base, turn.state, turn.reason = message.text, 0, "done", None
        turn.take += 1
        tx.session.remember_done(message.id)
        tx.put(turn)

    front.sessions.update(visitor.key, change)
    return [protocol.Ok(message.id)]


def go_on(front: Front, visitor: Visitor, message: protocol.Continue) -> list[ServerMessage]:
    """Has the last reply continued."""

    def change(turn: Turn) -> None:
        if turn.state == "answered":
            raise ProtocolError("not_a_story", "A written answer has no more to it; say a line instead.")
        turn.base = len(turn.reply)

    return _tell_again(front, visitor, message.id, message.of, change)


def undo(front: Front, visitor: Visitor, message: protocol.Undo) -> list[ServerMessage]:
    """Takes the last turn back."""

    def remove(tx: SessionTransaction) -> None:
        if message.id not in tx.session.done:
            turn = _last(tx, message.of)
            earlier = front.sessions.turns(visitor.key, before=turn.seq)
            if turn.state != "answered" and all(before.state == "answered" for before in earlier):
                raise ProtocolError("not_undoable", "The story begins here; `retry` or `edit` tells it again.")
            tx.session.remember_done(message.id)
            if turn.kept and turn.said in tx.session.kept:
                tx.session.kept.remove(turn.said)
            tx.delete(turn)

    front.sessions.update(visitor.key, remove)
    return [protocol.Ok(message.id)]


def _tell(front: Front, visitor: Visitor, message: protocol.Say, notes: list[str]) -> list[ServerMessage]:
    def put(tx: SessionTransaction) -> Reservation:
        session = tx.session
        if message.id in session.done:
            return HELD
        if len(session.inbox) >= INBOX_LINES:
            raise ProtocolError(
                "inbox_full", f"{INBOX_LINES} lines are waiting already; say this when one was told.", retryable=True
            )
        session.remember_done(message.id)
        return _put_in_inbox(front, tx, tx.add_turn(message.id, message.text, notes=notes))

    reservation = front.sessions.update(visitor.key, put)
    news = front.invoker.send(visitor.key, reservation)
    front.count("Lines")
    return [protocol.Ok(message.id, answered=False), *news]


def _tell_again(
    front: Front, visitor: Visitor, action: str, of: str, change: Callable[[Turn], None]
) -> list[ServerMessage]:
    def put(tx: SessionTransaction) -> Reservation:
        if action in tx.session.done:
            return HELD
        turn = _last(tx, of)
        if not tx.session.in_story:
            raise ProtocolError("not_a_story", "The story has not begun: `skip` begins it, or say the line again.")
        change(turn)
        turn.state = "waiting"
        tx.session.remember_done(action)
        tx.put(turn)
        return _put_in_inbox(front, tx, turn)

    reservation = front.sessions.update(visitor.key, put)
    return [protocol.Ok(action), *front.invoker.send(visitor.key, reservation)]


def _last(tx: SessionTransaction, of: str) -> Turn:
    """The turn `of`, if it is the last (written answers after it do not count) and at rest."""
    for turn in tx.recent(20):
        if turn.id == of:
            if turn.state in ("waiting", "telling"):
                raise ProtocolError("busy", "This turn is still being told: stop it first.", retryable=True)
            return turn
        if turn.state != "answered":
            break
    raise ProtocolError("not_last", f"`{of}` is not the last turn; only that can be changed.")


def _put_in_inbox(front: Front, tx: SessionTransaction, turn: Turn) -> Reservation:
    """Raises `ProtocolError`, and nothing is written, where no storyteller will come."""
    if tx.session.capped and not tx.session.has_lease(tx.now):
        raise ProtocolError(CAPPED.code, CAPPED.message)
    leases.append(tx, turn)
    reservation = leases.reserve(tx, front.settings)
    if reservation.state == "full":
        raise ProtocolError(FULL.code, FULL.message, retryable=True)
    return reservation


def _facts(front: Front, text: str) -> list[str]:
    """What the world knows that bears on a text, where that is looked up at all."""
    return front.index.facts(text) if front.settings.knowledge_tokens and text.strip() else []


def check(text: str) -> None:
    """Raises `ProtocolError` for a line that says nothing."""
    if not clean(text):
        raise ProtocolError("bad_field", "The field `text` is blank: say something.")


def _begin_again(turn: Turn) -> None:
    turn.reply, turn.base = "", 0
    turn.take += 1
