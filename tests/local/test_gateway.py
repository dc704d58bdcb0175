"""The WebSocket API: who comes in, where messages go, what events look like, how functions reach a client."""

from __future__ import annotations

import json
import socket as sockets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws_lambda_powertools.utilities.data_classes import APIGatewayWebSocketEvent
from aws_lambda_powertools.utilities.data_classes.api_gateway_authorizer_event import APIGatewayAuthorizerRequestEvent
from botocore.config import Config
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.local.tiny_stack import TinyStack, tiny, tiny_stack, until

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

HANDLER = "tests.local.handlers.socket.lambda_handler"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyStack]:
    functions = [
        tiny("door", HANDLER, prestart=1),
        tiny("named", HANDLER),
        tiny("quick", "keep"),
        tiny("authorizer", "tests.local.handlers.socket.authorizer", environment={"TABLE": "tickets"}),
    ]
    with tiny_stack(
        tmp_path_factory.mktemp("stack"),
        *functions,
        routes={"$connect": "door", "$disconnect": "door", "$default": "door", "named": "named", "quick": "quick"},
        authorizer="authorizer",
        identity=("ticket",),
        table="tickets",
    ) as found:
        yield found


@pytest.fixture(scope="module")
def client(stack: TinyStack) -> Iterator[ApiGatewayManagementApiClient]:
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


def come_in(stack: TinyStack, query: str = "ticket=good", **how: Any) -> ClientConnection:
    url = f"{stack.url.replace('http', 'ws')}/socket?{query}"
    found: ClientConnection = connect(url, compression=None, open_timeout=60, **how)
    return found


def refused(stack: TinyStack, query: str) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        come_in(stack, query)
    response = caught.value.response
    body = json.loads(response.body or b"")
    assert set(body) == {"message", "connectionId", "requestId"}
    return response.status_code, body["message"]


def events(stack: TinyStack, kind: str, **context: str) -> list[Any]:
    """The events of a kind that the functions got, with these fields in their context."""
    return [
        event
        for event in stack.traces("events")
        if event["requestContext"]["eventType"] == kind and context.items() <= event["requestContext"].items()
    ]


def id_of(stack: TinyStack, socket: ClientConnection) -> str:
    """A connection does not know its own id; every problem that the gateway reports names it."""
    socket.send('{"fail": "who am I"}')
    found = json.loads(socket.recv())
    assert found["message"] == "Internal server error"
    return str(found["connectionId"])


# --- coming in ------------------------------------------------------------------------------------


def test_the_authorizer_decides(stack: TinyStack) -> None:
    assert refused(stack, "") == (401, "Unauthorized")
    assert refused(stack, "ticket=") == (401, "Unauthorized")
    assert refused(stack, "ticket=other") == (403, "User is not authorized to access this resource")
    for query in ("ticket=fail", "ticket=bad", "ticket=nested"):
        assert refused(stack, query) == (500, "Internal server error")
    with come_in(stack):
        pass


def test_a_ticket_for_one_time(stack: TinyStack) -> None:
    with come_in(stack, "ticket=once-1"):
        pass
    assert refused(stack, "ticket=once-1")[0] == 403
    with come_in(stack, "ticket=once-2"):
        pass


def test_connect_may_refuse(stack: TinyStack) -> None:
    assert refused(stack, "ticket=good&status=451")[0] == 451
    assert refused(stack, "ticket=good&status=none") == (502, "Internal server error")


def test_not_a_websocket(stack: TinyStack) -> None:
    import urllib.error
    import urllib.request

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{stack.url}/socket?ticket=good")
    assert caught.value.code == 426
    caught.value.close()


def test_what_the_authorizer_is_asked(stack: TinyStack) -> None:
    with come_in(stack, "ticket=good&q=a&q=b", origin="http://page"):
        raw = stack.traces("asked")[-1]
    event = APIGatewayAuthorizerRequestEvent(raw)
    assert set(raw) == {
        "type", "methodArn", "headers", "multiValueHeaders", "queryStringParameters",
        "multiValueQueryStringParameters", "stageVariables", "requestContext",
    }  # fmt: skip
    assert event.get_type == "REQUEST"
    assert event.method_arn.endswith("/$connect")
    assert event.query_string_parameters == {"ticket": "good", "q": "b"}
    assert raw["multiValueQueryStringParameters"] == {"ticket": ["good"], "q": ["a", "b"]}
    assert event.headers["origin"] == "http://page"
    assert raw["headers"]["Origin"] == "http://page"
    assert raw["multiValueHeaders"]["Host"] == [stack.url.removeprefix("http://")]
    context = raw["requestContext"]
    assert (context["routeKey"], context["eventType"]) == ("$connect", "CONNECT")
    assert context["identity"]["sourceIp"] in ("127.0.0.1", "::1")


# --- messages -------------------------------------------------------------------------------------


def test_events_of_a_visit(stack: TinyStack) -> None:
    with come_in(stack, "ticket=good&world=oz", user_agent_header="a browser") as socket:
        name = id_of(stack, socket)
    (left,) = until(lambda: events(stack, "DISCONNECT", connectionId=name))
    (came,) = events(stack, "CONNECT", connectionId=name)
    (said,) = events(stack, "MESSAGE", connectionId=name)

    assert set(came) == {
        "headers", "multiValueHeaders", "queryStringParameters", "multiValueQueryStringParameters",
        "requestContext", "isBase64Encoded",
    }  # fmt: skip
    assert came["queryStringParameters"] == {"ticket": "good", "world": "oz"}
    assert set(said) == {"requestContext", "body", "isBase64Encoded"}
    assert set(left) == {"headers", "multiValueHeaders", "requestContext", "isBase64Encoded"}
    for raw, kind, route in (
        (came, "CONNECT", "$connect"), (said, "MESSAGE", "$default"), (left, "DISCONNECT", "$disconnect"),
    ):  # fmt: skip
        event = APIGatewayWebSocketEvent(raw)
        context = event.request_context
        assert (context.event_type, context.route_key, context.message_direction) == (kind, route, "IN")
        assert (context.connection_id, context.stage) == (name, "local")
        assert context.domain_name == stack.url.removeprefix("http://")
        assert context.request_id == context.extended_request_id
        assert context.request_time.endswith(" +0000")
        assert context.connected_at <= context.request_time_epoch <= time.time() * 1000
        assert context.identity.source_ip in ("127.0.0.1", "::1")
        assert context.identity.user_agent == "a browser"
        assert context.api_id
        assert event.is_base64_encoded is False
        assert raw["requestContext"]["authorizer"] == {
            "principalId": "visitor-1", "world": "oz", "n": "3", "first": "true",
        }  # fmt: skip
        assert (context.message_id is not None) == (kind == "MESSAGE")
    assert said["body"] == '{"fail": "who am I"}'
    assert left["requestContext"]["disconnectStatusCode"] == 1000


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ('{"action": "named", "n": 1}', "named"),
        ('{"action": "unknown", "n": 2}', "$default"),
        ('{"action": "$connect", "n": 3}', "$default"),
        ('{"action": 7, "n": 4}', "$default"),
        ('{"n": 5}', "$default"),
        ('"named 6"', "$default"),
        ("not json 7", "$default"),
        ("[" * 20_000, "$default"),
        ("", "$default"),
    ],
)
def test_routes(stack: TinyStack, text: str, route: str) -> None:
    with come_in(stack) as socket:
        socket.send(text)
        (event,) = until(lambda: [event for event in events(stack, "MESSAGE") if event["body"] == text])
    assert event["requestContext"]["routeKey"] == route


def test_messages_of_one_connection_are_worked_on_at_the_same_time(stack: TinyStack) -> None:
    with come_in(stack) as socket:
        socket.send('{"s": 1.2, "say": "slow"}')
        socket.send('{"say": "quick"}')
        assert [json.loads(socket.recv()) for _ in range(2)] == ["quick", "slow"]


def test_what_a_client_is_told_when_a_function_fails(stack: TinyStack) -> None:
    with come_in(stack) as socket:
        name = id_of(stack, socket)
        socket.send('{"leave": 1}')
        found = json.loads(socket.recv())
        assert (found["message"], found["connectionId"]) == ("Internal server error", name)
        assert set(found) == {"message", "connectionId", "requestId"}
        socket.send('{"say": "still here"}')
        assert json.loads(socket.recv()) == "still here"


def test_the_answer_of_a_function_is_not_sent(stack: TinyStack) -> None:
    with come_in(stack) as socket:
        socket.send('{"action": "quick"}')
        until(lambda: stack.traces("quick"))
        socket.send('{"say": "only this"}')
        assert json.loads(socket.recv()) == "only this"


# --- @connections ---------------------------------------------------------------------------------


def test_post(stack: TinyStack, client: ApiGatewayManagementApiClient) -> None:
    with come_in(stack) as socket:
        name = id_of(stack, socket)
        client.post_to_connection(ConnectionId=name, Data="Grüße 🙂".encode())
        assert socket.recv() == "Grüße 🙂"
        largest = "x" * 131_072
        client.post_to_connection(ConnectionId=name, Data=largest.encode())
        assert socket.recv() == largest
        with pytest.raises(client.exceptions.PayloadTooLargeException):
            client.post_to_connection(ConnectionId=name, Data=largest.encode() + b"x")
        with pytest.raises(client.exceptions.PayloadTooLargeException):
            client.post_to_connection(ConnectionId=name, Data=b"x" * 12_000_000)
        with pytest.raises(client.exceptions.ClientError, match="not UTF-8"):
            client.post_to_connection(ConnectionId=name, Data=b"\xff")


def test_get(stack: TinyStack, client: ApiGatewayManagementApiClient) -> None:
    with come_in(stack, user_agent_header="a browser") as socket:
        name = id_of(stack, socket)
        found = client.get_connection(ConnectionId=name)
    assert found["Identity"]["UserAgent"] == "a browser"
    assert found["Identity"]["SourceIp"] in ("127.0.0.1", "::1")
    assert found["ConnectedAt"] <= found["LastActiveAt"]


def test_gone(stack: TinyStack, client: ApiGatewayManagementApiClient) -> None:
    with come_in(stack) as socket:
        name = id_of(stack, socket)
    until(lambda: events(stack, "DISCONNECT", connectionId=name))
    with pytest.raises(client.exceptions.GoneException):
        client.post_to_connection(ConnectionId=name, Data=b"x")
    with pytest.raises(client.exceptions.GoneException):
        client.get_connection(ConnectionId=name)
    with pytest.raises(client.exceptions.GoneException):
        client.delete_connection(ConnectionId=name)
    with pytest.raises(client.exceptions.ClientError, match="Invalid connectionId: abc"):
        client.post_to_connection(ConnectionId="abc", Data=b"x")


def test_delete(stack: TinyStack, client: ApiGatewayManagementApiClient) -> None:
    with come_in(stack) as socket:
        name = id_of(stack, socket)
        client.delete_connection(ConnectionId=name)
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1000
    until(lambda: events(stack, "DISCONNECT", connectionId=name))


def test_posting_inside_connect_is_too_early(stack: TinyStack) -> None:
    with come_in(stack, "ticket=good&early=1"):
        assert stack.traces("posted")[-1] == "GoneException"


# --- how a connection ends ------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(1001, "leaving"), (4000, "mine"), (1005, "")])
def test_close_by_the_client_is_told(stack: TinyStack, code: int, reason: str) -> None:
    with come_in(stack) as socket:
        name = id_of(stack, socket)
        if code == 1005:
            socket.protocol.send_close()
            socket.socket.sendall(b"".join(socket.protocol.data_to_send()))
        else:
            socket.close(code, reason)
        (left,) = until(lambda: events(stack, "DISCONNECT", connectionId=name))
    context = left["requestContext"]
    said = "Client-side close frame status not set" if code == 1005 else reason
    assert (context["disconnectStatusCode"], context["disconnectReason"]) == (code, said)


def test_a_connection_that_breaks(stack: TinyStack, client: ApiGatewayManagementApiClient) -> None:
    with come_in(stack) as socket:
        name = id_of(stack, socket)
        socket.socket.shutdown(sockets.SHUT_RDWR)  # no goodbye of WebSocket's
        (left,) = until(lambda: events(stack, "DISCONNECT", connectionId=name))
        assert left["requestContext"]["disconnectStatusCode"] == 1006
        with pytest.raises(client.exceptions.GoneException):
            client.post_to_connection(ConnectionId=name, Data=b"x")


def test_a_client_that_does_not_wait_for_connect(stack: TinyStack) -> None:
    before = len(events(stack, "CONNECT"))
    host = stack.url.removeprefix("http://")
    with sockets.create_connection(("127.0.0.1", stack.stack.port)) as raw:
        raw.sendall(
            f"GET /socket?ticket=good&s=0.5 HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        until(lambda: len(events(stack, "CONNECT")) > before)
    name = events(stack, "CONNECT")[-1]["requestContext"]["connectionId"]
    (left,) = until(lambda: events(stack, "DISCONNECT", connectionId=name))
    assert left["requestContext"]["disconnectStatusCode"] == 1006
    assert name not in stack.stack.gateway.connections


def test_ping_is_answered_by_the_gateway(stack: TinyStack) -> None:
    with come_in(stack) as socket:
        assert socket.ping().wait(30)


def test_many_at_once(stack: TinyStack) -> None:
    def play(number: int) -> Any:
        with come_in(stack) as socket:
            socket.send(json.dumps({"say": number}))
            return json.loads(socket.recv())

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(play, range(12))) == list(range(12))
