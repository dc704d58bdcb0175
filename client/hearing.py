"""What a play hears: frames become the state of the play and events, in order.

The half of a play that listens; `transport` is the half that connects and acts. It settles the actions that wait
for their acknowledgement, and knows neither socket nor door.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from client.actions import Patience, Pending
from client.door import PROTOCOL
from client.events import (
    AnswerCame,
    Beat,
    BeatCame,
    Connection,
    Earlier,
    Event,
    Failed,
    Field,
    RefusedError,
    Wake,
    Welcomed,
    Woke,
)
from client.story import OPENING, Change, Gap, Story, Turn


class Hearing:
    """The state of one play, as what was heard has made it."""

    def __init__(self, session: str | None, patience: Patience, observe: Callable[[str, dict[str, Any]], None]) -> None:
        self.session = session
        self.story = Story()
        self.title = "Overture"
        self.fields: dict[str, Field] = {}
        self.profile: dict[str, str] = {}
        self.wake: Wake | None = None
        self.beat: Beat | None = None
        self.connected = False
        self.taken = False
        self._patience, self._observe = patience, observe
        self._events: asyncio.Queue[Event | Change | None] = asyncio.Queue()
        self._queue: deque[Pending] = deque()
        self._welcomed = asyncio.Event()
        self._closing = False
        self._stopping: set[str] = set()
        self._gap_since: float | None = None
        self._pinged: float | None = None
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
            frame = json.loads(text)
            self._observe("in", frame)
            handle = getattr(self, f"_on_{frame['type']}", None)
            if handle:  # a type this client does not know is none of its business
                handle(frame)
        except (ValueError, TypeError, KeyError) as error:
            self._emit(Failed("bad_frame", f"The server sent something that cannot be read ({error!r:.80})."))

    def _on_welcome(self, frame: dict[str, Any]) -> None:
        if frame["protocol"] != PROTOCOL:
            sentence = f"The server now speaks protocol {frame['protocol']} and this client {PROTOCOL}; update it."
            self._emit(Connection("closed", sentence))
            self._closing = True
            return
        again = self.connected
        if self.session not in (None, frame["session"]):  # the old one is gone: its turns are too
            self.story, self.beat = Story(), None
        self.session, self.profile, self.connected = frame["session"], frame["profile"], True
        waiting = {pending.id for pending in self._queue if pending.frame["action"] == "say"}
        self._gap_since = None
        self._emit_all(self.story.welcome(frame["turns"], lambda turn_id: turn_id in waiting))
        if any(turn.held for turn in self.turns):  # what was saved does not reach that far yet
            self._gap_since = time.monotonic()
        if not again:
            self._emit(Connection("open"))
        self.title = str(frame.get("title") or self.title)
        self.fields = {field["key"]: Field(field["label"], field["default"]) for field in frame.get("fields", [])}
        self._emit(Welcomed(frame["resumed"], frame["world"], again=again))
        self._welcomed.set()
        for turn in self.turns:
            if turn.id in self._stopping and turn.live and not again:
                self._errand(self._send({"action": "stop", "of": turn.id}))

    def _on_history(self, frame: dict[str, Any]) -> None:
        self._acknowledge(f"history:{frame['before']}")
        self._emit(Earlier(self.story.earlier(frame["turns"])))

    def _on_ok(self, frame: dict[str, Any]) -> None:
        self._acknowledge(frame["to"], answered=frame.get("answered"))

    def _on_pong(self, frame: dict[str, Any]) -> None:
        self._pinged = None

    def _on_error(self, frame: dict[str, Any]) -> None:
        code, message, to = frame["code"], frame["message"], frame.get("to")
        if code == "taken_over":
            self.taken = True
            return
        if not self.connected:
            if code == "hello_first":
                return
            if self.session and code == "bad_field":
                self.session = None  # what was remembered is of no use: begin afresh
                self._errand(self._say_hello())
                return
        pending = next((pending for pending in self._queue if pending.is_meant_by(code, to)), None)
        if pending is None:
            # Of a turn that will be told anew (`retryable`), or one that was given up.
            self._emit_all(self.story.failed(to, message) if to and not frame["retryable"] else [])
            self._emit(Failed(code, message, turn=self.story.get(to) if to else None))
            return
        if code in ("hello_first", "no_session"):
            self._errand(self._say_hello())
        if frame["retryable"] and code != "bad_reply" and pending.tries <= len(self._patience.refused_again):
            pending.again.set()
            return
        pending.settle(RefusedError(code, message))
        if pending.frame["action"] == "say":
            self._emit_all(self.story.forget(pending.id))
        self._emit(Failed(code, message, action=pending.frame))

    def _on_wake(self, frame: dict[str, Any]) -> None:
        self.wake = Wake(frame["state"], frame.get("progress"), frame.get("eta_s"), frame.get("position"))
        self._emit(Woke(self.wake))

    def _on_beat(self, frame: dict[str, Any]) -> None:
        beat = Beat.read(frame)
        if self.story.begun or (self.beat and self.beat.id == beat.id):
            return  # late, or the one that is being told
        self.beat = beat
        self._emit(BeatCame(beat))

    def _on_answer(self, frame: dict[str, Any]) -> None:
        about = {key: frame[key] for key in ("matched", "score", "saved")}
        changes = self.story.answered(frame["to"], frame["text"], about)
        self._emit_all(changes)
        turn = self.story.get(frame["to"])
        if changes and turn:
            self._emit(AnswerCame(turn))

    def _on_token(self, frame: dict[str, Any]) -> None:
        self._emit_all(self.story.token(frame["to"], frame["take"], frame["at"], frame["text"]))

    def _on_end(self, frame: dict[str, Any]) -> None:
        self._stopping.discard(frame["to"])
        self._emit_all(
            self.story.end(frame["to"], frame["take"], frame["reason"], frame["stats"], frame.get("notes", ()))
        )

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
        elif action == "say" and pending.frame.get("ask"):
            # As it was said; the server may have taken less of it ("I am Ada": Ada), which the next welcome tells.
            self.profile[pending.frame["ask"]] = pending.frame["text"]
        elif action == "say" and answered is False:
            self._emit_all(self.story.assure(pending.id))
        elif action == "say" and answered is None:
            # A server that does not say whether the book answers this line is given a moment to answer it.
            self._errand(self._assure(pending.id))
        elif action == "undo":
            self._emit_all(self.story.forget(of))
        elif action == "remember":
            changed = self.profile | pending.frame["profile"]
            self.profile = {key: value for key, value in changed.items() if value}
        elif action in ("retry", "edit", "continue"):
            self._emit_all(self.story.reopened(of, pending.mark, pending.frame.get("text")))

    async def _assure(self, turn_id: str) -> None:
        if not self.story.begun:
            await asyncio.sleep(self._patience.answer)
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
