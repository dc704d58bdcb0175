"""The state of a play: the server's messages change it and become events, in order.

`Play` in `connection` adds the socket and the actions.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from client.session.events import (
    AnswerCame,
    AsideCame,
    BeatCame,
    Connection,
    Earlier,
    Event,
    Failed,
    Forgotten,
    RefusedError,
    Welcomed,
    Woke,
)
from client.session.protocol import (
    OPENING,
    PROTOCOL,
    Answer,
    AnyServerMessage,
    Aside,
    Beat,
    End,
    Error,
    Ok,
    Pong,
    ProfileField,
    Token,
    Turns,
    Used,
    Wake,
    Welcome,
    read,
)
from client.session.queue import Pending, Timeouts
from client.session.story import Change, Gap, Story, Turn


class SessionState:
    """The state of one play, as what was heard has made it."""

    def __init__(self, session: str | None, timeouts: Timeouts, observe: Callable[[str, dict[str, Any]], None]) -> None:
        self.session = session
        self.story = Story()
        self.title = "Overture"
        self.fields: dict[str, ProfileField] = {}
        self.profile: dict[str, str] = {}
        self.wake: Wake | None = None
        #: What the session used so far, starts and waiting included.
        self.visit: Used | None = None
        #: This is no Lambda: figures are what they would be there.
        self.simulated = False
        self.beat: Beat | None = None
        self.connected = False
        self.taken = False
        self._timeouts, self._observe = timeouts, observe
        self._events: asyncio.Queue[Event | Change | None] = asyncio.Queue()
        self._queue: deque[Pending] = deque()
        self._welcomed = asyncio.Event()
        self._closing = False
        self._refused = False
        self._stopping: set[str] = set()
        self._gap_since: float | None = None
        self._pinged: float | None = None
        self._asked = 0  # times since there was last anything new
        self._errands: set[asyncio.Task[None]] = set()

    @property
    def turns(self) -> list[Turn]:
        """The turns heard of so far, oldest first."""
        return self.story.turns

    async def _say_hello(self) -> None:
        raise NotImplementedError

    async def _send(self, frame: dict[str, Any]) -> None:
        raise NotImplementedError

    # --- what comes ---------------------------------------------------------------------

    def _receive(self, text: str | bytes) -> None:
        try:
            message = read(text)
            self._observe("in", json.loads(text))
        except ValueError as error:  # msgspec's errors are ValueErrors, too
            self._emit(Failed("bad_frame", f"The server sent something that cannot be read ({error!r:.80})."))
            return
        if message is not None:  # a type this client does not know is none of its business
            self._apply(message)

    def _apply(self, message: AnyServerMessage) -> None:
        match message:
            case Welcome():
                self._on_welcome(message)
            case Turns(before=before, turns=views):
                self._acknowledge(f"history:{before}")
                self._emit(Earlier(self.story.earlier(views)))
            case Ok(to=to, answered=answered):
                self._acknowledge(to, answered=answered)
            case Pong():
                self._pinged = None
            case Error():
                self._on_error(message)
            case Wake():
                self.wake = message
                self._emit(Woke(message))
            case Beat(id=beat_id):
                if not self.story.begun and not (self.beat and self.beat.id == beat_id):
                    self.beat = message  # else late, or the one that is being told
                    self._emit(BeatCame(message))
            case Answer(to=to):
                changes = self.story.answered(message)
                self._emit_all(changes)
                turn = self.story.get(to)
                if changes and turn:
                    self._emit(AnswerCame(turn))
            case Aside(to=to):
                changes = self.story.put_aside(message)
                self._emit_all(changes)
                turn = self.story.get(to)
                if changes and turn:
                    self._emit(AsideCame(turn))
            case Token(to=to, take=take, at=at, text=text):
                self._asked = 0
                self._emit_all(self.story.token(to, take, at, text))
            case End(to=to, take=take, reason=reason, stats=stats, notes=notes, visit=visit):
                self._asked = 0
                self.visit = visit or self.visit
                self._stopping.discard(to)
                self._emit_all(self.story.end(to, take, reason, stats, notes))

    def _on_welcome(self, message: Welcome) -> None:
        self._pinged = None  # it proves as much as a pong
        if message.protocol != PROTOCOL:
            sentence = f"The server now speaks protocol {message.protocol} and this client {PROTOCOL}; update it."
            self._emit(Connection("closed", sentence))
            self._closing = True
            return
        again = self.connected
        if self._refused or self.session not in (None, message.session):
            self._forget()
        self.session, self.profile, self.connected = message.session, message.profile, True
        waiting = {pending.id for pending in self._queue if pending.frame["action"] == "say"}
        self._gap_since = None
        self._emit_all(self.story.welcome(message.turns, lambda turn_id: turn_id in waiting))
        if any(turn.held for turn in self.turns):  # what was saved does not reach that far yet
            self._gap_since = time.monotonic()
        if not again:
            self._emit(Connection("open"))
        self.title, self.simulated = message.title or self.title, message.simulated
        self.fields = {field.key: field for field in message.fields}
        self._emit(Welcomed(message.resumed, message.world, again=again))
        self._welcomed.set()
        for turn in self.turns:
            if turn.id in self._stopping and turn.live and not again:
                self._errand(self._send({"action": "stop", "of": turn.id}))

    def _forget(self) -> None:
        """The old session is gone, its turns too; what was said in it is not sent into the new one."""
        lines = [pending for pending in self._queue if not pending.done]
        unsent = [pending.frame["text"] for pending in lines if pending.frame["action"] == "say"]
        for pending in lines:
            pending.settle(RefusedError("forgotten", "The server no longer has this story."))
        self.story, self.beat, self.visit, self._refused = Story(), None, None, False
        self._emit(Forgotten(unsent))

    def _on_error(self, error: Error) -> None:
        code, message, to = error.code, error.message, error.to
        if code == "taken_over":
            self.taken = True
            return
        if not self.connected:
            if code == "hello_first":
                return
            if self.session and code == "bad_field":
                self.session = None  # what was remembered is no session
                self._refused = True
                self._errand(self._say_hello())
                return
        pending = next((pending for pending in self._queue if pending.is_meant_by(code, to)), None)
        if pending is None:
            # Of a turn that will be told again (`retryable`), or one that was given up.
            self._emit_all(self.story.failed(to, message) if to and not error.retryable else [])
            self._emit(Failed(code, message, turn=self.story.get(to) if to else None))
            return
        if code in ("hello_first", "no_session"):
            self._errand(self._say_hello())
        if error.retryable and code != "bad_reply" and pending.tries <= len(self._timeouts.refused_again):
            pending.again.set()
            return
        pending.settle(RefusedError(code, message))
        if pending.frame["action"] == "say":
            self._emit_all(self.story.forget(pending.id))
        self._emit(Failed(code, message, action=pending.frame))

    def _acknowledge(self, key: str, *, answered: bool | None = None) -> None:
        pending = next((pending for pending in self._queue if pending.key == key), None)
        if pending is None or pending.done:
            return
        pending.settle()
        action, of = pending.frame["action"], pending.frame.get("of", "")
        if action == "skip" or (
            action == "next" and self.beat and self.beat.final and pending.frame["beat"] == self.beat.id
        ):
            if not self.story.begun:
                self._emit_all(self.story.said(OPENING, ""))
        elif action == "say" and pending.frame.get("ask") and answered:
            # No reply to the question, but one of its own, or a greeting: what is said to it follows.
            if self.story.get(pending.id) is None:
                self._emit_all(self.story.said(pending.id, pending.frame["text"]))
        elif action == "say" and pending.frame.get("ask"):
            # As it was said; the server may have taken less of it ("I am Ada": Ada), which the next welcome tells.
            self.profile[pending.frame["ask"]] = pending.frame["text"]
        elif action == "say" and answered is False:
            self._emit_all(self.story.assure(pending.id))
        elif action == "say" and answered is None:
            # A server that does not say whether the index answers this line is given a moment to answer it.
            self._errand(self._assure(pending.id))
        elif action == "undo":
            self._emit_all(self.story.forget(of))
        elif action == "remember":
            changed = self.profile | pending.frame["profile"]
            self.profile = {key: value for key, value in changed.items() if value}
        elif action == "rewrite":
            self._emit_all(self.story.rewritten(of, pending.frame["text"]))
        elif action in ("retry", "edit", "continue"):
            self._emit_all(self.story.reopened(of, pending.mark, pending.frame.get("text")))

    async def _assure(self, turn_id: str) -> None:
        if not self.story.begun:
            await asyncio.sleep(self._timeouts.answer)
        self._emit_all(self.story.assure(turn_id))

    def _errand(self, what: Coroutine[Any, Any, None]) -> None:
        errand = asyncio.create_task(what)
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)

    # --- events -------------------------------------------------------------------------

    def _emit_all(self, changes: list[Change]) -> None:
        for change in changes:
            if isinstance(change, Gap):
                self._gap_since = self._gap_since or time.monotonic()
            self._emit(change)
        if self._gap_since and not any(turn.held for turn in self.turns):
            self._gap_since = None

    def _emit(self, event: Event | Change) -> None:
        self._events.put_nowait(event)
