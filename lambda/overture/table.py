"""The one DynamoDB table: documents under a key, each with a version, written only if unchanged.

A document is a small JSON text in one item, beside the attributes that the table needs (`pk`, `sk`,
`version`, `writer`, `expires`). Writers read, change and write back on the condition that the version
is still the one they read, so that two of them never lose each other's change. `writer` names the
write: botocore repeats a write whose answer was lost, and the repetition must find it was its own.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from overture.aws import create_client

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Conflict(Exception):
    """Somebody else changed the document first: read it again."""


class Unavailable(Exception):
    """The table did not answer in time or had too much to do. A write may have happened all the same."""


class Document(NamedTuple):
    """What the table holds under a key."""

    sk: str
    body: bytes
    version: int


class Put(NamedTuple):
    """A document to write. `version` is what the writer last saw: 0 for nothing, None to write in any case.

    With a `writer` the document may also be one that this writer wrote, whatever its version.
    """

    pk: str
    sk: str
    body: bytes
    version: int | None
    life_s: float
    writer: str = ""


class Delete(NamedTuple):
    """A document to remove: that version of it, or whatever is there."""

    pk: str
    sk: str
    version: int | None = None


class Table:
    """A thin client of one table. Every method raises `Unavailable`."""

    def __init__(self, name: str, client: DynamoDBClient | None = None) -> None:
        self.name = name
        self._client = client or create_client(
            "dynamodb", retries={"mode": "standard", "total_max_attempts": 4}, connect_timeout=3, read_timeout=5
        )

    def get(self, pk: str, sk: str) -> Document | None:
        """Reads one document; None when it is not there or past its time."""
        with _translated():
            item = self._client.get_item(TableName=self.name, Key=_key(pk, sk), ConsistentRead=True).get("Item")
        return _document(item) if item and not _expired(item) else None

    def query(
        self,
        pk: str,
        prefix: str = "",
        *,
        before: str | None = None,
        limit: int | None = None,
        newest_first: bool = True,
        consistent: bool = True,
    ) -> list[Document]:
        """The documents whose sort key begins with `prefix` and lies before `before`, if that is given.

        If not `consistent`, they cost half and may be a second old.
        """
        condition, values = "pk = :pk", {":pk": {"S": pk}}
        if before is not None:
            # begins_with and < cannot be combined: a range from the prefix on says the same, as `before` has it too.
            condition += " AND sk BETWEEN :low AND :high"
            values |= {":low": {"S": prefix}, ":high": {"S": before}}
        elif prefix:
            condition += " AND begins_with(sk, :prefix)"
            values[":prefix"] = {"S": prefix}
        found: list[Document] = []
        page: dict[str, Any] = {"Limit": limit + 1} if limit else {}
        while True:
            with _translated():
                answer = self._client.query(
                    TableName=self.name,
                    KeyConditionExpression=condition,
                    ExpressionAttributeValues=values,
                    ConsistentRead=consistent,
                    ScanIndexForward=not newest_first,
                    **page,
                )
            found += [_document(item) for item in answer["Items"] if not _expired(item) and item["sk"]["S"] != before]
            if "LastEvaluatedKey" not in answer or (limit and len(found) >= limit):
                return found[:limit] if limit else found
            page["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def count_documents(self, pk: str, *, before: str | None = None, limit: int | None = None) -> int:
        """How many documents there are under `pk` (before a sort key), counted up to `limit`; may be a second old."""
        condition, values = "pk = :pk", {":pk": {"S": pk}}
        if before is not None:
            condition += " AND sk < :before"
            values[":before"] = {"S": before}
        total = 0
        page: dict[str, Any] = {"Limit": limit} if limit else {}
        while True:
            with _translated():
                answer = self._client.query(
                    TableName=self.name,
                    KeyConditionExpression=condition,
                    ExpressionAttributeValues=values,
                    Select="COUNT",
                    **page,
                )
            total += answer["Count"]
            if "LastEvaluatedKey" not in answer or (limit and total >= limit):
                return total
            page["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def write(self, *changes: Put | Delete, writer: str = "") -> None:
        """Makes all the changes or none. Raises `Conflict` when a version is no longer the current one."""
        writer = writer or secrets.token_hex(8)
        with _translated():
            if len(changes) == 1 and isinstance(changes[0], Put):
                self._client.put_item(**self._put(changes[0], writer))
            elif len(changes) == 1:
                self._client.delete_item(**self._delete(changes[0]))  # type: ignore[arg-type]
            elif changes:
                # DynamoDB knows a repeated transaction by its token.
                self._client.transact_write_items(
                    TransactItems=[self._in_transaction(change, writer) for change in changes],
                    ClientRequestToken=writer[:36],
                )

    def take(self, pk: str, sk: str) -> Document | None:
        """Makes a document expire and returns it: of many who try, one gets it.

        It is marked rather than deleted: a delete that botocore repeats would find nothing, and no trace of the first.
        """
        try:
            with _translated():
                answer = self._client.update_item(
                    TableName=self.name,
                    Key=_key(pk, sk),
                    UpdateExpression="SET taken = :writer, expires = :now",
                    ConditionExpression="(attribute_not_exists(taken) AND expires > :now) OR taken = :writer",
                    ExpressionAttributeValues={
                        ":writer": {"S": secrets.token_hex(8)},
                        ":now": {"N": str(int(time.time()))},
                    },
                    ReturnValues="ALL_NEW",
                )
        except Conflict:
            return None
        return _document(answer["Attributes"])

    def add(self, pk: str, sk: str, amounts: dict[str, float], life_s: float) -> dict[str, float]:
        """Adds to the numbers of a counter that lives `life_s` seconds from its first use; returns the sums."""
        names = {f"#a{place}": name for place, name in enumerate(amounts)}
        values = {
            f":a{place}": {"N": format(Decimal(repr(amount)), "f")} for place, amount in enumerate(amounts.values())
        }
        additions = ", ".join(f"#a{place} :a{place}" for place in range(len(amounts)))
        with _translated():
            answer = self._client.update_item(
                TableName=self.name,
                Key=_key(pk, sk),
                UpdateExpression=f"SET expires = if_not_exists(expires, :end) ADD {additions}",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues={**values, ":end": {"N": str(int(time.time() + life_s))}},
                ReturnValues="UPDATED_NEW",
            )
        return _numbers(answer["Attributes"])

    def numbers(self, pk: str) -> list[dict[str, float]]:
        """The counters under `pk`, as `add` left them; may be a second old."""
        with _translated():
            answer = self._client.query(
                TableName=self.name,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": pk}},
            )
        return [_numbers(item) for item in answer["Items"] if not _expired(item)]

    def _in_transaction(self, change: Put | Delete, writer: str) -> Any:
        if isinstance(change, Delete):
            return {"Delete": self._delete(change)}
        return {"Put": self._put(change, writer)}

    def _delete(self, delete: Delete) -> Any:
        written: dict[str, Any] = {"TableName": self.name, "Key": _key(delete.pk, delete.sk)}
        if delete.version is not None:
            # What is gone already needs no removing.
            written["ConditionExpression"] = "attribute_not_exists(pk) OR version = :version"
            written["ExpressionAttributeValues"] = {":version": {"N": str(delete.version)}}
        return written

    def _put(self, put: Put, writer: str) -> Any:
        writer = put.writer or writer
        item = {
            **_key(put.pk, put.sk),
            "body": {"S": put.body.decode()},
            "version": {"N": str((put.version or 0) + 1)},
            "writer": {"S": writer},
            "expires": {"N": str(int(time.time() + put.life_s))},
        }
        written: dict[str, Any] = {"TableName": self.name, "Item": item}
        if put.version == 0:
            # A document past its time may still lie there, undeleted: it does not count.
            written["ConditionExpression"] = "attribute_not_exists(pk) OR expires <= :now OR writer = :writer"
            written["ExpressionAttributeValues"] = {":now": {"N": str(int(time.time()))}, ":writer": {"S": writer}}
        elif put.version is not None:
            written["ConditionExpression"] = "version = :version OR writer = :writer"
            written["ExpressionAttributeValues"] = {":version": {"N": str(put.version)}, ":writer": {"S": writer}}
        return written


def _key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _document(item: Any) -> Document:
    return Document(item["sk"]["S"], item["body"]["S"].encode(), int(item["version"]["N"]))


def _numbers(item: Any) -> dict[str, float]:
    return {name: float(value["N"]) for name, value in item.items() if "N" in value and name != "expires"}


def _expired(item: Any) -> bool:
    return float(item["expires"]["N"]) <= time.time()


@contextmanager
def _translated() -> Iterator[None]:
    """Turns botocore's errors into ours. What is nobody's passing trouble (a denied access) stays as it is."""
    try:
        yield
    except ClientError as error:
        if _conflicts(error):
            raise Conflict from None
        if _passes(error):
            raise Unavailable(str(error)) from error
        raise
    except BotoCoreError as error:
        raise Unavailable(str(error)) from error


def _conflicts(error: ClientError) -> bool:
    return bool(_codes(error) & {"ConditionalCheckFailed", "TransactionConflict"})


def _passes(error: ClientError) -> bool:
    """Whether it is a passing trouble: the table's own, too much to do, or a first try that is still under way."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    codes = _codes(error)
    return (
        status >= 500
        or "TransactionInProgress" in codes
        or any("Throttl" in code or "Exceeded" in code for code in codes)
    )


def _codes(error: ClientError) -> set[str]:
    """The error's code, and for a cancelled transaction the reasons'; without the `Exception` at the end."""
    reasons: Sequence[Any] = error.response.get("CancellationReasons", [])
    codes = [error.response["Error"]["Code"], *(reason.get("Code") or "" for reason in reasons)]
    return {code.removesuffix("Exception") for code in codes}
