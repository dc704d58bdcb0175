"""A WebSocket that sees frames, over the connection of an aiohttp request.

API Gateway limits frames as well as messages, and never waits for a slow client; aiohttp's own
WebSocket shows whole messages and waits. So the bytes go through the `websockets` library's protocol
without I/O.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.utils import accept_key

#: How long a client may take to answer our close frame before the connection is dropped.
CLOSE_S = 5.0


class Socket:
    """One open WebSocket. Iterate over it for the text messages; it ends when the connection does."""

    def __init__(self, transport: asyncio.Transport, *, frame_bytes: int, message_bytes: int) -> None:
        self._transport = transport
        self._protocol = ServerProtocol(state=OPEN, max_size=(message_bytes, frame_bytes))
        self._messages: asyncio.Queue[str | None] = asyncio.Queue()
        self._partial = bytearray()
        self._dropping: asyncio.TimerHandle | None = None
        self._said: tuple[int, str] | None = None

    @classmethod
    async def accept(cls, request: web.Request, *, frame_bytes: int, message_bytes: int) -> Socket:
        """Answers the handshake of `request` (see `problem`) and takes its connection over.

        The handler must go on until the socket is over, and then return `Socket.response`. Raises
        `ConnectionError` if the client is gone already.
        """
        transport = request.transport
        if not isinstance(transport, asyncio.Transport) or transport.is_closing():
            raise ConnectionResetError("The client is gone")
        socket = cls(transport, frame_bytes=frame_bytes, message_bytes=message_bytes)
        socket.response = _Switched(request.headers["Sec-WebSocket-Key"])
        await socket.response.prepare(request)
        # aiohttp feeds what arrives after an upgrade to this object, as it does to its own reader.
        request.protocol.set_parser(socket)  # type: ignore[arg-type]
        request.protocol.keep_alive(False)
        return socket

    response: web.StreamResponse

    def __aiter__(self) -> AsyncIterator[str]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[str]:
        while (text := await self._messages.get()) is not None:
            yield text

    @property
    def open(self) -> bool:
        """Whether anything can still be sent."""
        return self._protocol.state is OPEN and not self._transport.is_closing()

    @property
    def waiting(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._transport.get_write_buffer_size()

    @property
    def ended(self) -> tuple[int, str]:
        """The close code and reason, of whoever closed first; 1006 where the connection just broke."""
        if self._said is not None:
            return self._said
        received = self._protocol.close_rcvd
        return (received.code, received.reason) if received is not None else (1006, "")

    def send(self, text: str) -> None:
        """Sends a text message, in one frame, without waiting. The socket must be open."""
        self._protocol.send_text(text.encode())
        self._flush()

    def close(self, code: int, reason: str) -> None:
        """Says goodbye; the connection is dropped when the client has answered, or after a while."""
        if self.open:
            self._said = (code, reason)
            self._protocol.send_close(code, reason)
            self._flush()

    def cut(self) -> None:
        """Drops the connection without a word, as a network that breaks."""
        self._transport.abort()

    # --- what aiohttp calls -------------------------------------------------------------------

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Takes bytes from the client."""
        with contextlib.suppress(EOFError):
            self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        self._flush()
        return False, b""

    def feed_eof(self) -> None:
        """The connection is over."""
        self._protocol.receive_eof()
        if self._dropping:
            self._dropping.cancel()
        self._messages.put_nowait(None)

    # --- inside -------------------------------------------------------------------------------

    def _take(self, frame: Frame) -> None:
        if not self.open or frame.opcode not in (Opcode.TEXT, Opcode.CONT, Opcode.BINARY):
            return
        if frame.opcode is Opcode.BINARY:
            self._fail(1003, "Binary frames are not supported")
            return
        self._partial += frame.data
        if frame.fin:
            whole, self._partial = bytes(self._partial), bytearray()
            try:
                self._messages.put_nowait(whole.decode())
            except UnicodeDecodeError:
                self._fail(1007, "A text frame must be UTF-8")

    def _fail(self, code: int, reason: str) -> None:
        self._said = (code, reason)
        with contextlib.suppress(ProtocolError):
            self._protocol.fail(code, reason)

    def _flush(self) -> None:
        sent = self._protocol.close_sent
        if self._said is None and sent is not None and self._protocol.close_rcvd is None:
            self._said = (sent.code, sent.reason)
        for data in self._protocol.data_to_send():
            if self._transport.is_closing():
                return
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                # Only our half: dropping what a client is still sending would reset the connection,
                # and the reset would overtake our close frame.
                self._transport.write_eof()
        if self._protocol.close_rcvd is not None:
            self._transport.close()
        elif self._protocol.close_expected() and self._dropping is None:
            self._dropping = asyncio.get_running_loop().call_later(CLOSE_S, self._transport.abort)


def problem(request: web.Request) -> str | None:
    """What keeps this request from becoming a WebSocket; None if nothing does."""
    headers = request.headers
    if headers.get("Upgrade", "").lower() != "websocket" or "upgrade" not in headers.get("Connection", "").lower():
        return "This address speaks WebSocket; open it with a WebSocket client."
    if headers.get("Sec-WebSocket-Version") != "13" or not headers.get("Sec-WebSocket-Key"):
        return "This handshake is not that of WebSocket version 13."
    return None


class _Switched(web.StreamResponse):
    """101, after which the connection is not HTTP's any more."""

    _length_check = False

    def __init__(self, key: str) -> None:
        super().__init__(
            status=101,
            headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept_key(key)},
        )
        self.force_close()

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:
        """Nothing: HTTP has no more to say here."""
