"""The ledgers of the deployment: the whole, and each day's."""

from __future__ import annotations

import time

import pytest

from overture.accounting.ledger import Ledger
from overture.counters import DAYS_KEPT, add_to_ledger, read_days, read_ledger
from overture.table import Table

#: One second before midnight, UTC.
EVENING = 1_796_083_199.0
REPLY, ANSWER = Ledger(decode_s=4.5, replies=1, tokens=50), Ledger(search_s=0.01, answers=1)


def test_each_day_has_its_own_ledger_and_the_whole_has_them_all(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: EVENING)
    add_to_ledger(table, REPLY)
    add_to_ledger(table, ANSWER)
    monkeypatch.setattr(time, "time", lambda: EVENING + 2)
    add_to_ledger(table, REPLY)
    days = read_days(table)
    assert list(days.items()) == [("2026-12-01", REPLY), ("2026-11-30", REPLY + ANSWER)]
    assert read_ledger(table) == REPLY + ANSWER + REPLY
    assert list(read_days(table, 1)) == ["2026-12-01"]


def test_a_day_is_forgotten_after_its_time_and_the_whole_is_not(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: EVENING)
    add_to_ledger(table, REPLY)
    for _ in range(40):
        add_to_ledger(table, ANSWER)  # over every shard
    monkeypatch.setattr(time, "time", lambda: EVENING + DAYS_KEPT * 86_400 + 1)
    assert read_days(table, DAYS_KEPT + 2) == {}
    assert read_ledger(table).answers == 40
