"""What a browser asks for before its WebSocket: the page, config.json, the ticket, from here and from elsewhere."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from tests.local.tiny_stack import TinyStack, tiny, tiny_stack, until


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyStack]:
    folder = tmp_path_factory.mktemp("stack")
    pages = folder / "pages"
    (pages / "sub").mkdir(parents=True)
    (pages / "index.html").write_text("<!doctype html><title>The play</title>")
    (pages / "main.js").write_text("export {};")
    (pages / "data.xyz").write_bytes(b"\0\1")
    (pages / "sub" / "index.html").write_text("sub")
    (pages / "Ü.css").write_text("p {}")
    (pages / ".env").write_text("SECRET")
    (folder / "secret.txt").write_text("SECRET")
    (pages / "link.txt").symlink_to(folder / "secret.txt")
    functions = tiny("http", "tests.local.handlers.http.lambda_handler"), tiny("one", "nap", concurrency=1)
    with tiny_stack(
        folder,
        *functions,
        http={"POST /ticket": "http", "GET /items/{item}": "http", "POST /one": "one"},
        pages=pages,
        origins=("https://elsewhere.example",),
    ) as found:
        yield found


def ask(
    stack: TinyStack, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One request, with `_` in header names for `-`."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.stack.port)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def post(stack: TinyStack, body: Any, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    return ask(stack, "POST", "/ticket", json.dumps(body).encode(), **headers)


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/index.html", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/main.js?v=1", "text/javascript; charset=utf-8", b"export"),
        ("/data.xyz", "application/octet-stream", b"\0\1"),
        ("/sub/", "text/html; charset=utf-8", b"sub"),
        ("/%C3%9C.css", "text/css; charset=utf-8", b"p"),
    ],
)
def test_files(stack: TinyStack, path: str, kind: str, body: bytes) -> None:
    status, headers, found = ask(stack, "GET", path)
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, kind, "no-cache")
    assert found.startswith(body)
    assert ask(stack, "HEAD", path)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/none.html",
        "/.env",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/sub/../../secret.txt",
        "/link.txt",
        "/a%00b",
        "//etc/passwd",
    ],
)
def test_nothing_else(stack: TinyStack, path: str) -> None:
    status, _, body = ask(stack, "GET", path)
    assert (status, b"SECRET" in body) == (404, False)


def test_an_unchanged_file_is_not_sent_again(stack: TinyStack) -> None:
    _, headers, _ = ask(stack, "GET", "/main.js")
    assert ask(stack, "GET", "/main.js", If_None_Match=headers["ETag"])[0] == 304


@pytest.mark.parametrize(
    ("headers", "socket", "ticket"),
    [
        ({"Host": "localhost:1234"}, "ws://localhost:1234/socket", "http://localhost:1234/ticket"),
        (
            {"Host": "play.example", "X_Forwarded_Proto": "https"},
            "wss://play.example/socket",
            "https://play.example/ticket",
        ),
    ],
)
def test_config(stack: TinyStack, headers: dict[str, str], socket: str, ticket: str) -> None:
    status, got, body = ask(stack, "GET", "/config.json", None, **headers)
    assert (status, got["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert json.loads(body) == {"socket": socket, "ticket": ticket, "protocol": 1}


def test_the_event_is_that_of_an_http_api(stack: TinyStack) -> None:
    status, _, body = ask(
        stack, "POST", "/ticket?a=1&a=2&b=%20", b'{"x": "\xc3\xbc"}',
        Origin=stack.url, Cookie="one=1; two=2", Content_Type="application/json", User_Agent="a browser",
    )  # fmt: skip
    raw = json.loads(body)["seen"]
    assert status == 200
    event = APIGatewayProxyEventV2(raw)
    assert (event.version, event.route_key, event.raw_path) == ("2.0", "POST /ticket", "/ticket")
    assert (event.raw_query_string, event.query_string_parameters) == ("a=1&a=2&b=%20", {"a": "1,2", "b": " "})
    assert (event.cookies, event.json_body) == (["one=1", "two=2"], {"x": "ü"})
    assert set(raw["headers"]) == {
        "accept-encoding", "content-length", "content-type", "host", "origin", "user-agent",
        "x-forwarded-for", "x-forwarded-port", "x-forwarded-proto",
    }  # fmt: skip
    context = event.request_context
    assert (context.http.method, context.http.path, context.http.protocol) == ("POST", "/ticket", "HTTP/1.1")
    assert (context.http.source_ip, context.http.user_agent) == ("127.0.0.1", "a browser")
    assert (context.stage, context.route_key) == ("$default", "POST /ticket")
    assert context.time.endswith(" +0000")
    assert raw["isBase64Encoded"] is False


def test_a_body_that_is_not_text(stack: TinyStack) -> None:
    # The handler cannot read it, which is an answer as well: a function's error is told to no one.
    assert ask(stack, "POST", "/ticket", b"\xff\xfe")[::2] == (500, b'{"message": "Internal Server Error"}')


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        ({"statusCode": 201, "body": "made"}, 201, b"made"),
        ({"statusCode": 429, "body": "slow", "headers": {"content-type": "text/plain", "x-n": 1}}, 429, b"slow"),
        ({"statusCode": 200, "body": "AAE=", "isBase64Encoded": True}, 200, b"\0\1"),
        ({"statusCode": "no"}, 500, b'{"message": "Internal Server Error"}'),
        ({"statusCode": 200, "body": 7}, 500, b'{"message": "Internal Server Error"}'),
        ({"plain": True}, 200, b'{"plain": true}'),
        ("text", 200, b'"text"'),
    ],
)
def test_the_answer(stack: TinyStack, answer: Any, status: int, body: bytes) -> None:
    assert post(stack, {"answer": answer})[::2] == (status, body)


def test_headers_of_the_answer(stack: TinyStack) -> None:
    _, headers, _ = post(
        stack,
        {"answer": {"statusCode": 200, "body": "", "headers": {"X-Thing": "1"}, "cookies": ["a=1", "b=2; Secure"]}},
    )
    assert (headers["X-Thing"], headers["Content-Type"]) == ("1", "application/json")
    assert headers.get_all("Set-Cookie") == ["a=1", "b=2; Secure"]


def test_a_failing_function_tells_nothing(stack: TinyStack) -> None:
    assert post(stack, {"fail": True})[::2] == (500, b'{"message": "Internal Server Error"}')


def test_origins(stack: TinyStack) -> None:
    for origin in ("https://elsewhere.example", stack.url):
        _, headers, _ = post(stack, {}, Origin=origin)
        assert headers["Access-Control-Allow-Origin"] == origin
        status, headers, body = ask(stack, "OPTIONS", "/ticket", Origin=origin, Access_Control_Request_Method="POST")
        assert (status, body, headers["Access-Control-Allow-Origin"]) == (204, b"", origin)
        assert "POST" in headers["Access-Control-Allow-Methods"]
        assert headers["Access-Control-Allow-Headers"] == "content-type"
    evil = {"Origin": "https://evil.example", "Access_Control_Request_Method": "POST"}
    for method in ("POST", "OPTIONS"):
        _, headers, _ = ask(stack, method, "/ticket", None, **evil)
        assert "Access-Control-Allow-Origin" not in headers


def test_the_environments_can_be_seen(stack: TinyStack) -> None:
    post(stack, {})
    _, _, body = ask(stack, "GET", "/_local/environments")
    (one,) = [one for one in json.loads(body) if one["function"] == "http"]
    assert set(one) == {"function", "pid", "state", "started", "ended", "status", "invocations"}
    assert one["invocations"] > 0


def test_a_throttled_function(stack: TinyStack) -> None:
    stack.call(_begin(stack))
    until(lambda: stack.traces("naps"))
    assert ask(stack, "POST", "/one")[0] == 503


async def _begin(stack: TinyStack) -> None:
    stack.stack.service.send("one", b'{"s": 60}')


def test_a_parameter_in_the_path(stack: TinyStack) -> None:
    _, _, body = ask(stack, "GET", "/items/7")
    event = json.loads(body)["seen"]
    assert (event["routeKey"], event["rawPath"]) == ("GET /items/{item}", "/items/7")


def test_without_pages_there_are_none(tmp_path: Path) -> None:
    with tiny_stack(tmp_path, tiny("echo")) as stack:
        assert ask(stack, "GET", "/")[0] == 404
