"""A simulated clock, and a DynamoDB with latencies and limits on it, for real code that knows of neither.

Each actor is a greenlet; `Clock.run` lets one run at a time, always the one whose time has come first. Code that
sleeps or calls the table gives the others their turn. `patched` puts the clock in the place of the module `time`.
"""

from __future__ import annotations

import heapq
import json
import random
import time as real_time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from botocore.exceptions import ClientError
from greenlet import getcurrent, greenlet

from local.aws.dynamodb.api import create_table
from local.aws.dynamodb.memory import DynamoError, MemoryDynamoDB

#: Medians and the spread of a log-normal distribution: assumed of DynamoDB seen from a Lambda function, not measured.
READ_S, WRITE_S, TRANSACTION_S, SPREAD = 0.004, 0.006, 0.012, 0.35
#: What one partition takes in a second (docs.aws.amazon.com/amazondynamodb, "Designing partition keys").
READ_UNITS, WRITE_UNITS = 3000.0, 1000.0
_ATTEMPTS = 4


class Clock:
    """Simulated time. Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.strftime, self.gmtime, self.perf_counter = real_time.strftime, real_time.gmtime, real_time.perf_counter
        self._due: list[tuple[float, int, greenlet]] = []
        self._count = 0
        self._hub: greenlet | None = None

    def time(self) -> float:
        """The simulated time."""
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        """Lets others run for so long."""
        self._schedule(self.now + seconds, getcurrent())
        assert self._hub is not None
        self._hub.switch()

    def start(self, work: Callable[[], None], *, after_s: float = 0.0) -> None:
        """Starts an actor."""
        self._schedule(self.now + after_s, greenlet(work))

    def run(self, until_s: float) -> None:
        """Runs the actors for so many simulated seconds."""
        self._hub = getcurrent()
        ends = self.now + until_s
        while self._due and self._due[0][0] <= ends:
            self.now, _, actor = heapq.heappop(self._due)
            actor.parent = self._hub
            actor.switch()
        self.now = ends

    def _schedule(self, when: float, actor: greenlet) -> None:
        self._count += 1
        heapq.heappush(self._due, (when, self._count, actor))


@contextmanager
def patched(clock: Clock, modules: Iterable[ModuleType]) -> Iterator[None]:
    """Gives modules the clock as their `time`."""
    before = {module: vars(module)["time"] for module in modules}
    try:
        for module in before:
            vars(module)["time"] = clock
        yield
    finally:
        for module, was in before.items():
            vars(module)["time"] = was


class SimulatedDynamoDB:
    """boto3's client of a table on a clock."""

    def __init__(self, clock: Clock, table: str, seed: int = 1) -> None:
        self.database = MemoryDynamoDB()
        create_table(self.database, table)
        self.calls = self.throttled = self.conflicts = 0
        self._clock, self._random = clock, random.Random(seed)
        self._locked: set[tuple[str, str]] = set()
        self._units: dict[tuple[str, str], tuple[float, float]] = {}

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        operation = "".join(word.capitalize() for word in name.split("_"))
        return lambda **request: self._call(operation, request)

    def _call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        for attempt in range(_ATTEMPTS):
            try:
                return self._attempt(operation, request)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ThrottlingException" or attempt == _ATTEMPTS - 1:
                    raise
                self._clock.sleep(self._random.random() * 2**attempt)
        raise AssertionError("unreachable")

    def _attempt(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        if operation in ("GetItem", "Query"):
            took = self._latency(READ_S)
            self._clock.sleep(took / 2)
            answer = self._answer(operation, request)
            pk = request["Key"]["pk"]["S"] if "Key" in request else request["ExpressionAttributeValues"][":pk"]["S"]
            size = 100 * answer["Count"] if request.get("Select") == "COUNT" else len(json.dumps(answer))
            share = 1.0 if request.get("ConsistentRead") else 0.5
            self._use(pk, "read", max(1, -(-size // 4096)) * share, READ_UNITS)
            self._clock.sleep(took / 2)
            return answer
        changes = [next(iter(one.values())) for one in request.get("TransactItems", [])] or [request]
        keys = {_key(change) for change in changes}
        price = 2.0 if "TransactItems" in request else 1.0
        for change in changes:
            size = len(json.dumps(change.get("Item", {})))
            self._use(_key(change)[0], "write", price * max(1, -(-size // 1024)), WRITE_UNITS)
        took = self._latency(TRANSACTION_S if price > 1 else WRITE_S)
        self._clock.sleep(took * 0.3)
        if keys & self._locked:
            self.conflicts += 1
            self._clock.sleep(took * 0.3)
            raise _error("TransactionConflictException", operation)
        self._locked |= keys
        self._clock.sleep(took * 0.4)
        self._locked -= keys
        try:
            answer = self._answer(operation, request)
        except ClientError:
            self.conflicts += 1
            self._clock.sleep(took * 0.3)
            raise
        self._clock.sleep(took * 0.3)
        return answer

    def _answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.database.call(operation, request)
        except DynamoError as error:
            raise _error(error.code, operation, error.reasons) from None

    def _use(self, pk: str, kind: str, units: float, a_second: float) -> None:
        """Takes units from a partition's second; raises what DynamoDB answers when there are none."""
        left, since = self._units.get((pk, kind), (a_second, self._clock.now))
        left = min(a_second, left + (self._clock.now - since) * a_second)
        if left < units:
            self.throttled += 1
            self._units[pk, kind] = (left, self._clock.now)
            raise _error("ThrottlingException", "call")
        self._units[pk, kind] = (left - units, self._clock.now)

    def _latency(self, median_s: float) -> float:
        return median_s * self._random.lognormvariate(0, SPREAD)


def _key(change: dict[str, Any]) -> tuple[str, str]:
    key = change.get("Item") or change["Key"]
    return key["pk"]["S"], key["sk"]["S"]


def _error(code: str, operation: str, reasons: list[str] | None = None) -> ClientError:
    response: Any = {"Error": {"Code": code}, "CancellationReasons": [{"Code": reason} for reason in reasons or []]}
    return ClientError(response, operation)
