"""A house for unit tests: the real table and sessions over moto, and stand-ins for the two other ends."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import msgspec
import pytest
from moto import mock_aws

from overture import protocol
from overture.connections import Busy, Connections, Gone
from overture.sessions import Session, Sessions
from overture.table import Table

TABLE = "overture-test"


class FakeConnections(Connections):
    """Keeps what was posted, per connection; `gone` and `busy` act as the gateway's 410 and 429."""

    def __init__(self) -> None:
        self.posted: dict[str, list[protocol.ServerMessage]] = {}
        self.gone: set[str] = set()
        self.closed: list[str] = []
        self.busy = 0

    def try_post(self, connection: str, message: protocol.ServerMessage) -> None:
        protocol.write(message)
        if connection in self.gone:
            raise Gone
        if self.busy:
            self.busy -= 1
            raise Busy
        self.posted.setdefault(connection, []).append(message)

    def close(self, connection: str) -> None:
        self.closed.append(connection)

    def take(self, connection: str = "c1") -> list[protocol.ServerMessage]:
        """What was posted to a connection since last asked."""
        return self.posted.pop(connection, [])


class FakeLambda:
    """Keeps the invocations; `refuse` makes the next ones fail."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.refuse: Exception | None = None

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:
        if self.refuse is not None:
            raise self.refuse
        assert InvocationType == "Event"
        self.sent.append(json.loads(Payload))
        return {"StatusCode": 202, "Payload": io.BytesIO()}


def make_table() -> Iterator[Table]:
    """A real table in moto."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("dynamodb")
        # DynamoDB's writes are atomic, moto's are not between threads: one call at a time.
        call, turn = client._make_api_call, threading.Lock()  # type: ignore[attr-defined]

        def call_alone(*given: Any) -> Any:
            with turn:
                return call(*given)

        patch.setattr(client, "_make_api_call", call_alone)
        client.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": k, "AttributeType": "S"} for k in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        yield Table(TABLE, client)


def put_session(sessions: Sessions, **fields: Any) -> str:
    """A session as a test needs it; returns its key."""
    session = msgspec.structs.replace(Session("k1", "emerald_city", connection="c1"), **fields)
    sessions.create(session)
    return session.key
