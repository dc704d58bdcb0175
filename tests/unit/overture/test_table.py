"""The table: versions, transactions, expiry, single use, counters; on moto and on the DynamoDB in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from overture.table import Conflict, Delete, Put, Table, Unavailable
from tests.unit.fakes import TABLE, MemoryClient, make_moto_table


@pytest.fixture(params=["memory", "moto"])
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    if request.param == "moto":
        yield from make_moto_table()
    else:
        yield Table(TABLE, cast(Any, MemoryClient()))


def put(sk: str = "xa", body: bytes = b"1", version: int | None = 0, life_s: float = 60) -> Put:
    return Put("p", sk, body, version, life_s)


def test_a_document_is_written_only_if_unchanged(table: Table) -> None:
    table.write(put())
    found = table.get("p", "xa")
    assert found is not None
    assert (found.body, found.version) == (b"1", 1)
    table.write(put(body=b"2", version=1))
    for stale in (0, 1, 3):
        with pytest.raises(Conflict):
            table.write(put(body=b"3", version=stale))
    found = table.get("p", "xa")
    assert found is not None
    assert (found.body, found.version) == (b"2", 2)


def test_a_transaction_is_all_or_nothing(table: Table) -> None:
    table.write(put("xa"), put("xb"))
    with pytest.raises(Conflict):
        table.write(put("xa", b"2", 1), put("xb", b"2", 7), put("xc"))
    assert [document.body for document in table.query("p", "x")] == [b"1", b"1"]
    table.write(put("xa", b"2", 1), Delete("p", "xb"))
    assert [(document.sk, document.body) for document in table.query("p", "x")] == [("xa", b"2")]


def test_what_has_outlived_its_time_is_not_there(table: Table) -> None:
    table.write(put(life_s=-1))
    assert table.get("p", "xa") is None
    assert table.query("p", "x") == []
    assert table.take("p", "xa") is None
    table.write(put(life_s=-1))
    table.write(put(body=b"new"))
    found = table.get("p", "xa")
    assert found is not None
    assert found.body == b"new"


def test_queries_are_newest_first_and_bounded(table: Table) -> None:
    for seq in range(1, 8):
        table.write(put(f"turn#{seq:06d}", str(seq).encode()))
    table.write(put("session"))
    assert [d.body for d in table.query("p", "turn#")] == [b"7", b"6", b"5", b"4", b"3", b"2", b"1"]
    assert [d.body for d in table.query("p", "turn#", limit=2)] == [b"7", b"6"]
    assert [d.body for d in table.query("p", "turn#", before="turn#000004")] == [b"3", b"2", b"1"]
    assert [d.body for d in table.query("p", "turn#", before="turn#000004", limit=2)] == [b"3", b"2"]


def test_of_many_takers_one_gets_it(table: Table) -> None:
    table.write(put())
    got: list[bool] = []
    threads = [threading.Thread(target=lambda: got.append(table.take("p", "xa") is not None)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 7 + [True]


def test_counters_add_up(table: Table) -> None:
    assert [table.add("n", "day", {"count": 1}, 60)["count"] for _ in range(3)] == [1, 2, 3]
    assert table.add("n", "other day", {"count": 1, "usd": 1e-7}, 60) == {"count": 1, "usd": 1e-7}
    assert table.numbers("n") == [{"count": 3}, {"count": 1, "usd": 1e-7}]


def test_documents_are_counted_and_read_from_either_end(table: Table) -> None:
    for n in range(5):
        table.write(put(f"place{n}"))
    assert table.count_documents("p") == 5
    assert table.count_documents("p", before="place3") == 3
    assert table.count_documents("p", limit=2) == 2
    assert table.count_documents("nobody") == 0
    assert [document.sk for document in table.query("p", limit=2, newest_first=False)] == ["place0", "place1"]


def test_a_document_is_removed_in_the_version_that_was_read(table: Table) -> None:
    table.write(put())
    table.write(put(body=b"2", version=1))
    with pytest.raises(Conflict):
        table.write(Delete("p", "xa", version=1))
    table.write(Delete("p", "xa", version=2))
    table.write(Delete("p", "xa", version=2))
    assert table.get("p", "xa") is None


def test_a_repeated_write_of_our_own_is_no_conflict(table: Table) -> None:
    for version in range(3):
        changes = [put(body=str(version).encode(), version=version)]
        changes += [Put("p", "xb", b"", 0, 60)] if version == 2 else []
        for _ in range(2):
            table.write(*changes, writer=f"writer{version}")
    found = table.get("p", "xa")
    assert found is not None
    assert (found.body, found.version) == (b"2", 3)
    with pytest.raises(Conflict):
        table.write(put(body=b"4", version=1), writer="another")
    table.write(put(body=b"4", version=1)._replace(writer="writer2"))


@pytest.mark.parametrize(
    ("code", "reasons", "kind"),
    [
        ("TransactionInProgressException", [], Unavailable),
        ("TransactionCanceledException", ["None", "ProvisionedThroughputExceeded"], Unavailable),
        ("TransactionCanceledException", ["ThrottlingError", "None"], Unavailable),
        ("ThrottlingException", [], Unavailable),
        ("RequestLimitExceeded", [], Unavailable),
        ("ProvisionedThroughputExceededException", [], Unavailable),
        ("TransactionCanceledException", ["ThrottlingError", "ConditionalCheckFailed"], Conflict),
        ("TransactionCanceledException", ["TransactionConflict"], Conflict),
        ("TransactionConflictException", [], Conflict),
        ("TransactionCanceledException", ["ValidationError"], ClientError),
        ("AccessDeniedException", [], ClientError),
    ],
)
def test_what_an_error_of_the_table_means(code: str, reasons: list[str], kind: type[Exception]) -> None:
    def fail(operation: str, request: dict[str, Any]) -> None:
        said: Any = {"Error": {"Code": code}, "CancellationReasons": [{"Code": reason} for reason in reasons]}
        raise ClientError(said, operation)

    client = MemoryClient()
    client.before = fail
    with pytest.raises(kind):
        Table(TABLE, cast(Any, client)).write(put("xa"), put("xb"))


def test_a_table_that_does_not_answer_is_unavailable() -> None:
    client = MemoryClient()
    client.down = True
    table = Table(TABLE, cast(Any, client))
    for work in (lambda: table.get("p", "x"), lambda: table.write(put()), lambda: table.query("p", "x")):
        with pytest.raises(Unavailable):
            work()
