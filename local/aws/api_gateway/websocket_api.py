"""API Gateway's WebSocket API: who comes in, where each message goes, who is still there.

`Gateway.connect` is the handler of the WebSocket's own address; `connections` is the face that functions
post to. Limits and error bodies are AWS's:
https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from aiohttp import web

from local.aws.api_gateway import events
from local.aws.api_gateway.authorizer import AuthorizerError, judge
from local.aws.api_gateway.frames import Socket, problem
from local.aws.functions.environment import Outcome
from local.aws.functions.pool import ThrottledError
from local.aws.functions.service import LambdaService
from local.plan import Plan


class Connection:
    """An open WebSocket and what is known of its visitor. `last_active` is a monotonic time."""

    def __init__(self, socket: Socket, visit: events.Visit) -> None:
        self.socket = socket
        self.visit = visit
        self.last_active = time.monotonic()
        self.idle: asyncio.TimerHandle | None = None

    def send(self, text: str) -> None:
        """Sends to the client; nothing happens if it has just gone."""
        self.last_active = time.monotonic()
        if self.socket.open:
            self.socket.send(text)


class Gateway:
    """All connections of one WebSocket API. `close` when done."""

    def __init__(self, service: LambdaService, plan: Plan) -> None:
        self.connections: dict[str, Connection] = {}
        self._service = service
        self._plan = plan
        self._limits = plan.gateway
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Handles a handshake: authorizer, `$connect`, then the connection until it ends."""
        request_id = events.token()
        visit = _visit(request)
        if (said := problem(request)) is not None:
            return _refuse(426 if "Upgrade" not in request.headers else 400, said, visit, request_id)
        refused, visit = await self._authorize(visit, request_id)
        if refused is None:
            refused = await self._ask_connect(visit, request_id)
        if refused is not None:
            return refused
        try:
            socket = await Socket.accept(
                request, frame_bytes=self._limits.frame_bytes, message_bytes=self._limits.message_bytes
            )
        except ConnectionError:  # the client has not waited
            self._say_goodbye(visit, 1006, "")
            return web.Response()
        await self._serve(Connection(socket, visit))
        return socket.response

    async def close(self) -> None:
        """Says goodbye to everyone, and lets go of what is still being worked on."""
        for connection in list(self.connections.values()):
            connection.socket.close(1001, "Going away")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- coming in ----------------------------------------------------------------------------

    async def _authorize(self, visit: events.Visit, request_id: str) -> tuple[web.Response | None, events.Visit]:
        name = self._plan.authorizer
        if name is None:
            return None, visit
        if not all(any(visit.query.get(source, [])) for source in self._plan.identity):
            return _refuse(401, "Unauthorized", visit, request_id), visit
        outcome = await self._invoke(name, events.authorizer_event(visit, request_id))
        try:
            if outcome is None or outcome.failed:
                raise AuthorizerError("the authorizer failed")
            context = judge(json.loads(outcome.payload), events.method_arn())
        except (AuthorizerError, ValueError):
            return _refuse(500, "Internal server error", visit, request_id), visit
        if context is None:
            return _refuse(403, "User is not authorized to access this resource", visit, request_id), visit
        return None, replace(visit, authorizer=context)

    async def _ask_connect(self, visit: events.Visit, request_id: str) -> web.Response | None:
        name = self._plan.routes.get("$connect")
        if name is None:
            return None
        outcome = await self._invoke(name, events.connect_event(visit, request_id))
        status = _status(outcome)
        if status is None:
            return _refuse(502, "Internal server error", visit, request_id)
        return None if 200 <= status < 300 else _refuse(status, "Forbidden", visit, request_id)

    # --- being there --------------------------------------------------------------------------

    async def _serve(self, connection: Connection) -> None:
        visit, loop = connection.visit, asyncio.get_running_loop()
        self.connections[visit.connection_id] = connection
        too_long = loop.call_later(self._limits.duration_s, connection.socket.close, 1001, "Going away")
        self._watch_idle(connection)
        try:
            async for text in connection.socket:
                connection.last_active = time.monotonic()
                # Concurrently, as on AWS: nothing promises that two messages are worked on in order.
                self._spawn(self._dispatch(connection, text))
        finally:
            too_long.cancel()
            if connection.idle:
                connection.idle.cancel()
            del self.connections[visit.connection_id]
        self._say_goodbye(visit, *connection.socket.ended)

    def _say_goodbye(self, visit: events.Visit, code: int, reason: str) -> None:
        """Tells `$disconnect`, which may fail unheard."""
        name = self._plan.routes.get("$disconnect")
        if name is not None and self._limits.deliver_disconnect:
            self._spawn(self._tell(name, events.disconnect_event(visit, events.token(), code, reason)))

    def _watch_idle(self, connection: Connection) -> None:
        """Closes a connection without traffic in either direction; pings are not traffic."""
        left = connection.last_active + self._limits.idle_s - time.monotonic()
        if left <= 0:
            connection.socket.close(1001, "Going away")
        else:
            connection.idle = asyncio.get_running_loop().call_later(left, self._watch_idle, connection)

    async def _dispatch(self, connection: Connection, text: str) -> None:
        request_id = events.token()
        route = self._route(text)
        if route is None:
            connection.send(_problem("Forbidden", connection.visit, request_id))
            return
        event = events.message_event(connection.visit, route, request_id, text)
        try:
            outcome = await self._invoke(self._plan.routes[route], event, give_up=True)
        except TimeoutError:
            connection.send(_problem("Endpoint request timed out", connection.visit, request_id))
            return
        if outcome is None or outcome.failed:
            connection.send(_problem("Internal server error", connection.visit, request_id))

    def _route(self, text: str) -> str | None:
        """The route that `$request.body.action` selects, `$default` if none, None if that is not there."""
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            body = None
        action = body.get("action") if isinstance(body, dict) else None
        if isinstance(action, str) and action in self._plan.routes and not action.startswith("$"):
            return action
        return "$default" if "$default" in self._plan.routes else None

    # --- functions ----------------------------------------------------------------------------

    async def _invoke(self, name: str, event: dict[str, Any], *, give_up: bool = False) -> Outcome | None:
        """None: throttled, or too slow, unless `give_up`, which raises `TimeoutError` for the latter."""
        try:
            async with asyncio.timeout(self._limits.integration_s):
                return await self._service.invoke(name, json.dumps(event).encode())
        except ThrottledError:
            return None
        except TimeoutError:
            if give_up:
                raise
            return None

    async def _tell(self, name: str, event: dict[str, Any]) -> None:
        await self._invoke(name, event)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _visit(request: web.Request) -> events.Visit:
    now = int(time.time() * 1000)
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        headers.setdefault(name, []).append(value)
    source = request.remote or ""
    for name, value in {
        "X-Forwarded-For": source,
        "X-Forwarded-Port": str(request.url.port),
        "X-Forwarded-Proto": request.scheme,
    }.items():
        headers.setdefault(name, [value])
    return events.Visit(
        connection_id=events.token(),
        connected_at=now,
        domain=request.host,
        source_ip=source,
        user_agent=request.headers.get("User-Agent"),
        headers=headers,
        query={name: request.query.getall(name) for name in request.query},
    )


def _status(outcome: Outcome | None) -> int | None:
    """The status code of a proxy integration's response; None if it is none."""
    if outcome is None or outcome.failed:
        return None
    try:
        body = json.loads(outcome.payload)
        return int(body["statusCode"])
    except (ValueError, TypeError, KeyError):
        return None


def _problem(message: str, visit: events.Visit, request_id: str) -> str:
    return json.dumps({"message": message, "connectionId": visit.connection_id, "requestId": request_id})


def _refuse(status: int, message: str, visit: events.Visit, request_id: str) -> web.Response:
    return web.Response(status=status, text=_problem(message, visit, request_id), content_type="application/json")
