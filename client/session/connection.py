"""A play: one session, its connection, and the actions that wait their turn.

    async with Play("http://localhost:8080") as play:
        async for event in play:
            if isinstance(event, BeatCame) and event.beat.ask:
                await play.say("Ada", ask=event.beat.ask.key)

`Play` finds the socket, says hello, keeps the connection open, comes back when it is lost and goes
on where it was. It sends one action at a time and sends again, with the same id, what was not
acknowledged. It knows no screen: what happens comes as events, in order, and the state of the play
(`turns`, `beat`, `wake`, `profile`) is there to be read at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from client.session.connect import ConnectError, Connector, explain_close
from client.session.events import (
    Connection,
    Event,
    Failed,
    RefusedError,
)
from client.session.queue import Pending, Timeouts, line_problem
from client.session.state import SessionState
from client.session.story import Change, Turn


class Play(SessionState):
    """One visitor's play at one address. `observe` sees every frame: ("out" or "in", frame)."""

    def __init__(
        self,
        address: str,
        *,
        session: str | None = None,
        world: str | None = None,
        timeouts: Timeouts | None = None,
        observe: Callable[[str, dict[str, Any]], None] | None = None,
    ) -> None:
        super().__init__(session, timeouts or Timeouts(), observe or (lambda direction, frame: None))
        self.world = world
        self._connector = Connector(address)
        self._queued = asyncio.Event()
        self._return = asyncio.Event()
        self._socket: ClientConnection | None = None
        self._runner: asyncio.Task[None] | None = None
        self._opened = self._heard = self._sent = self._asked_at = time.monotonic()
        self._names = (f"{secrets.token_hex(6)}.{number}" for number in range(1, 1 << 62))

    # --- life ---------------------------------------------------------------------------

    async def open(self) -> None:
        """Connects for the first time and keeps the play going. Raises `ConnectError` if there is no way in."""
        socket = await self._connector.open()
        self._runner = asyncio.create_task(self._run(socket))
        self._runner.add_done_callback(lambda runner: self._events.put_nowait(None))

    async def close(self) -> None:
        """Leaves. The session lives on and can be returned to."""
        self._closing = True
        if self._runner:
            self._runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._runner
        if self._socket:
            await self._socket.close()
        for pending in self._queue:
            pending.settle(RefusedError("left", "The play was left before this was done."))
        self._events.put_nowait(None)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Event | Change]:
        return self

    async def __anext__(self) -> Event | Change:
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)
            raise StopAsyncIteration
        return event

    async def until(self, wanted: Callable[[Event | Change], bool], *, timeout_s: float = 30.0) -> Event | Change:
        """Lets events pass until one is wanted, and gives it. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            async for event in self:
                if wanted(event):
                    return event
        raise EOFError("The play was closed.")

    def take_back(self) -> None:
        """Another client has the session: take it back. Also cuts a wait for the next try short."""
        self.taken = False
        self._return.set()

    # --- what is there ------------------------------------------------------------------

    @property
    def owed_s(self) -> float:
        """For how many seconds the server has owed an acknowledgement; 0 when it owes none."""
        return time.monotonic() - self._asked_at if self.connected and self.busy else 0.0

    @property
    def busy(self) -> bool:
        """Whether an action still waits for its acknowledgement."""
        return any(not pending.done for pending in self._queue)

    # --- actions ------------------------------------------------------------------------

    def say(self, text: str, *, ask: str | None = None) -> Pending:
        """Says a line, or replies to the question `ask`. The id of what this gives is that of the turn."""
        frame: dict[str, Any] = {"action": "say", "id": next(self._names), "text": text}
        if ask:
            frame["ask"] = ask
        pending = self._enqueue(frame, refused=line_problem(text))
        if not ask and not pending.done:
            self._emit_all(self.story.said(pending.id, text))
        return pending

    def next(self, beat: str) -> Pending:
        """The beat has been told to its end: the next one, please."""
        return self._enqueue({"action": "next", "id": next(self._names), "beat": beat})

    def skip(self) -> Pending:
        """Ends the prologue."""
        return self._enqueue({"action": "skip", "id": next(self._names)})

    def retry(self, turn: Turn) -> Pending:
        """The last reply is to be told again."""
        return self._act_on(turn, "retry")

    def undo(self, turn: Turn) -> Pending:
        """The last turn is to be taken back."""
        return self._act_on(turn, "undo")

    def go_on(self, turn: Turn) -> Pending:
        """The last reply is to go on from where it ended (`continue`)."""
        return self._act_on(turn, "continue")

    def edit(self, turn: Turn, text: str) -> Pending:
        """The last line shall have been another."""
        return self._act_on(turn, "edit", text=text)

    def rewrite(self, turn: Turn, text: str) -> Pending:
        """The last reply shall be this text."""
        return self._act_on(turn, "rewrite", text=text)

    def remember(self, profile: dict[str, str]) -> Pending:
        """Changes what the storyteller knows of the visitor; an empty value forgets the key."""
        return self._enqueue({"action": "remember", "id": next(self._names), "profile": profile})

    def earlier(self) -> Pending | None:
        """Asks for the turns before the oldest one known, if any is known; they come as `Earlier`."""
        if not self.turns:
            return None
        before = self.turns[0].id
        return self._enqueue({"action": "history", "before": before}, key=f"history:{before}")

    async def stop(self, turn: Turn) -> None:
        """Stops the telling of this turn, at once, past all that waits. Sent again after a return."""
        self._stopping.add(turn.id)
        await self._send({"action": "stop", "of": turn.id})

    async def refresh(self) -> None:
        """Asks how things stand: a `Welcomed` with `again` follows, and `profile` is what the server has."""
        await self._say_hello()

    async def ping(self) -> None:
        """Asks for a sign of life; without one the connection counts as lost."""
        if self.connected:
            self._pinged = time.monotonic()
            await self._send({"action": "ping"})

    async def send_raw(self, frame: str | bytes) -> None:
        """Sends whatever it is given, for tests of what must not be sent."""
        if self._socket:
            await self._socket.send(frame)

    async def drop(self) -> None:
        """Cuts the connection as a bad network would, for tests; the play comes back by itself."""
        if self._socket:
            self._socket.transport.abort()

    def _act_on(self, turn: Turn, action: str, *, text: str | None = None) -> Pending:
        frame: dict[str, Any] = {"action": action, "id": next(self._names), "of": turn.id}
        if text is not None:
            frame["text"] = text
        pending = self._enqueue(frame, refused=None if text is None else line_problem(text))
        pending.mark = turn.mark
        return pending

    def _enqueue(
        self, frame: dict[str, Any], *, key: str | None = None, refused: RefusedError | None = None
    ) -> Pending:
        pending = Pending(frame, key or frame["id"])
        if refused:
            pending.settle(refused)
            self._emit(Failed(refused.code, refused.message, action=frame))
            return pending
        self._queue.append(pending)
        self._queued.set()
        return pending

    # --- the connection -----------------------------------------------------------------

    async def _run(self, socket: ClientConnection) -> None:
        attempt = 0
        while not self._closing:
            self._socket = socket
            self._opened = self._heard = self._sent = time.monotonic()
            sentence = await self._converse(socket)
            attempt = 0 if self.connected else attempt + 1
            self.connected = False
            self._welcomed.clear()
            self._gap_since = self._pinged = None
            while True:
                if self.taken:
                    self._emit(Connection("taken", sentence))
                    await self._pause(None)
                else:
                    wait = min(self._timeouts.retry_most, self._timeouts.retry_first * 2**attempt)
                    wait *= 0.5 + random.random() / 2
                    self._emit(Connection("lost", sentence, retry_s=wait))
                    await self._pause(wait)
                self._emit(Connection("opening"))
                try:
                    socket = await self._connector.open()
                    break
                except ConnectError as error:
                    sentence = error.message
                    attempt += 1

    async def _pause(self, seconds: float | None) -> None:
        self._return.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._return.wait()

    async def _converse(self, socket: ClientConnection) -> str:
        """Talks on this socket until it is lost. Gives the sentence that says why."""
        helpers = [asyncio.create_task(self._deliver()), asyncio.create_task(self._watch(socket))]
        try:
            await self._say_hello()
            async for frame in socket:
                self._heard = time.monotonic()
                self._receive(frame)
                if self.taken:
                    return "Another window has this session now."
                if self._closing:
                    break
        except ConnectionClosed:
            pass
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            # asyncio (3.11) trips over a transport that broke while a large frame was still on its way.
            with contextlib.suppress(AttributeError, OSError):
                await socket.close()
        return self._account_for(socket)

    def _account_for(self, socket: ClientConnection) -> str:
        age = time.monotonic() - self._opened
        idle = time.monotonic() - max(self._heard, self._sent)
        sentence = explain_close(socket.close_code, age_s=age, idle_s=idle)
        if socket.close_code in (1003, 1009) and self._queue and self._queue[0].tries:
            # Sent again, it would close the next connection too.
            pending = self._queue.popleft()
            pending.settle(RefusedError(f"closed_{socket.close_code}", sentence))
            self._emit(Failed(f"closed_{socket.close_code}", sentence, action=pending.frame))
        return sentence

    async def _deliver(self) -> None:
        """Sends what waits, one action at a time."""
        await self._welcomed.wait()
        while True:
            while self._queue and self._queue[0].done:
                self._queue.popleft()
            if not self._queue:
                self._queued.clear()
                await self._queued.wait()
                continue
            pending = self._queue[0]
            pending.again.clear()
            pending.tries += 1
            self._asked_at = time.monotonic()
            await self._send(pending.frame)
            try:
                async with asyncio.timeout(self._timeouts.acknowledged):
                    await pending.again.wait()
            except TimeoutError:
                if self._socket:
                    self._socket.transport.abort()
                return
            if not pending.done:
                pauses = self._timeouts.refused_again
                await asyncio.sleep(pauses[min(pending.tries, len(pauses)) - 1])

    async def _watch(self, socket: ClientConnection) -> None:
        """Keeps the connection open, and notices when it is open no more."""
        timeouts = self._timeouts
        step = min(timeouts.gap, timeouts.pong, timeouts.silence, timeouts.ping_after) / 4
        asked = 0.0
        while True:
            await asyncio.sleep(step)
            now = time.monotonic()
            if self._pinged and now - self._pinged > timeouts.pong:
                socket.transport.abort()
                return
            if not self.connected:
                if now - self._opened > timeouts.acknowledged:
                    socket.transport.abort()
                    return
            elif self._gap_since and now - self._gap_since > timeouts.gap:
                self._gap_since = now + timeouts.acknowledged
                await self._say_hello()
            elif self.story.live and now - max(self._heard, asked) > timeouts.patience(self._asked):
                asked = self._pinged = now
                self._asked += 1
                await self._say_hello()
            elif self._pinged is None and now - max(self._heard, self._sent) > timeouts.ping_after:
                await self.ping()

    async def _say_hello(self) -> None:
        hello: dict[str, Any] = {"action": "hello"}
        if self.session:
            hello["session"] = self.session
        if self.world:
            hello["world"] = self.world
        await self._send(hello)

    async def _send(self, frame: dict[str, Any]) -> None:
        if self._socket is None:
            return
        self._observe("out", frame)
        self._sent = time.monotonic()
        with contextlib.suppress(ConnectionClosed):  # the reader sees it too, and comes back
            await self._socket.send(json.dumps(frame, ensure_ascii=False))
