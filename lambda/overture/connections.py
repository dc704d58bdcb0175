"""Connections: posting messages to clients, and streaming a reply to whoever is listening.

`Connections.post` sends one message through API Gateway's management API. `ReplyStream` sends a
growing reply in a thread of its own: it gathers tokens (every post is a paid call), follows the
session from one connection to the next, slows down when told to, and saves the reply so far.

This module knows nothing of models; what it must ask or tell about the session it does by the
`Listener` it is given.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config
from botocore.exceptions import ClientError

from overture import protocol

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

logger = Logger(child=True)

#: A `token` message stays far below the 128 KB that a post may have: four bytes a character at most, escaped.
TOKEN_CHARACTERS = 8_000
_BUSY_FIRST_S, _BUSY_LONGEST_S = 0.2, 3.2


class Gone(Exception):
    """The connection is closed: read the session again, there may be a new one."""


class Busy(Exception):
    """The gateway asks for fewer posts: gather more, and try again."""


class TooLarge(Exception):
    """The message is over the gateway's 128 KB."""


class Connections:
    """Posts to clients. The endpoint comes from `AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI`."""

    def __init__(self, client: ApiGatewayManagementApiClient | None = None) -> None:
        self._client = client or boto3.client(
            "apigatewaymanagementapi",
            config=Config(retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=3, read_timeout=5),
        )

    def try_post(self, connection: str, message: protocol.ServerMessage) -> None:
        """Posts one message, once. Raises `Gone`, `Busy` or `TooLarge`."""
        data = protocol.write(message).encode()
        try:
            self._client.post_to_connection(ConnectionId=connection, Data=data)
        except self._client.exceptions.GoneException:
            raise Gone from None
        except self._client.exceptions.LimitExceededException:
            raise Busy from None
        except self._client.exceptions.PayloadTooLargeException:
            raise TooLarge(f"a {type(message).__name__} of {len(data)} bytes") from None
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status == 410:
                raise Gone from None
            if status == 429:
                raise Busy from None
            if status == 413:
                raise TooLarge(f"a {type(message).__name__} of {len(data)} bytes") from None
            raise

    def post(self, connection: str | None, *messages: protocol.ServerMessage) -> bool:
        """Posts messages in order, patiently; False when nobody is there."""
        if connection is None:
            return False
        for message in messages:
            pause = _BUSY_FIRST_S
            while True:
                try:
                    self.try_post(connection, message)
                    break
                except Gone:
                    return False
                except Busy:
                    if pause > _BUSY_LONGEST_S:
                        logger.warning(
                            "gave up posting: the gateway stays busy", extra={"kind": type(message).__name__}
                        )
                        return False
                    time.sleep(pause)
                    pause *= 2
        return True

    def close(self, connection: str) -> None:
        """Closes a connection, if it is still there."""
        try:
            self._client.delete_connection(ConnectionId=connection)
        except ClientError:
            logger.debug("the connection to close was gone")


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
        except BaseException as error:  # the telling thread must hear of it, whatever it is
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
            except Busy:
                self._pause = min(_BUSY_LONGEST_S, max(_BUSY_FIRST_S, self._pause * 2))
                return
            self._sent += len(text)
            self._pause = 0.0

    def _gone(self) -> None:
        """The connection closed under us: whoever the session names now gets the whole reply."""
        self._closed, self._sent = self.connection, 0
        heard = self._listener.hear()
        self.connection = heard.connection if heard.connection != self._closed else None
        if self.connection is None and self._alone_since is None:
            self._alone_since = time.monotonic()

    def _send_rest(self) -> None:
        """The reply is whole: a few more attempts where the gateway was busy or the client changed."""
        for attempt in range(5):
            if self.connection is None or self._sent == len(self._reply):
                return
            if attempt:
                time.sleep(self._pause)
            self._send()


def fit_turns(
    turns: list[protocol.TurnView], room: int, write: Callable[[list[protocol.TurnView]], protocol.ServerMessage]
) -> protocol.ServerMessage:
    """The message with as many of the newest turns (given newest first) as fit `room` bytes, oldest first."""
    kept: list[protocol.TurnView] = []
    used = len(protocol.write(write([])).encode())
    for turn in turns:
        used += len(protocol.write(protocol.Turns("", [turn])).encode())
        if kept and used > room:
            break
        kept.append(turn)
    return write(kept[::-1])
