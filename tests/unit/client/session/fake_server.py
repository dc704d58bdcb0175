"""A server that says only what a test tells it to: config, tickets and sockets, each frame by hand."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self

from aiohttp import WSMsgType, web

STATS = {
    "ttft_ms": 210.0, "tokens": 42, "tokens_per_s": 9.5, "total_ms": 4600.0, "usd_per_million": 14.2,
    "used": {"usd": 0.0006, "mwh": 20.4, "mwh_bounds": [12.0, 40.0], "gco2e": 0.008, "gco2e_bounds": [0.004, 0.02]},
    "prompt_tokens": 300, "reused_tokens": 250,
}  # fmt: skip


class Line:
    """One connection, from the server's end."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self.ticket = request.query.get("ticket")
        self.origin = request.headers.get("Origin")
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def expect(self, action: str) -> dict[str, Any]:
        """The next frame, which must be this action."""
        async with asyncio.timeout(10):
            frame = await self.heard.get()
        assert frame["action"] == action, frame
        return frame

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send_str(json.dumps({"type": kind, **fields}))

    async def welcome(self, *, session: str = "s" * 22, **fields: Any) -> dict[str, Any]:
        """Waits for hello and answers it. Gives the hello."""
        hello = await self.expect("hello")
        about = {"world": "emerald_city", "protocol": 1, "resumed": "session" in hello, "turns": [], "profile": {}}
        await self.send("welcome", session=session, **(about | fields))
        return hello

    async def token(self, to: str, at: int, text: str, take: int = 1) -> None:
        await self.send("token", to=to, take=take, at=at, text=text)

    async def end(self, to: str, take: int = 1, reason: str = "stop") -> None:
        await self.send("end", to=to, take=take, reason=reason, stats=STATS)

    async def cut(self, code: int = 1006) -> None:
        """Ends the connection: with a close frame, or for 1006 without one."""
        if code == 1006:
            transport = self.socket._req.transport  # type: ignore[union-attr]
            assert transport is not None
            transport.abort()
        else:
            await self.socket.close(code=code)


class FakeServer:
    """`async with FakeServer() as server`: then `await server.line()` for each connection that comes."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = {"protocol": 1}
        self.tickets = 0
        self.door = 200
        self._lines: asyncio.Queue[Line] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/config.json", self._config)
        app.router.add_post("/ticket", self._ticket)
        app.router.add_get("/socket", self._socket)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def line(self) -> Line:
        async with asyncio.timeout(10):
            return await self._lines.get()

    async def _config(self, request: web.Request) -> web.Response:
        socket = self.address.replace("http", "ws") + "/socket"
        return web.json_response({"socket": socket, "ticket": self.address + "/ticket", **self.config})

    async def _ticket(self, request: web.Request) -> web.Response:
        if self.door != 200:
            return web.Response(status=self.door)
        self.tickets += 1
        return web.json_response({"ticket": f"ticket/{self.tickets}", "expires_in": 60})

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        line = Line(socket, request)
        self._lines.put_nowait(line)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                line.heard.put_nowait(json.loads(message.data))
        return socket
