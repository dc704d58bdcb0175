"""Counters that many use at once, and the place told in a waiting line."""

from __future__ import annotations

import itertools
import time

import pytest

from overture import leases
from overture.counters import within_limit
from overture.sessions import Session, Sessions
from overture.settings import Settings
from overture.table import Table
from tests.unit.fakes import MemoryClient


def test_a_limit_above_a_thousand_is_shared_out(table: Table, client: MemoryClient) -> None:
    admitted = sum(within_limit(table, "wakes", "today", 2_500, 60) for _ in range(4_000))
    counted = {row["pk"]["S"]: int(row["count"]["N"]) for row in client.rows()}
    assert set(counted) == {"N#wakes#0", "N#wakes#1", "N#wakes#2"}
    assert sum(counted.values()) == 4_000, "no use is lost"
    assert 2_400 < admitted <= 2_502, "a third each, rounded up"


def test_a_small_limit_is_one_item(table: Table, client: MemoryClient) -> None:
    assert [within_limit(table, "wakes", "today", 3, 60) for _ in range(5)] == [True] * 3 + [False] * 2
    assert len(client.rows()) == 1


def test_the_place_in_line_never_grows(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(concurrency=1)

    def come(key: str) -> leases.Reservation:
        sessions.create(Session(key, "emerald_city", connection=key))
        return sessions.update(key, lambda tx: leases.reserve(tx, settings))

    assert come("first").state == "reserved"
    looks, real = itertools.count(), time.time
    monkeypatch.setattr("time.time", lambda: real() + next(looks) / 1000)  # places are by the millisecond
    keys = [f"k{number}" for number in range(80)]
    told = {key: come(key).position for key in keys}
    at_first = dict(told)
    for _ in range(8):  # estimates behind the head become counts as the line moves up
        keys = [key for key in keys if sessions.read(key).waiting is not None]
        for key in keys:
            place = sessions.update(key, lambda tx: leases.reserve(tx, settings)).position
            assert 0 < place <= told[key]
            told[key] = place
        for waiting in sessions.waiting_line.heads()[:5]:
            sessions.update(waiting.session, leases.leave)
    assert sum(told[key] for key in keys) < sum(at_first[key] for key in keys), "who waits moves up"
