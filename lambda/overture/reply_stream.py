"""ReplyStream: sends a growing reply to the session's connection, in a thread of its own.

It gathers tokens (every post is a paid call), follows the session from one connection to the next, slows
down while posts fail, and saves the reply so far. What it must ask or tell about the session it does by
the `Listener` it is given.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple, Protocol

from overture import protocol
from overture.connections import FIRST_PAUSE_S, LONGEST_PAUSE_S, Connections, Gone, PostFailed

#: A `token` message stays far below the 128 KB that a post may have: four bytes a character at most, escaped.
TOKEN_CHARACTERS = 8_000


class Heard(NamedTuple):
    """What the session says at the moment: who listens, and whether the reply is to be stopped."""

    connection: str | None
    stop: bool


class Listener(Protocol):
    """What a stream asks of the session it belongs to. Either may raise: the stream is then cut."""

    def hear(self) -> Heard:
        """Reads the session."""

    def save(self, reply: str) -> None:
        """Keeps the reply so far, and the lease."""


class ReplyStream:
    """Sends one reply as it grows. `write` never waits; the sending is done by a thread.

    Characters are counted in code points, as `token.at` is. `base` is what a client already has
    of the reply (a continued one).
    """

    def __init__(
        self,
        connections: Connections,
        listener: Listener,
        *,
        to: str,
        take: int,
        base: str,
        connection: str | None,
        gather_s: float,
        save_s: float = 1.0,
        grace_s: float = 30.0,
        resend: bool = False,
    ) -> None:
        self.cancelled = threading.Event()
        #: Set when nobody was connected for the whole of the grace.
        self.abandoned = False
        #: What the listener raised, if anything: the reply is no longer ours to tell.
        self.cut: BaseException | None = None
        self.connection = connection
        self._connections, self._listener = connections, listener
        self._to, self._take = to, take
        self._gather_s, self._save_s, self._grace_s = gather_s, save_s, grace_s
        self._reply = base
        self._sent = 0 if resend else len(base)
        self._saved_at = self._heard_at = time.monotonic()
        self._closed: str | None = None
        self._alone_since: float | None = None if connection else time.monotonic()
        self._news = threading.Condition()
        self._over = False
        self._pause = 0.0
        self._thread = threading.Thread(target=self._run, name="reply-stream", daemon=True)
        self._thread.start()

    @property
    def reply(self) -> str:
        """The whole reply so far."""
        return self._reply

    def write(self, text: str) -> None:
        """Adds to the reply."""
        with self._news:
            self._reply += text
            self._news.notify()

    def close(self) -> None:
        """Sends what is left and ends the thread. What cannot be sent is in the session all the same."""
        with self._news:
            self._over = True
            self._news.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            last = False
            while not last:
                with self._news:
                    if len(self._reply) == self._sent and not self._over:
                        self._news.wait(self._gather_s or 0.05)
                    last = self._over
                began = time.monotonic()
                self._hear()
                self._send()
                if last:
                    self._send_rest()
                    return
                if began - self._saved_at >= self._save_s:
                    self._saved_at = began
                    self._listener.save(self._reply)
                rest = self._gather_s + self._pause - (time.monotonic() - began)
                with self._news:
                    if rest > 0 and not self._over:
                        self._news.wait_for(lambda: self._over, rest)
        except BaseException as error:  # the worker's thread must hear of it, whatever it is
            self.cut = error
            self.cancelled.set()

    def _hear(self) -> None:
        """Reads the session with each post, and once a second without any."""
        now = time.monotonic()
        if len(self._reply) == self._sent and now - self._heard_at < 1.0:
            return
        self._heard_at = now
        heard = self._listener.hear()
        if heard.stop:
            self.cancelled.set()
        # The session may go on naming a connection that we know is closed.
        connection = heard.connection if heard.connection != self._closed else None
        if connection != self.connection:
            self.connection, self._sent = connection, 0
        if self.connection is not None:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > self._grace_s:
            self.abandoned = True
            self.cancelled.set()

    def _send(self) -> None:
        reply = self._reply
        while self.connection is not None and self._sent < len(reply):
            text = reply[self._sent : self._sent + TOKEN_CHARACTERS]
            try:
                self._connections.try_post(self.connection, protocol.Token(self._to, self._take, self._sent, text))
            except Gone:
                self._gone()
                return
            except PostFailed:
                self._pause = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, self._pause * 2))
                return
            self._sent += len(text)
            self._pause = 0.0

    def _gone(self) -> None:
        """The connection closed under us: the connection that the session names now gets the whole reply."""
        self._closed, self._sent = self.connection, 0
        heard = self._listener.hear()
        self.connection = heard.connection if heard.connection != self._closed else None
        if self.connection is None and self._alone_since is None:
            self._alone_since = time.monotonic()

    def _send_rest(self) -> None:
        """The reply is whole: a few more attempts where a post failed or the client changed."""
        for attempt in range(6):
            if self.connection is None or self._sent == len(self._reply):
                return
            if attempt:
                time.sleep(self._pause)
            self._send()
