"""Invoking the storyteller: sending for it, the queue before it, and what to do when it was lost.

The only place that invokes the storyteller's function, always with a token that `leases.reserve`
made. Knows nothing of what the visitor said.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from overture import leases, protocol
from overture.connections import Connections
from overture.costs import of_reply
from overture.leases import Failure, Queued
from overture.sessions import DAY_S, NoSession, Sessions, SessionTransaction, Turn, key_of
from overture.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

logger = Logger(child=True)

#: At most so many of those who wait are told their place after each change.
_TOLD = 20

CAPPED = protocol.Error(
    "wakes_exhausted",
    "The storyteller has been woken from your address as often as a day allows. "
    "The prologue and the written answers go on; come back tomorrow for the story.",
    retryable=False,
)
UNREACHABLE = protocol.Error(
    "storyteller_unreachable",
    "The storyteller could not be sent for just now. Your line is kept: say something, or come back in a minute.",
    retryable=True,
)
LOST = "The storyteller fell silent over this and is being woken again; your line is kept and will be told anew."
GIVEN_UP = "The storyteller fell silent over this line twice, so it was put aside. Say it another way, or go on."
WAKE_FAILED = protocol.Error(
    "storyteller_failed",
    "The storyteller could not be woken, twice. The written answers still come; say a line to try once more.",
    retryable=True,
)


class StorytellerInvoker:
    """Sends for storytellers."""

    def __init__(
        self, settings: Settings, sessions: Sessions, connections: Connections, client: LambdaClient | None = None
    ) -> None:
        self._settings, self._sessions, self._connections = settings, sessions, connections
        self._client = client or boto3.client(
            "lambda",
            config=Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=3, read_timeout=10),
        )

    def allowed(self, address: str | None) -> bool:
        """Counts one more wake for an address today; False when it has had its share."""
        limit = self._settings.wakes_per_day
        if not limit or address is None:
            return True
        day = time.strftime("%Y-%m-%d", time.gmtime())
        return self._sessions.table.count(f"N#wakes#{key_of(address)}", day, DAY_S) <= limit

    def send(self, key: str, reserved: str | Queued | None, connection: str | None) -> None:
        """Invokes the storyteller with a token, or tells the visitor their place in the queue."""
        if isinstance(reserved, Queued):
            self._connections.post(connection, protocol.Wake("queued", position=reserved.position))
        elif reserved is not None and not self._invoke(key, reserved):
            self._sessions.update(key, lambda tx: leases.cancel(tx, reserved, self._settings))
            self._connections.post(connection, protocol.Wake("failed"), UNREACHABLE)

    def settle(self, record: Mapping[str, Any]) -> None:
        """Takes a destination's record of an asynchronous invocation that is over, well or badly."""
        payload = record.get("requestPayload") or {}
        key, token = str(payload.get("session", "")), str(payload.get("token", ""))
        condition = str((record.get("requestContext") or {}).get("condition"))
        failed = condition != "Success"
        if failed:
            logger.warning("a storyteller was lost", extra={"session": key, "condition": condition})
        try:
            left = self._sessions.update(key, lambda tx: leases.settle(tx, token, self._settings, failed=failed))
            if left is not None:
                self._tell(left)
                self.send(key, left.token, left.connection)
        except NoSession:
            logger.info("the session of a lost storyteller is forgotten", extra={"session": key})
        self.promote()

    def promote(self) -> None:
        """Sends for as many storytellers as there is room for, for those who waited longest."""
        if not self._settings.concurrency:
            return
        while True:
            house, _ = self._sessions.house()
            if not house.queue or not leases.has_room(house, time.time(), self._settings.concurrency):
                break
            key = house.queue[0]
            try:
                reserved, connection = self._sessions.update(key, self._reserve_for_head)
            except NoSession:
                reserved = connection = None
            if reserved is None:
                self._sessions.update_house(lambda house, key=key: leases.leave_queue(house, key))  # type: ignore[misc]
                continue
            if isinstance(reserved, Queued):
                break
            self._connections.post(connection, protocol.Wake("waking", progress=0.0))
            self.send(key, reserved, connection)
        for place, key in enumerate(house.queue[:_TOLD], 1):
            try:
                waiting = self._sessions.read(key)
            except NoSession:
                continue
            self._connections.post(waiting.connection, protocol.Wake("queued", position=place))

    def _reserve_for_head(self, tx: SessionTransaction) -> tuple[str | Queued | None, str | None]:
        connection = tx.session.connection
        return (leases.reserve(tx, self._settings) if connection else None), connection

    def _invoke(self, key: str, token: str) -> bool:
        try:
            answer = self._client.invoke(
                FunctionName=self._settings.storyteller,
                InvocationType="Event",
                Payload=json.dumps({"session": key, "token": token}).encode(),
            )
            answer["Payload"].read()  # empty; left unread, the connection could not be used again
        except (ClientError, BotoCoreError):
            logger.exception("the storyteller could not be invoked", extra={"session": key})
            return False
        return True

    def _tell(self, left: Failure) -> None:
        post = self._connections.post
        if left.wake_given_up:
            post(left.connection, protocol.Wake("failed"), WAKE_FAILED)
            return
        if left.given_up is not None:
            turn = left.given_up
            post(
                left.connection, protocol.Error("given_up", GIVEN_UP, retryable=False, to=turn.id), ended_by_error(turn)
            )
        elif left.interrupted is not None:
            post(left.connection, protocol.Error("storyteller_lost", LOST, retryable=True, to=left.interrupted))
        if left.token is not None:
            post(left.connection, protocol.Wake("waking", progress=0.0))


def ended_by_error(turn: Turn, reason: protocol.EndReason = "error") -> protocol.End:
    """The end of a turn that no storyteller told to its end: nothing was measured."""
    nothing = of_reply(tokens=0, prompt_tokens=0, reused_tokens=0, ttft_s=0, total_s=0, memory_mb=0, grid_kg_per_kwh=0)
    return protocol.End(turn.id, turn.take, reason, nothing)
