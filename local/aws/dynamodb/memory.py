"""DynamoDB in memory: the operations that one table with `pk` and `sk` needs, with their conditions and errors.

moto copies its whole table in every transaction (286 ms at 4,000 items), so a crowd cannot be played on it;
the tests of `overture.table` run against both. One call at a time: each is atomic, as DynamoDB's are.
"""

from __future__ import annotations

import bisect
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from local.aws.dynamodb.expressions import Expression, ExpressionError, Item

Request = dict[str, Any]

_SORT = r"(?:begins_with\(sk, (?P<prefix>:\w+)\)|sk BETWEEN (?P<low>:\w+) AND (?P<high>:\w+)|sk < (?P<below>:\w+))"
_KEY_CONDITION = re.compile(rf"pk = (?P<pk>:\w+)(?: AND {_SORT})?")
#: How long DynamoDB knows a transaction again by its token.
_TOKEN_S = 600.0


class DynamoError(Exception):
    """An error as DynamoDB answers it; `reasons` are those of a cancelled transaction."""

    def __init__(self, code: str, message: str, reasons: list[str] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.reasons = code, message, reasons

    def body(self) -> dict[str, Any]:
        """The error as JSON."""
        body: dict[str, Any] = {"__type": f"com.amazonaws.dynamodb.v20120810#{self.code}", "message": self.message}
        if self.reasons is not None:
            body["CancellationReasons"] = [{"Code": reason} for reason in self.reasons]
        return body


class MemoryDynamoDB:
    """Tables in memory. `call` is one request of the API."""

    def __init__(self) -> None:
        self._partitions: dict[tuple[str, str], tuple[list[str], dict[str, Item]]] = {}
        self._tables: set[str] = set()
        self._tokens: dict[str, float] = {}
        self._turn = threading.Lock()
        self._operations: dict[str, Callable[[Request], dict[str, Any]]] = {
            "CreateTable": self._create_table,
            "UpdateTimeToLive": lambda request: {"TimeToLiveSpecification": request["TimeToLiveSpecification"]},
            "GetItem": self._get_item,
            "PutItem": self._put_item,
            "DeleteItem": self._delete_item,
            "UpdateItem": self._update_item,
            "Query": self._query,
            "Scan": self._scan,
            "TransactWriteItems": self._transact,
        }

    def call(self, operation: str, request: Request) -> dict[str, Any]:
        """Answers one request. Raises `DynamoError`."""
        act = self._operations.get(operation)
        if act is None:
            raise DynamoError("UnknownOperationException", f"{operation} is not among what this table can do.")
        with self._turn:
            if operation != "CreateTable" and operation != "TransactWriteItems":
                self._check(request["TableName"])
            try:
                return act(request)
            except ExpressionError as error:
                raise DynamoError("ValidationException", f"Invalid expression: {error}") from None

    # --- operations -----------------------------------------------------------------------------

    def _create_table(self, request: Request) -> dict[str, Any]:
        self._tables.add(request["TableName"])
        return {"TableDescription": {"TableName": request["TableName"], "TableStatus": "ACTIVE"}}

    def _get_item(self, request: Request) -> dict[str, Any]:
        item = self._find(request["TableName"], request["Key"])
        return {} if item is None else {"Item": item}

    def _put_item(self, request: Request) -> dict[str, Any]:
        self._require(request, request["Item"])
        self._store(request["TableName"], request["Item"])
        return {}

    def _delete_item(self, request: Request) -> dict[str, Any]:
        before = self._require(request, request["Key"])
        self._remove(request["TableName"], request["Key"])
        return {"Attributes": before} if before and request.get("ReturnValues") == "ALL_OLD" else {}

    def _update_item(self, request: Request) -> dict[str, Any]:
        before = self._require(request, request["Key"])
        item = dict(before or request["Key"])
        written = self._expression(request["UpdateExpression"], request, item).update()
        self._store(request["TableName"], item)
        if request.get("ReturnValues") != "ALL_NEW":
            item = {name: item[name] for name in written if name in item}
        return {"Attributes": item}

    def _query(self, request: Request) -> dict[str, Any]:
        match = _KEY_CONDITION.fullmatch(request["KeyConditionExpression"])
        if match is None:
            raise ExpressionError(request["KeyConditionExpression"])
        bound = {
            name: request["ExpressionAttributeValues"][token]["S"]
            for name, token in match.groupdict().items()
            if token is not None
        }
        keys, items = self._partitions.get((request["TableName"], bound["pk"]), ([], {}))
        low, high = 0, len(keys)
        if "prefix" in bound:
            low, high = (
                bisect.bisect_left(keys, bound["prefix"]),
                bisect.bisect_left(keys, bound["prefix"] + "\U0010ffff"),
            )
        elif "low" in bound:
            low, high = bisect.bisect_left(keys, bound["low"]), bisect.bisect_right(keys, bound["high"])
        elif "below" in bound:
            high = bisect.bisect_left(keys, bound["below"])
        forward = request.get("ScanIndexForward", True)
        if (start := request.get("ExclusiveStartKey")) is not None:
            if forward:
                low = max(low, bisect.bisect_right(keys, start["sk"]["S"]))
            else:
                high = min(high, bisect.bisect_left(keys, start["sk"]["S"]))
        limit = min(request.get("Limit", high), max(0, high - low))
        found = keys[low : low + limit] if forward else keys[max(low, high - limit) : high][::-1]
        answer: dict[str, Any] = {"Count": len(found), "ScannedCount": len(found)}
        if request.get("Select") != "COUNT":
            answer["Items"] = [items[key] for key in found]
        if found and len(found) < high - low:
            answer["LastEvaluatedKey"] = {"pk": {"S": bound["pk"]}, "sk": {"S": found[-1]}}
        return answer

    def _scan(self, request: Request) -> dict[str, Any]:
        partitions = [part for (table, _), part in self._partitions.items() if table == request["TableName"]]
        found = [item for _, items in partitions for item in items.values()]
        return {"Items": found, "Count": len(found), "ScannedCount": len(found)}

    def _transact(self, request: Request) -> dict[str, Any]:
        token = request.get("ClientRequestToken")
        now = time.monotonic()
        if token is not None and self._tokens.get(token, 0.0) > now:
            return {}
        changes = [next(iter(change.items())) for change in request["TransactItems"]]
        reasons = []
        for _, change in changes:
            self._check(change["TableName"])
            try:
                self._require(change, change.get("Item") or change["Key"])
                reasons.append("None")
            except DynamoError:
                reasons.append("ConditionalCheckFailed")
        if set(reasons) != {"None"}:
            said = (
                f"Transaction cancelled, please refer cancellation reasons for specific reasons [{', '.join(reasons)}]"
            )
            raise DynamoError("TransactionCanceledException", said, reasons)
        for kind, change in changes:
            if kind == "Put":
                self._store(change["TableName"], change["Item"])
            elif kind == "Delete":
                self._remove(change["TableName"], change["Key"])
            else:
                raise DynamoError("ValidationException", f"{kind} is not among what this table can do.")
        if token is not None:
            self._forget_tokens(now)
            self._tokens[token] = now + _TOKEN_S
        return {}

    def _forget_tokens(self, now: float) -> None:
        """Forgets tokens whose time is over; the oldest come first."""
        while self._tokens and next(iter(self._tokens.values())) <= now:
            del self._tokens[next(iter(self._tokens))]

    # --- items ----------------------------------------------------------------------------------

    def _check(self, table: str) -> None:
        if table not in self._tables:
            raise DynamoError("ResourceNotFoundException", "Cannot do operations on a non-existent table")

    def _find(self, table: str, key: Item) -> Item | None:
        partition = self._partitions.get((table, key["pk"]["S"]))
        return partition[1].get(key["sk"]["S"]) if partition else None

    def _require(self, request: Request, key: Item) -> Item | None:
        """The item under a key, if the condition of the request holds for it."""
        item = self._find(request["TableName"], key)
        condition = request.get("ConditionExpression")
        if condition is not None and not self._expression(condition, request, item or {}).holds():
            raise DynamoError("ConditionalCheckFailedException", "The conditional request failed")
        return item

    def _expression(self, text: str, request: Request, item: Item) -> Expression:
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        return Expression(text, item, names, values)

    def _store(self, table: str, item: Item) -> None:
        keys, items = self._partitions.setdefault((table, item["pk"]["S"]), ([], {}))
        sk = item["sk"]["S"]
        if sk not in items:
            bisect.insort(keys, sk)
        items[sk] = item

    def _remove(self, table: str, key: Item) -> None:
        name = (table, key["pk"]["S"])
        keys, items = self._partitions.get(name, ([], {}))
        sk = key["sk"]["S"]
        if items.pop(sk, None) is not None:
            del keys[bisect.bisect_left(keys, sk)]
            if not keys:
                del self._partitions[name]
