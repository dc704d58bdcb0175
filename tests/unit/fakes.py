"""What unit tests stand on: the real table and sessions over a DynamoDB in memory, and stand-ins for the far ends."""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import msgspec
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from moto import mock_aws

from local.aws.dynamodb.api import create_table
from local.aws.dynamodb.memory import DynamoError, MemoryDynamoDB
from overture import codec, protocol
from overture.connections import Connections, Gone, PostFailed
from overture.sessions import Session, Sessions
from overture.table import Table

TABLE = "overture-test"


class MemoryClient:
    """boto3's client of a DynamoDB in memory.

    `down` makes every call fail as an unreachable table does; `lose` names operations whose next answer is
    lost after they were done; `before` is called with each operation and its request.
    """

    def __init__(self) -> None:
        self.database = MemoryDynamoDB()
        create_table(self.database, TABLE)
        self.down = False
        self.lose: list[str] = []
        self.before: Callable[[str, dict[str, Any]], None] = lambda operation, request: None

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        operation = "".join(word.capitalize() for word in name.split("_"))

        def call(**request: Any) -> dict[str, Any]:
            self.before(operation, request)
            if self.down:
                raise ReadTimeoutError(endpoint_url="memory")
            try:
                answer = self.database.call(operation, request)
            except DynamoError as error:
                reasons = [{"Code": reason} for reason in error.reasons or []]
                response: Any = {"Error": {"Code": error.code}, "CancellationReasons": reasons}
                raise ClientError(response, operation) from None
            if operation in self.lose:
                self.lose.remove(operation)
                raise ReadTimeoutError(endpoint_url="memory")
            return answer

        return call

    def fail_on(self, operation: str, start: str) -> None:
        """Does not answer an operation on the keys that begin so."""

        def fail(called: str, request: dict[str, Any]) -> None:
            key = request.get("Key") or request.get("Item") or {"pk": {"S": ""}}
            if called == operation and key["pk"]["S"].startswith(start):
                raise ReadTimeoutError(endpoint_url="memory")

        self.before = fail

    def rows(self) -> list[dict[str, Any]]:
        """Everything in the table."""
        items: list[dict[str, Any]] = self.database.call("Scan", {"TableName": TABLE})["Items"]
        return items


class FakeConnections(Connections):
    """Keeps what was posted, per connection; `gone` acts as 410, `failing` makes the next posts fail as 429 or 500."""

    budget_s = 0.3

    def __init__(self) -> None:
        self.posted: dict[str, list[protocol.ServerMessage]] = {}
        self.gone: set[str] = set()
        self.closed: list[str] = []
        self.failing = 0

    def try_post(self, connection: str, message: protocol.ServerMessage) -> None:
        codec.write(message)
        if connection in self.gone:
            raise Gone
        if self.failing:
            self.failing -= 1
            raise PostFailed("500 InternalServerError")
        self.posted.setdefault(connection, []).append(message)

    def close(self, connection: str) -> None:
        self.closed.append(connection)

    def take(self, connection: str = "c1") -> list[protocol.ServerMessage]:
        """What was posted to a connection since last asked."""
        return self.posted.pop(connection, [])


class FakeLambda:
    """Keeps the invocations; `refuse` makes the next ones fail, `refused_session` those of one session."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.refuse: Exception | None = None
        self.refused_session: str | None = None

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:
        if self.refuse is not None:
            raise self.refuse
        assert InvocationType == "Event"
        event = json.loads(Payload)
        if event["session"] == self.refused_session:
            raise ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")
        self.sent.append(event)
        return {"StatusCode": 202, "Payload": io.BytesIO()}


def make_moto_table() -> Iterator[Table]:
    """A table in moto, one call at a time: moto checks a condition and writes in two steps that threads can part."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client: Any = boto3.client("dynamodb")
        client.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": k, "AttributeType": "S"} for k in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        call, lock = client._make_api_call, threading.Lock()

        def call_alone(operation: str, request: dict[str, Any]) -> dict[str, Any]:
            with lock:
                answer: dict[str, Any] = call(operation, request)
            return answer

        patch.setattr(client, "_make_api_call", call_alone)
        yield Table(TABLE, client)


class SteppedClock:
    """The clocks of this machine, and some time more. `sleep` takes no time, but lets that much pass."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.off_s = 0.0
        self.slept: list[float] = []
        #: Called with each sleep, before it is over.
        self.meanwhile: Callable[[], object] = lambda: None
        for name in ("time", "monotonic"):
            patch.setattr(f"time.{name}", self._shifted(getattr(time, name)))

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.meanwhile()
        self.off_s += seconds

    @contextlib.contextmanager
    def wrong_by(self, seconds: float) -> Iterator[None]:
        """What is done within has a clock that is so much ahead."""
        self.off_s += seconds
        try:
            yield
        finally:
            self.off_s -= seconds

    def _shifted(self, real: Callable[[], float]) -> Callable[[], float]:
        return lambda: real() + self.off_s


def put_session(sessions: Sessions, **fields: Any) -> str:
    """A session as a test needs it; returns its key."""
    session = msgspec.structs.replace(Session("k1", "emerald_city", connection="c1"), **fields)
    sessions.create(session)
    return session.key
