"""A clock that is an hour off, ahead or behind: nobody loses a place in the line, and no slot has two holders."""

from __future__ import annotations

import pytest

from overture import leases
from overture.leases import Reservation
from overture.sessions import Sessions
from overture.settings import Settings
from tests.unit.fakes import SteppedClock, put_session

ONE = Settings(concurrency=1)
HOUR_S = 3600


def reserve(sessions: Sessions, key: str) -> Reservation:
    put_session(sessions, key=key)
    return sessions.update(key, lambda tx: leases.reserve(tx, ONE))


@pytest.mark.parametrize("off_s", [HOUR_S, -HOUR_S], ids=["ahead", "behind"])
def test_the_line_keeps_the_order_in_which_they_joined(sessions: Sessions, clock: SteppedClock, off_s: float) -> None:
    reserve(sessions, "at work")
    keys = [f"k{number}" for number in range(12)]
    for number, key in enumerate(keys):
        with clock.wrong_by(off_s if number == 5 else 0):
            assert reserve(sessions, key).state == "waiting"
    assert [waiting.session for waiting in sessions.waiting_line.heads()] == keys


@pytest.mark.parametrize("off_s", [HOUR_S, -HOUR_S], ids=["ahead", "behind"])
def test_a_slot_is_taken_until_it_is_freed(sessions: Sessions, clock: SteppedClock, off_s: float) -> None:
    with clock.wrong_by(off_s):
        token = reserve(sessions, "k1").token
    slot = sessions.slots.read(0)
    assert slot.holder is not None
    assert slot.holder.token == token
    assert reserve(sessions, "k2").state == "waiting"
    sessions.slots.free(slot)
    assert sessions.slots.read(0).holder is None
