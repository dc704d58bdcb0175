"""The prologue's actions: beats and their questions, and lines said before the story.

Only the end of the script and `skip` begin the story. A line that no written answer covers is replied to by the
world's speaker, or kept: then the story begins with it.
"""

from __future__ import annotations

from typing import NamedTuple

from front import turns
from front.turns import Front, Visitor
from overture import leases, protocol
from overture.leases import HELD, Reservation
from overture.protocol import LINE_CHARACTERS, ProtocolError, ServerMessage
from overture.sessions import Session, SessionTransaction
from prologue.answers.index import State
from prologue.script.player import Beat
from prologue.script.reactions import NO_REPLY, Reaction, classify, react, standing


class Step(NamedTuple):
    """What a step in the prologue came to: a beat to send, or a storyteller to invoke."""

    beat: Beat | None
    reservation: Reservation = HELD


def say(front: Front, visitor: Visitor, message: protocol.Say) -> list[ServerMessage]:
    """A line: perhaps the reply to the question that it names, a line of the story, or one of the prologue."""
    if message.ask is None:
        turns.check(message.text)
    session = front.sessions.read(visitor.key)
    if message.id in session.done:
        return _heard_before(front, visitor, message, "story" if session.in_story else "prologue")
    if session.in_story and message.ask is None:
        return turns.say(front, visitor, message)
    return _hear(front, visitor, message)


def _hear(front: Front, visitor: Visitor, message: protocol.Say) -> list[ServerMessage]:
    """A line said in the prologue."""
    # What is plainly a reply to a question needs no answer, and no search for one.
    is_plain = message.ask is not None and classify(message.text) not in NO_REPLY
    search = None if is_plain else turns.look_up(front, message.text, "prologue")

    def change(tx: SessionTransaction) -> tuple[Reaction, Step | None] | None:
        session, script = tx.session, front.world.script
        if message.id in session.done:
            return None
        question = None
        if message.ask is not None:
            question = None if session.in_story else standing(script, session.script)
            if question is None or question.key != message.ask:
                raise ProtocolError(
                    "not_asked", f"Nobody is asking for `{message.ask}` at the moment; say it without `ask`."
                )
        elif session.in_story:
            return None
        answered = search is not None and search.found.match is not None
        reaction, session.script = react(script, session.script, message.text, answered=answered, question=question)
        if reaction.kind in ("answer", "refused"):
            return reaction, None
        if reaction.kind == "reply":
            return reaction, _take(front, tx, message.id, reaction)
        keeps = reaction.keep and len("\n".join([*session.kept, message.text])) <= LINE_CHARACTERS
        if keeps:
            session.kept = [*session.kept, message.text]
        session.remember_done(message.id)
        tx.add_turn(message.id, message.text, reply=reaction.line or "", state="answered", kept=keeps)
        return reaction._replace(keep=keeps), None

    heard = front.sessions.update(visitor.key, change)
    if heard is None:  # meanwhile the story began, or the same line came before this one
        return say(front, visitor, message)
    reaction, step = heard
    if reaction.kind == "answer":
        assert search is not None
        return turns.answer(front, visitor, message, search)
    if reaction.kind == "refused":
        return [protocol.Error("bad_reply", reaction.line or "", retryable=False, to=message.id)]
    if step is not None:
        return _follow(front, visitor, message.id, step)
    front.count("KeptLines" if reaction.keep else "Asides")
    return [protocol.Ok(message.id, answered=True), protocol.Aside(message.id, reaction.line or "", reaction.keep)]


def _heard_before(front: Front, visitor: Visitor, message: protocol.Say, state: State) -> list[ServerMessage]:
    """What was said to a line that comes a second time."""
    turn = next((turn for turn in front.sessions.turns(visitor.key) if turn.id == message.id), None)
    if turn is not None and turn.state != "answered":
        return [protocol.Ok(message.id, answered=False)]
    if turn is not None and not turn.kept:
        search = turns.look_up(front, message.text, state)
        if search.found.match is not None and search.found.match.text == turn.reply:
            return turns.answer(front, visitor, message, search)
    if turn is None:  # it was the reply to a question
        return [protocol.Ok(message.id)]
    return [protocol.Ok(message.id, answered=True), protocol.Aside(message.id, turn.reply, turn.kept)]


def _take(front: Front, tx: SessionTransaction, action: str, reply: Reaction) -> Step:
    """Takes a line as the reply to the standing question, and goes on."""
    session = tx.session
    beat = front.world.script.current(session.script)
    if any(field.key == reply.key for field in front.world.profile):  # else a choice that is nobody's business later
        session.profile = {**session.profile, reply.key or "": reply.value or ""}
    return _step(front, tx, action, beat)


def next_beat(front: Front, visitor: Visitor, message: protocol.Next) -> list[ServerMessage]:
    """A beat has been told."""

    def move(tx: SessionTransaction) -> Step | None:
        session = tx.session
        if message.id in session.done or session.in_story:
            return None
        beat = front.world.script.current(session.script)
        if beat is not None and beat.id != message.beat:
            # The client is behind, or ahead: both are mended by where the session is.
            session.remember_done(message.id)
            return Step(beat)
        return _step(front, tx, message.id, beat)

    return _follow(front, visitor, message.id, front.sessions.update(visitor.key, move))


def skip(front: Front, visitor: Visitor, message: protocol.Skip) -> list[ServerMessage]:
    """The prologue ends here."""

    def end(tx: SessionTransaction) -> Step | None:
        if message.id in tx.session.done or tx.session.in_story:
            return None
        tx.session.remember_done(message.id)
        return Step(None, turns.open_story(front, tx))

    return _follow(front, visitor, message.id, front.sessions.update(visitor.key, end))


def _step(front: Front, tx: SessionTransaction, action: str, told: Beat | None) -> Step:
    session = tx.session
    session.remember_done(action)
    if told is not None and told.final:
        return Step(None, turns.open_story(front, tx))
    reservation = leases.reserve(tx, front.settings) if session.waiting is not None else HELD
    return Step(advance(front, session), reservation)


def advance(front: Front, session: Session) -> Beat:
    """Moves the script on."""
    beat, session.script = front.world.script.next(
        session.script, session.wake.state == "ready", session.wake.eta_s, session.profile
    )
    return beat


def _follow(front: Front, visitor: Visitor, action: str, step: Step | None) -> list[ServerMessage]:
    return [protocol.Ok(action), *(_news(front, visitor, step) if step is not None else [])]


def _news(front: Front, visitor: Visitor, step: Step) -> list[ServerMessage]:
    """The next beat, and what is heard of the storyteller."""
    news = front.invoker.send(visitor.key, step.reservation)
    return [*([] if step.beat is None else [view(step.beat)]), *news]


def view(beat: Beat) -> protocol.Beat:
    """The beat as it is sent."""
    ask = None
    if beat.ask is not None:
        ask = protocol.BeatAsk(beat.ask.key, beat.ask.text, list(beat.ask.choices) if beat.ask.choices else None)
    lines = [protocol.BeatLine(line.text, line.at_s) for line in beat.lines]
    return protocol.Beat(beat.id, lines, beat.final, beat.speaker, ask)
