"""`/@connections/{id}`: how functions reach the client of a WebSocket, as boto3 calls it.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-connections.html
Error bodies and headers are such that boto3 raises GoneException and the like.
"""

from __future__ import annotations

import datetime
import re
import time
from typing import Any

from aiohttp import web

from local.aws.api_gateway import events
from local.aws.api_gateway.websocket_api import Connection, Gateway
from local.plan import GatewayLimits

ID = re.compile(r"^[A-Za-z0-9_-]{15}=$")


class Connections:
    """The management API of one gateway; add its `handle` for every method."""

    def __init__(self, gateway: Gateway, limits: GatewayLimits) -> None:
        self._gateway = gateway
        self._limits = limits
        self._bucket = limits.posts_per_s or 0.0
        self._filled = time.monotonic()

    async def handle(self, request: web.Request) -> web.Response:
        """POST, GET and DELETE on one connection."""
        connection_id = request.match_info["id"]
        if not ID.match(connection_id):
            return _refuse(400, "BadRequestException", f"Invalid connectionId: {connection_id}", connection_id)
        if not self._admit():
            return _refuse(429, "LimitExceededException", "Too Many Requests", connection_id)
        try:
            data = await request.read() if request.method == "POST" else b""
        except web.HTTPRequestEntityTooLarge:
            return _too_large(connection_id)
        if len(data) > self._limits.message_bytes:
            return _too_large(connection_id)
        connection = self._gateway.connections.get(connection_id)
        if connection is None or not connection.socket.open:
            return _refuse(410, "GoneException", "Gone", connection_id)
        if request.method == "POST":
            return self._post(connection, data, connection_id)
        if request.method == "DELETE":
            connection.socket.close(1000, "Connection Closed Normally")
            return web.Response(status=204)
        return _answer(200, _describe(connection))

    def _post(self, connection: Connection, data: bytes, connection_id: str) -> web.Response:
        if connection.socket.waiting > self._limits.client_buffer_bytes:
            return _refuse(429, "LimitExceededException", "Too Many Requests", connection_id)
        try:
            connection.send(data.decode())
        except UnicodeDecodeError:
            return _refuse(400, "BadRequestException", "Only text can be sent: this is not UTF-8", connection_id)
        return _answer(200, {})

    def _admit(self) -> bool:
        """A bucket that fills by `posts_per_s` each second, and holds as many."""
        rate = self._limits.posts_per_s
        if rate is None:
            return True
        now = time.monotonic()
        self._bucket = min(max(rate, 1.0), self._bucket + (now - self._filled) * rate)
        self._filled = now
        if self._bucket < 1:
            return False
        self._bucket -= 1
        return True


def _describe(connection: Connection) -> dict[str, Any]:
    def iso(seconds: float) -> str:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")

    visit = connection.visit
    return {
        "connectedAt": iso(visit.connected_at / 1000),
        "lastActiveAt": iso(time.time() - (time.monotonic() - connection.last_active)),
        "identity": {"sourceIp": visit.source_ip, "userAgent": visit.user_agent},
    }


def _answer(status: int, body: dict[str, Any]) -> web.Response:
    return web.json_response(body, status=status, headers={"x-amzn-RequestId": events.token()})


def _refuse(status: int, kind: str, message: str, connection_id: str) -> web.Response:
    request_id = events.token()
    body = {"message": message, "connectionId": connection_id, "requestId": request_id}
    headers = {"x-amzn-ErrorType": kind, "x-amzn-RequestId": request_id}
    return web.json_response(body, status=status, headers=headers)


def _too_large(connection_id: str) -> web.Response:
    return _refuse(413, "PayloadTooLargeException", "Payload Too Large", connection_id)
