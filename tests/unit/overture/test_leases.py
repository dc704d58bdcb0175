"""Leases and the inbox: one storyteller at a time, no line lost, none told twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from overture import leases
from overture.leases import HELD, Fenced, Reservation, Settled
from overture.sessions import Lease, NoSession, Sessions, SessionTransaction, Turn
from overture.settings import Settings
from tests.unit.fakes import put_session

ONE = Settings(concurrency=1)
ANY = Settings()


def reserve(sessions: Sessions, key: str, settings: Settings = ANY) -> Reservation:
    return sessions.update(key, lambda tx: leases.reserve(tx, settings))


def say(sessions: Sessions, key: str, turn_id: str, settings: Settings = ANY) -> Reservation:
    def put(tx: SessionTransaction) -> Reservation:
        leases.append(tx, tx.add_turn(turn_id, f"line {turn_id}"))
        return leases.reserve(tx, settings)

    return sessions.update(key, put)


def begin(sessions: Sessions, key: str, turn_id: str = "a", settings: Settings = ANY) -> tuple[str, str]:
    """Says a line and confirms the lease it reserved: (token, fence)."""
    token = say(sessions, key, turn_id, settings).token
    fence = sessions.update(key, lambda tx: leases.confirm(tx, token, settings))
    assert fence is not None
    return token, fence


def take(sessions: Sessions, key: str, fence: str) -> Turn | None:
    return sessions.update(key, lambda tx: leases.take_line(tx, fence, ANY)).turn


def settle(sessions: Sessions, key: str, token: str, *, failed: bool, settings: Settings = ANY) -> Settled:
    return sessions.update(key, lambda tx: leases.settle(tx, token, settings, failed=failed))


def test_only_the_first_line_reserves(sessions: Sessions) -> None:
    key = put_session(sessions)
    assert say(sessions, key, "a").state == "reserved"
    assert say(sessions, key, "b") == HELD
    assert [line.turn for line in sessions.read(key).inbox] == ["a", "b"]


def test_of_many_lines_at_once_one_reserves_and_none_is_lost(sessions: Sessions) -> None:
    key = put_session(sessions)
    reserved: list[Any] = []
    threads = [threading.Thread(target=lambda n=n: reserved.append(say(sessions, key, f"t{n}"))) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.state for one in reserved].count("reserved") == 1
    session = sessions.read(key)
    assert sorted(line.turn for line in session.inbox) == [f"t{n}" for n in range(6)]
    assert [line.seq for line in session.inbox] == [1, 2, 3, 4, 5, 6]


def test_a_reservation_is_confirmed_once(sessions: Sessions) -> None:
    key = put_session(sessions)
    token = say(sessions, key, "a").token
    assert sessions.update(key, lambda tx: leases.confirm(tx, "other", ANY)) is None
    assert sessions.update(key, lambda tx: leases.confirm(tx, token, ANY)) is not None
    assert sessions.update(key, lambda tx: leases.confirm(tx, token, ANY)) is None, "a doubled delivery"


def test_a_reservation_that_is_past_is_stale(sessions: Sessions) -> None:
    key = put_session(sessions, lease=Lease("old", time.time() - 1))
    assert sessions.update(key, lambda tx: leases.confirm(tx, "old", ANY)) is None
    assert reserve(sessions, key).state == "reserved"


def test_a_line_is_taken_told_and_gone(sessions: Sessions) -> None:
    key = put_session(sessions)
    _, fence = begin(sessions, key)
    turn = take(sessions, key, fence)
    assert turn is not None
    assert (turn.id, turn.state, turn.take) == ("a", "telling", 1)
    assert sessions.read(key).telling == "a"
    turn.reply = "so far"
    sessions.save_turn(key, turn, writer=fence)
    turn.reply = "so far, and on"
    sessions.update(key, lambda tx: leases.finish_line(tx, fence, turn, "done", None, ANY))
    session = sessions.read(key)
    assert (session.inbox, session.telling) == ([], None)
    assert [(t.reply, t.state) for t in sessions.turns(key)] == [("so far, and on", "done")]
    assert take(sessions, key, fence) is None


def test_a_lease_is_not_given_back_over_a_new_line(sessions: Sessions) -> None:
    key = put_session(sessions)
    _, fence = begin(sessions, key)
    assert not sessions.update(key, lambda tx: leases.release(tx, fence))
    turn = take(sessions, key, fence)
    assert turn is not None
    sessions.update(key, lambda tx: leases.finish_line(tx, fence, turn, "done", None, ANY))
    assert sessions.update(key, lambda tx: leases.release(tx, fence))
    assert sessions.read(key).lease is None


FENCED: list[Callable[[SessionTransaction, str], Any]] = [
    lambda tx, fence: leases.renew(tx, fence, ANY),
    lambda tx, fence: leases.take_line(tx, fence, ANY),
    lambda tx, fence: leases.finish_line(tx, fence, Turn("a", 1, ""), "done", None, ANY),
    lambda tx, fence: leases.release(tx, fence),
]


@pytest.mark.parametrize("verb", FENCED)
def test_whoever_lost_the_lease_is_fenced(sessions: Sessions, verb: Callable[[SessionTransaction, str], Any]) -> None:
    key = put_session(sessions)
    token, fence = begin(sessions, key)
    assert settle(sessions, key, token, failed=True).reservation.state == "reserved"
    before = sessions.read(key)
    with pytest.raises(Fenced):
        sessions.update(key, lambda tx: verb(tx, fence))
    assert sessions.read(key) == before


def test_a_lost_line_is_told_again_by_another_and_given_up_after_two(sessions: Sessions) -> None:
    key = put_session(sessions)
    token, fence = begin(sessions, key)
    first = take(sessions, key, fence)
    assert first is not None
    first.reply = "half a"
    sessions.save_turn(key, first, writer=fence)

    left = settle(sessions, key, token, failed=True)
    assert (left.interrupted, left.given_up, left.connection) == ("a", None, "c1")
    assert left.reservation.token not in ("", token)
    assert settle(sessions, key, token, failed=True) == Settled(), "the record came twice"

    again = left.reservation.token
    fence = sessions.update(key, lambda tx: leases.confirm(tx, again, ANY)) or ""
    second = take(sessions, key, fence)
    assert second is not None
    assert (second.take, second.reply) == (2, "")

    left = settle(sessions, key, again, failed=True)
    assert left.given_up is not None
    assert (left.given_up.id, left.given_up.state, left.reservation) == ("a", "failed", HELD)
    assert sessions.read(key).inbox == []


def test_after_a_line_given_up_the_next_is_told(sessions: Sessions) -> None:
    key = put_session(sessions)
    token, _ = begin(sessions, key, "bad")
    say(sessions, key, "good")
    for expected in (None, "bad"):
        left = settle(sessions, key, token, failed=True)
        assert left.reservation.state == "reserved"
        assert (left.given_up.id if left.given_up else None) == expected
        token = left.reservation.token
    assert [(line.turn, line.failures) for line in sessions.read(key).inbox] == [("good", 0)]


def test_a_continued_reply_that_was_lost_keeps_what_there_was(sessions: Sessions) -> None:
    key = put_session(sessions)

    def continued(tx: SessionTransaction) -> Any:
        turn = tx.add_turn("a", "line", reply="Once upon")
        turn.base = len(turn.reply)
        tx.put(turn)
        leases.append(tx, turn)
        return leases.reserve(tx, ANY)

    token = sessions.update(key, continued).token
    fence = sessions.update(key, lambda tx: leases.confirm(tx, token, ANY)) or ""
    turn = take(sessions, key, fence)
    assert turn is not None
    assert (turn.take, turn.reply) == (1, "Once upon")
    turn.reply += " a time"
    sessions.save_turn(key, turn, writer=fence)
    left = settle(sessions, key, token, failed=True)
    again = left.reservation.token
    fence = sessions.update(key, lambda tx: leases.confirm(tx, again, ANY)) or ""
    turn = take(sessions, key, fence)
    assert turn is not None
    assert (turn.take, turn.reply) == (2, "Once upon")


def test_a_wake_for_nobodys_line_is_tried_twice(sessions: Sessions) -> None:
    key = put_session(sessions)
    left = settle(sessions, key, reserve(sessions, key).token, failed=True)
    assert left.reservation.state == "reserved"
    assert not left.wake_given_up
    left = settle(sessions, key, left.reservation.token, failed=True)
    assert left.wake_given_up
    assert left.reservation == HELD
    assert sessions.read(key).wake.state == "failed"


def test_an_invocation_that_ran_out_of_time_hands_its_lines_on(sessions: Sessions) -> None:
    key = put_session(sessions)
    token, _ = begin(sessions, key)
    left = settle(sessions, key, token, failed=False)
    assert left.reservation.state == "reserved"
    assert (left.interrupted, left.given_up) == (None, None)
    assert sessions.read(key).inbox[0].failures == 0


def test_a_line_nobody_tells_can_be_withdrawn(sessions: Sessions) -> None:
    key = put_session(sessions)
    _, fence = begin(sessions, key, "a")
    say(sessions, key, "b")
    take(sessions, key, fence)
    assert sessions.update(key, lambda tx: leases.withdraw(tx, "a")) is None, "it is being told"
    assert sessions.update(key, lambda tx: leases.withdraw(tx, "b"))
    assert sessions.update(key, lambda tx: leases.withdraw(tx, "nothing")) is None
    assert [line.turn for line in sessions.read(key).inbox] == ["a"]
    assert {turn.id: turn.state for turn in sessions.turns(key)} == {"a": "telling", "b": "stopped"}


def test_beyond_the_concurrency_sessions_wait_in_order(sessions: Sessions) -> None:
    keys = [put_session(sessions, key=f"k{n}") for n in range(3)]
    first = reserve(sessions, keys[0], ONE)
    assert (first.state, first.slot) == ("reserved", 0)
    assert reserve(sessions, keys[1], ONE) == Reservation("waiting", position=1)
    assert reserve(sessions, keys[2], ONE) == Reservation("waiting", position=2)
    assert reserve(sessions, keys[1], ONE) == Reservation("waiting", position=1), "asking again keeps the place"
    assert sessions.read(keys[1]).wake.state == "queued"
    assert [waiting.session for waiting in sessions.waiting_line.heads()] == keys[1:]


def test_a_slot_is_handed_to_the_head_of_the_line_in_one_write(sessions: Sessions) -> None:
    first, second = (put_session(sessions, key=key) for key in ("k1", "k2"))
    reserve(sessions, first, ONE)
    reserve(sessions, second, ONE)
    slot = sessions.slots.read(0)
    handed = sessions.update(second, lambda tx: leases.reserve_waiting(tx, ONE, slot))
    assert handed is not None
    assert (handed.state, handed.slot) == ("reserved", 0)
    holder = sessions.slots.read(0).holder
    assert holder is not None
    assert (holder.session, holder.token) == (second, handed.token)
    assert sessions.waiting_line.heads() == []
    assert sessions.update(second, lambda tx: leases.reserve_waiting(tx, ONE, slot)) is None, "not twice"
    put_session(sessions, key="k3")
    reserve(sessions, "k3", ONE)
    late = sessions.update("k3", lambda tx: leases.reserve_waiting(tx, ONE, slot))
    assert late == HELD, "the slot has another holder by now"


def test_a_slot_that_was_freed_and_taken_again_is_not_handed_on(sessions: Sessions) -> None:
    first, second, third = (put_session(sessions, key=key) for key in ("k1", "k2", "k3"))
    reserve(sessions, first, ONE)
    stale = sessions.slots.read(0)
    reserve(sessions, second, ONE)
    sessions.slots.free(stale)
    token = sessions.update(third, lambda tx: leases._reserve(tx, ONE, tx.slots.read(0))).token
    assert sessions.slots.read(0).version == stale.version
    assert sessions.update(second, lambda tx: leases.reserve_waiting(tx, ONE, stale)) == HELD
    holder = sessions.slots.read(0).holder
    assert holder is not None
    assert (holder.session, holder.token) == (third, token)


def test_whoever_comes_back_before_the_slot_was_passed_on_keeps_it(sessions: Sessions) -> None:
    key, other = (put_session(sessions, key=key) for key in ("k1", "k2"))
    token = reserve(sessions, key, ONE).token
    fence = sessions.update(key, lambda tx: leases.confirm(tx, token, ONE)) or ""
    assert sessions.update(key, lambda tx: leases.release(tx, fence))
    assert reserve(sessions, other, ONE).state == "waiting"
    again = reserve(sessions, key, ONE)
    assert (again.state, again.slot) == ("reserved", 0)
    assert again.token != token


def test_a_full_line_takes_nobody_else(sessions: Sessions) -> None:
    settings = Settings(concurrency=1, waiting_limit=1)
    keys = [put_session(sessions, key=f"k{n}") for n in range(3)]
    states = [reserve(sessions, key, settings).state for key in keys]
    assert states == ["reserved", "waiting", "full"]
    assert sessions.read(keys[2]).waiting is None


def test_who_leaves_gives_the_place_up(sessions: Sessions) -> None:
    keys = [put_session(sessions, key=f"k{n}") for n in range(3)]
    for key in keys:
        reserve(sessions, key, ONE)
    sessions.update(keys[1], leases.leave)
    assert [waiting.session for waiting in sessions.waiting_line.heads()] == [keys[2]]
    assert reserve(sessions, keys[2], ONE).position == 1


def test_changes_of_many_threads_all_count(sessions: Sessions) -> None:
    key = put_session(sessions)

    def add(n: int) -> None:
        sessions.update(key, lambda tx: tx.session.profile.update({f"k{n}": "v"}))

    threads = [threading.Thread(target=add, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sessions.read(key).profile) == [f"k{n}" for n in range(6)]


def test_a_session_that_is_not_there(sessions: Sessions) -> None:
    with pytest.raises(NoSession):
        sessions.read("nobody")
    with pytest.raises(NoSession):
        sessions.update("nobody", lambda tx: None)


def test_a_refused_change_writes_nothing(sessions: Sessions) -> None:
    key = put_session(sessions)

    def refuse(tx: SessionTransaction) -> None:
        tx.session.profile["name"] = "x"
        tx.add_turn("a", "x")
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  our own, above
        sessions.update(key, refuse)
    assert sessions.read(key).profile == {}
    assert sessions.turns(key) == []
