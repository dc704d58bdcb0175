"""Tickets: they are single-use, short-lived, for allowed origins, and kept only as hashes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from front import tickets
from overture.settings import Settings
from overture.table import Table
from tests.unit.fakes import TABLE, MemoryClient

ORIGIN = "https://play.example"
CONTEXT = SimpleNamespace(
    function_name="f", memory_limit_in_mb=256, invoked_function_arn="arn", aws_request_id="r", function_version="1"
)
Handler = Callable[..., dict[str, Any]]


@pytest.fixture
def handlers(client: MemoryClient, monkeypatch: pytest.MonkeyPatch) -> tuple[Handler, Handler]:
    """The two real handlers, with the table in memory."""
    monkeypatch.setattr("overture.table.create_client", lambda *_, **__: client)
    monkeypatch.setenv("OVERTURE_TABLE", TABLE)
    monkeypatch.setenv("OVERTURE_ORIGINS", ORIGIN)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Test")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "service_undefined")
    monkeypatch.setenv("POWERTOOLS_TRACE_DISABLED", "1")
    importlib.reload(importlib.import_module("front.shared"))
    ticket = importlib.reload(importlib.import_module("front.ticket"))
    authorizer = importlib.reload(importlib.import_module("front.authorizer"))
    return ticket.lambda_handler, authorizer.lambda_handler


def post_ticket(origin: str | None = ORIGIN) -> dict[str, Any]:
    headers = {} if origin is None else {"origin": origin}
    http = {"method": "POST", "path": "/ticket", "sourceIp": "192.0.2.1", "protocol": "HTTP/1.1", "userAgent": "t"}
    return {"version": "2.0", "routeKey": "POST /ticket", "headers": headers, "requestContext": {"http": http}}


def connect(ticket: str | None, origin: str | None = ORIGIN) -> dict[str, Any]:
    return {
        "type": "REQUEST",
        "methodArn": "arn:aws:execute-api:us-east-1:123456789012:api/live/$connect",
        "headers": {} if origin is None else {"Origin": origin},
        "queryStringParameters": {} if ticket is None else {"ticket": ticket},
        "requestContext": {},
    }


def effect(policy: dict[str, Any]) -> str:
    (statement,) = policy["policyDocument"]["Statement"]
    return str(statement["Effect"])


def test_a_ticket_opens_the_door_once(handlers: tuple[Handler, Handler]) -> None:
    issue, authorize = handlers
    answer = issue(post_ticket(), CONTEXT)
    assert answer["statusCode"] == 200
    assert answer["headers"]["access-control-allow-origin"] == ORIGIN
    assert answer["headers"]["cache-control"] == "no-store"
    body = json.loads(answer["body"])
    assert body["expires_in"] == 60
    assert effect(authorize(connect(body["ticket"]), CONTEXT)) == "Allow"
    assert effect(authorize(connect(body["ticket"]), CONTEXT)) == "Deny"


@pytest.mark.parametrize("ticket", [None, "", "x" * 32, "é" * 10_000])
def test_without_a_good_ticket_it_stays_shut(handlers: tuple[Handler, Handler], ticket: str | None) -> None:
    assert effect(handlers[1](connect(ticket), CONTEXT)) == "Deny"


def test_another_origin_gets_no_ticket_and_cannot_use_one(handlers: tuple[Handler, Handler]) -> None:
    issue, authorize = handlers
    refused = issue(post_ticket("https://evil.example"), CONTEXT)
    assert refused["statusCode"] == 403
    assert refused["headers"]["access-control-allow-origin"] == "https://evil.example", "the page may read why"
    assert "ticket" not in json.loads(refused["body"])
    ticket = json.loads(issue(post_ticket(None), CONTEXT)["body"])["ticket"]
    assert effect(authorize(connect(ticket, "https://evil.example"), CONTEXT)) == "Deny"
    assert effect(authorize(connect(ticket, None), CONTEXT)) == "Allow", "and it was not used up by the refusal"


def test_a_ticket_of_the_past(table: Table) -> None:
    ticket = tickets.issue(table, Settings(ticket_s=0), "192.0.2.1")
    assert not tickets.redeem(table, ticket)


def test_too_many_tickets_for_one_address(table: Table) -> None:
    settings = Settings(tickets_per_minute=3)
    for _ in range(3):
        tickets.issue(table, settings, "192.0.2.1")
    with pytest.raises(tickets.TooMany):
        tickets.issue(table, settings, "192.0.2.1")
    assert tickets.issue(table, settings, "192.0.2.2")


def test_the_ticket_is_nowhere_in_the_table_nor_in_the_log(
    handlers: tuple[Handler, Handler], client: MemoryClient, capsys: pytest.CaptureFixture[str]
) -> None:
    issue, authorize = handlers
    ticket = json.loads(issue(post_ticket(), CONTEXT)["body"])["ticket"]
    assert ticket not in str(client.rows())
    authorize(connect(ticket), CONTEXT)
    authorize(connect(ticket), CONTEXT)
    written = capsys.readouterr()
    assert ticket not in written.out + written.err
