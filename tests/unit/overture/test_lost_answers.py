"""A write that happened and whose answer was lost is known as our own: repeated by botocore, or by us."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest

from front import tickets
from overture import leases
from overture.sessions import Session, Sessions, SessionTransaction
from overture.settings import Settings
from overture.table import Conflict, Unavailable
from tests.unit.fakes import MemoryClient, put_session

ANY = Settings()


@pytest.fixture(params=["repeated by botocore", "lost for good"])
def lose(request: pytest.FixtureRequest, client: MemoryClient) -> Callable[[str], None]:
    """Loses the answer to the next write of that kind."""

    def lose_next(operation: str) -> None:
        if request.param == "lost for good":
            client.lose.append(operation)
            return

        def repeat(called: str, given: dict[str, Any]) -> None:
            if called == operation:
                client.before = lambda called, given: None
                client.database.call(operation, given)

        client.before = repeat

    return lose_next


def test_a_session_is_created_once(sessions: Sessions, lose: Callable[[str], None]) -> None:
    lose("PutItem")
    sessions.create(Session("k1", "emerald_city"))
    assert sessions.read("k1").world == "emerald_city"


def test_a_connection_is_bound(sessions: Sessions, lose: Callable[[str], None]) -> None:
    lose("PutItem")
    sessions.bind("c1", "k1")
    assert sessions.bound("c1") == "k1"


def test_a_ticket_is_issued(sessions: Sessions, client: MemoryClient) -> None:
    def repeat(called: str, given: dict[str, Any]) -> None:
        if called == "PutItem":
            client.before = lambda called, given: None
            client.database.call(called, given)

    client.before = repeat
    assert tickets.redeem(sessions.table, tickets.issue(sessions.table, ANY, "192.0.2.1"))


def test_a_ticket_is_redeemed_once(sessions: Sessions, client: MemoryClient) -> None:
    ticket = tickets.issue(sessions.table, ANY, "192.0.2.1")

    def repeat(called: str, given: dict[str, Any]) -> None:
        client.before = lambda called, given: None
        client.database.call(called, given)

    client.before = repeat
    assert tickets.redeem(sessions.table, ticket)
    assert not tickets.redeem(sessions.table, ticket), "another call is somebody else's"


def test_a_connection_is_unbound(sessions: Sessions, lose: Callable[[str], None]) -> None:
    sessions.bind("c1", "k1")
    lose("DeleteItem")
    assert sessions.unbind("c1") == "k1"
    assert sessions.unbind("c1") is None


def test_a_reservation_is_confirmed(sessions: Sessions, lose: Callable[[str], None]) -> None:
    key = put_session(sessions)
    lose("TransactWriteItems")
    reservation = sessions.update(key, lambda tx: leases.reserve(tx, ANY))
    assert reservation.state == "reserved"
    lose("PutItem")
    fence = sessions.update(key, lambda tx: leases.confirm(tx, reservation.token, ANY))
    lease = sessions.read(key).lease
    assert lease is not None
    assert (lease.token, lease.fence) == (reservation.token, fence)


def test_a_write_is_recognised_under_those_that_came_after_it(sessions: Sessions, client: MemoryClient) -> None:
    key = put_session(sessions)

    def others(called: str, given: dict[str, Any]) -> None:
        client.before = lambda called, given: None
        client.database.call(called, given)
        for n in range(4):
            sessions.update(key, lambda tx, n=n: tx.session.profile.update(name=str(n)))  # type: ignore[misc]

    def reserve(tx: SessionTransaction) -> leases.Reservation:
        client.before = others
        return leases.reserve(tx, ANY)

    reservation = sessions.update(key, reserve)
    assert reservation.state == "reserved", "else nobody would be invoked with the token that is there"
    lease = sessions.read(key).lease
    assert lease is not None
    assert lease.token == reservation.token


def test_a_reply_is_saved_and_finished(sessions: Sessions, client: MemoryClient, lose: Callable[[str], None]) -> None:
    key = put_session(sessions)

    def say(tx: SessionTransaction) -> leases.Reservation:
        leases.append(tx, tx.add_turn("a", "x"))
        return leases.reserve(tx, ANY)

    token = sessions.update(key, say).token
    fence = sessions.update(key, lambda tx: leases.confirm(tx, token, ANY)) or ""
    turn = sessions.update(key, lambda tx: leases.take_line(tx, fence, ANY)).turn
    assert turn is not None
    turn.reply = "so far"
    lose("PutItem")
    with contextlib.suppress(Unavailable):
        sessions.save_turn(key, turn, writer=fence)
    turn.reply = "so far, and on"
    sessions.save_turn(key, turn, writer=fence)
    lose("TransactWriteItems")
    sessions.update(key, lambda tx: leases.finish_line(tx, fence, turn, "done", None, ANY))
    assert [(told.reply, told.state) for told in sessions.turns(key)] == [("so far, and on", "done")]
    assert sessions.read(key).inbox == []


def test_somebody_else_who_wrote_the_turn_is_not_overwritten(sessions: Sessions) -> None:
    key = put_session(sessions)
    sessions.update(key, lambda tx: tx.add_turn("a", "x"))
    (mine,), (theirs,) = sessions.turns(key), sessions.turns(key)
    sessions.save_turn(key, theirs, writer="theirs")
    with pytest.raises(Conflict):
        sessions.save_turn(key, mine, writer="mine")


def test_an_update_outlasts_a_table_that_is_away(sessions: Sessions, client: MemoryClient) -> None:
    key = put_session(sessions)
    back_at = time.monotonic() + 0.5
    client.down = True

    def return_in_time(called: str, given: dict[str, Any]) -> None:
        client.down = time.monotonic() < back_at

    client.before = return_in_time
    sessions.update(key, lambda tx: tx.session.profile.update(name="Nim"))
    assert sessions.read(key).profile == {"name": "Nim"}
