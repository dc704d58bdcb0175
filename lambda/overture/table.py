"""The one DynamoDB table: documents under a key, each with a version, written only if unchanged.

A document is a small JSON text in one item, beside the attributes DynamoDB needs (`pk`, `sk`,
`version`, `expires`). Writers read, change and write back on the condition that the version is
still the one they read, so that two of them never lose each other's change.

This module knows nothing of what the documents say.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Conflict(Exception):
    """Somebody else changed the document first: read it again."""


class Document(NamedTuple):
    """What the table holds under a key. `version` is 0 for a document that is not there yet."""

    sk: str
    body: bytes
    version: int


class Put(NamedTuple):
    """A document to write; `version` is what the writer last saw, None to write whatever is there."""

    pk: str
    sk: str
    body: bytes
    version: int | None
    life_s: float


class Delete(NamedTuple):
    """A document to remove, whatever it says."""

    pk: str
    sk: str


class Table:
    """A thin client of one table."""

    def __init__(self, name: str, client: DynamoDBClient | None = None) -> None:
        self.name = name
        self._client = client or boto3.client(
            "dynamodb",
            config=Config(retries={"mode": "standard", "total_max_attempts": 4}, connect_timeout=3, read_timeout=5),
        )

    def get(self, pk: str, sk: str) -> Document | None:
        """Reads a document as it is now. What has outlived its time is not there, deleted or not."""
        item = self._client.get_item(TableName=self.name, Key=_key(pk, sk), ConsistentRead=True).get("Item")
        return _document(item) if item and not _expired(item) else None

    def query(self, pk: str, prefix: str, *, before: str | None = None, limit: int | None = None) -> list[Document]:
        """Reads the documents under `pk` whose `sk` has the prefix (and sorts before `before`), newest first."""
        condition, values = "pk = :pk AND begins_with(sk, :low)", {":pk": {"S": pk}, ":low": {"S": prefix}}
        if before is not None:
            # begins_with and < cannot be combined: a range from the prefix on says the same, as `before` has it too.
            condition, values = "pk = :pk AND sk BETWEEN :low AND :high", {**values, ":high": {"S": before}}
        found: list[Document] = []
        page: dict[str, Any] = {"Limit": limit + 1} if limit else {}
        while True:
            answer = self._client.query(
                TableName=self.name,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ConsistentRead=True,
                ScanIndexForward=False,
                **page,
            )
            found += [_document(item) for item in answer["Items"] if not _expired(item) and item["sk"]["S"] != before]
            if "LastEvaluatedKey" not in answer or (limit and len(found) >= limit):
                return found[:limit] if limit else found
            page["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def write(self, *changes: Put | Delete) -> None:
        """Makes all the changes or none. Raises `Conflict` when a version is no longer the current one."""
        try:
            if len(changes) == 1 and isinstance(changes[0], Put):
                self._client.put_item(**self._put(changes[0]))
            elif changes:
                self._client.transact_write_items(TransactItems=[self._in_transaction(change) for change in changes])
        except ClientError as error:
            if _lost(error):
                raise Conflict from None
            raise

    def take(self, pk: str, sk: str) -> Document | None:
        """Removes a document and returns it: of many who try, one gets it."""
        item = self._client.delete_item(TableName=self.name, Key=_key(pk, sk), ReturnValues="ALL_OLD").get("Attributes")
        return _document(item) if item and not _expired(item) else None

    def count(self, pk: str, sk: str, life_s: float) -> int:
        """Adds one to a counter that lives `life_s` seconds from its first use; returns the new count."""
        answer = self._client.update_item(
            TableName=self.name,
            Key=_key(pk, sk),
            UpdateExpression="SET expires = if_not_exists(expires, :end) ADD #n :one",
            ExpressionAttributeNames={"#n": "count"},
            ExpressionAttributeValues={":one": {"N": "1"}, ":end": {"N": str(int(time.time() + life_s))}},
            ReturnValues="UPDATED_NEW",
        )
        return int(answer["Attributes"]["count"]["N"])

    def _in_transaction(self, change: Put | Delete) -> Any:
        if isinstance(change, Delete):
            return {"Delete": {"TableName": self.name, "Key": _key(change.pk, change.sk)}}
        return {"Put": self._put(change)}

    def _put(self, put: Put) -> Any:
        item = {
            **_key(put.pk, put.sk),
            "body": {"S": put.body.decode()},
            "version": {"N": str((put.version or 0) + 1)},
            "expires": {"N": str(int(time.time() + put.life_s))},
        }
        written: dict[str, Any] = {"TableName": self.name, "Item": item}
        if put.version == 0:
            # A document past its time may still lie there, undeleted: it does not count.
            written["ConditionExpression"] = "attribute_not_exists(pk) OR expires <= :now"
            written["ExpressionAttributeValues"] = {":now": {"N": str(int(time.time()))}}
        elif put.version is not None:
            written["ConditionExpression"] = "version = :version"
            written["ExpressionAttributeValues"] = {":version": {"N": str(put.version)}}
        return written


def _key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _document(item: Any) -> Document:
    return Document(item["sk"]["S"], item["body"]["S"].encode(), int(item["version"]["N"]))


def _expired(item: Any) -> bool:
    return float(item["expires"]["N"]) <= time.time()


def _lost(error: ClientError) -> bool:
    code = error.response["Error"]["Code"]
    if code == "TransactionCanceledException":
        reasons: Sequence[Any] = error.response.get("CancellationReasons", [])
        codes = {reason.get("Code") for reason in reasons}
        return bool(codes & {"ConditionalCheckFailed", "TransactionConflict"})
    return code in {"ConditionalCheckFailedException", "TransactionConflictException"}
