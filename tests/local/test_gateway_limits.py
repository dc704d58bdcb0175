"""API Gateway's limits: frames, messages, binary, idleness, duration, throttled posts, slow clients."""

from __future__ import annotations

import contextlib
import json
import socket as sockets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from local.plan import GatewayLimits
from tests.local.tiny_stack import TinyStack, tiny, tiny_stack, until

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

ROUTES = {"$connect": "keep", "$disconnect": "keep", "$default": "keep"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyStack]:
    with tiny_stack(tmp_path_factory.mktemp("stack"), tiny("keep", prestart=1), routes=ROUTES) as found:
        yield found


def come_in(stack: TinyStack) -> ClientConnection:
    url = f"{stack.url.replace('http', 'ws')}/socket"
    found: ClientConnection = connect(url, compression=None, open_timeout=60, max_size=None)
    return found


@contextmanager
def post_client(stack: TinyStack) -> Iterator[ApiGatewayManagementApiClient]:
    found = boto3.client(
        "apigatewaymanagementapi",
        region_name="us-east-1",
        endpoint_url=stack.url,
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield found
    found.close()


def closed(socket: ClientConnection) -> tuple[int, str]:
    """Waits for the gateway to close; gives its code and reason."""
    with pytest.raises(ConnectionClosed) as caught:
        socket.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


def post_often(client: ApiGatewayManagementApiClient, name: str, data: bytes) -> None:
    for _ in range(1000):
        client.post_to_connection(ConnectionId=name, Data=data)


def bodies(stack: TinyStack) -> list[str]:
    return [event["body"] for event in stack.traces("keep") if "body" in event]


def id_of(stack: TinyStack, socket: ClientConnection) -> str:
    """The connection whose handshake had this client's key."""
    assert socket.request is not None
    key = socket.request.headers["Sec-WebSocket-Key"]

    def find() -> list[str]:
        visits = [one.visit for one in list(stack.stack.gateway.connections.values())]
        return [visit.connection_id for visit in visits if visit.headers["Sec-WebSocket-Key"] == [key]]

    return until(find)[0]


def left(stack: TinyStack, name: str) -> int:
    """Waits for the news that a connection is over; gives its close code."""

    def find() -> list[int]:
        contexts = [event["requestContext"] for event in stack.traces("keep")]
        return [
            one["disconnectStatusCode"]
            for one in contexts
            if one["connectionId"] == name and one["eventType"] == "DISCONNECT"
        ]

    return until(find)[0]


def test_the_largest_frame_arrives(stack: TinyStack) -> None:
    text = "a" * 32_768
    with come_in(stack) as socket:
        socket.send(text)
        until(lambda: text in bodies(stack))


def test_the_largest_message_arrives_in_frames(stack: TinyStack) -> None:
    frames = [letter * 32_768 for letter in "bcde"]
    with come_in(stack) as socket:
        socket.send(frames)
        until(lambda: "".join(frames) in bodies(stack))


@pytest.mark.parametrize("size", [32_769, 200_000, 5_000_000])
def test_a_frame_too_large(stack: TinyStack, size: int) -> None:
    with come_in(stack) as socket:
        name = id_of(stack, socket)
        with contextlib.suppress(ConnectionClosed):
            socket.send("x" * size)
        assert closed(socket)[0] == 1009
    assert left(stack, name) == 1009
    assert "x" * size not in bodies(stack)


def test_a_message_too_large(stack: TinyStack) -> None:
    with come_in(stack) as socket:
        name = id_of(stack, socket)
        with contextlib.suppress(ConnectionClosed):
            socket.send(["y" * 32_768] * 4 + ["y"])
        assert closed(socket)[0] == 1009
    assert left(stack, name) == 1009
    assert not any(body.startswith("y") for body in bodies(stack))


@pytest.mark.parametrize("data", [b"{}", [b"{", b"}"]], ids=["whole", "in frames"])
def test_binary_is_refused(stack: TinyStack, data: Any) -> None:
    with come_in(stack) as socket:
        name = id_of(stack, socket)
        with contextlib.suppress(ConnectionClosed):
            socket.send(data)
        assert closed(socket)[0] == 1003
    assert left(stack, name) == 1003


def test_text_that_is_not_utf_8(stack: TinyStack) -> None:
    with come_in(stack) as socket:
        socket.protocol.send_text(b"\xff\xfe")
        socket.socket.sendall(b"".join(socket.protocol.data_to_send()))
        assert closed(socket)[0] == 1007


def test_an_end_in_the_middle_of_a_message(stack: TinyStack) -> None:
    with come_in(stack) as socket:
        name = id_of(stack, socket)
        socket.protocol.send_text(b"half", fin=False)
        socket.socket.sendall(b"".join(socket.protocol.data_to_send()))
        socket.socket.shutdown(sockets.SHUT_WR)
        assert left(stack, name) == 1006
    assert "half" not in bodies(stack)


# --- with limits of their own ---------------------------------------------------------------------


def test_idle(tmp_path: Path) -> None:
    with tiny_stack(tmp_path, tiny("keep", prestart=1), routes=ROUTES, gateway=GatewayLimits(idle_s=2)) as stack:
        with come_in(stack) as silent, come_in(stack) as busy, come_in(stack) as told, post_client(stack) as client:
            began = time.monotonic()
            name, quiet = id_of(stack, told), id_of(stack, silent)
            while time.monotonic() < began + 3:
                busy.send("still here")
                client.post_to_connection(ConnectionId=name, Data=b"still there")
                assert told.recv() == "still there"
                with contextlib.suppress(ConnectionClosed):
                    silent.ping()  # no traffic that counts
                time.sleep(0.1)
            assert closed(silent) == (1001, "Going away")
            busy.send("to the end")
            until(lambda: "to the end" in bodies(stack))
        assert left(stack, quiet) == 1001
        assert left(stack, name) == 1000


def test_an_integration_that_takes_too_long(tmp_path: Path) -> None:
    door = tiny("door", "tests.local.handlers.socket.lambda_handler", prestart=1)
    limits = GatewayLimits(integration_s=0.5)
    with tiny_stack(tmp_path, door, routes={"$default": "door"}, gateway=limits) as stack, come_in(stack) as socket:
        socket.send('{"s": 1.5, "say": "late"}')
        found = json.loads(socket.recv())
        assert found["message"] == "Endpoint request timed out"
        assert [found["connectionId"]] == list(stack.stack.gateway.connections)
        assert json.loads(socket.recv()) == "late", "the function goes on all the same"


def test_two_hours(tmp_path: Path) -> None:
    with tiny_stack(tmp_path, tiny("keep", prestart=1), routes=ROUTES, gateway=GatewayLimits(duration_s=0.5)) as stack:
        with come_in(stack) as socket:
            name = id_of(stack, socket)
            assert closed(socket) == (1001, "Going away")
        assert left(stack, name) == 1001


def test_throttled_posts(tmp_path: Path) -> None:
    limits = GatewayLimits(posts_per_s=5)
    with (
        tiny_stack(tmp_path, tiny("keep"), routes=ROUTES, gateway=limits) as stack,
        post_client(stack) as client,
        come_in(stack) as socket,
    ):
        name = id_of(stack, socket)
        with pytest.raises(client.exceptions.LimitExceededException):
            post_often(client, name, b"x")
        time.sleep(0.3)
        client.post_to_connection(ConnectionId=name, Data=b"later")
        until(lambda: socket.recv() == "later")


def test_a_client_that_does_not_read(tmp_path: Path) -> None:
    limits = GatewayLimits(client_buffer_bytes=300_000)
    with tiny_stack(tmp_path, tiny("keep"), routes=ROUTES, gateway=limits) as stack:
        address = "127.0.0.1", stack.stack.port
        with post_client(stack) as client, sockets.create_connection(address) as raw:
            raw.sendall(
                b"GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            assert raw.recv(12) == b"HTTP/1.1 101"
            (name,) = until(lambda: list(stack.stack.gateway.connections))
            with pytest.raises(client.exceptions.LimitExceededException):
                post_often(client, name, b"x" * 100_000)


def test_disconnect_may_never_come(tmp_path: Path) -> None:
    limits = GatewayLimits(deliver_disconnect=False)
    with tiny_stack(tmp_path, tiny("keep"), routes=ROUTES, gateway=limits) as stack:
        for _ in range(2):
            with come_in(stack):
                pass
        until(lambda: not stack.stack.gateway.connections)
        assert [event["requestContext"]["eventType"] for event in stack.traces("keep")] == ["CONNECT"] * 2


def test_visitors_are_told_when_the_stack_ends(tmp_path: Path) -> None:
    with tiny_stack(tmp_path, tiny("keep"), routes=ROUTES) as stack, come_in(stack) as socket:
        stack.stop()
        assert closed(socket) == (1001, "Going away")


def test_no_route_is_forbidden(tmp_path: Path) -> None:
    with tiny_stack(tmp_path, tiny("keep"), routes={"named": "keep"}) as stack, come_in(stack) as socket:
        socket.send("{}")
        assert json.loads(socket.recv())["message"] == "Forbidden"
