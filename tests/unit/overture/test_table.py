"""The table: versions, transactions, expiry, single use, counters."""

from __future__ import annotations

import threading

import pytest

from overture.table import Conflict, Delete, Put, Table


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


def test_counters_count(table: Table) -> None:
    assert [table.count("n", "day", 60) for _ in range(3)] == [1, 2, 3]
    assert table.count("n", "other day", 60) == 1
