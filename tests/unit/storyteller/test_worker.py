"""One invocation of the storyteller: its lines in order, its lease, and what fails around it."""

from __future__ import annotations

import threading
import time

import msgspec
import pytest

from overture import leases, protocol
from overture.connections import PostFailed
from overture.counters import read_ledger
from overture.sessions import Session, Sessions
from overture.table import Put
from storyteller.engine import EngineError
from tests.unit.fakes import FakeConnections, MemoryClient
from tests.unit.storyteller.shift import Shift, ends, text


def test_it_wakes_tells_the_line_and_gives_the_lease_back(shift: Shift) -> None:
    shift.work(shift.say("a"))
    posted = shift.connections.take()
    assert protocol.Wake("ready", progress=1.0) in posted
    assert text(posted, "a") == "You stand at the gate."
    (end,) = ends(posted)
    assert (end.to, end.take, end.reason, end.stats.tokens) == ("a", 1, "stop", 5)
    assert 0 < end.stats.used.mwh_bounds[0] < end.stats.used.mwh < end.stats.used.mwh_bounds[1]
    assert end.visit is not None
    assert end.visit.usd > end.stats.used.usd > 0, "a start and the invocation count for the visit"
    assert shift.reply("a") == ("You stand at the gate.", "done")
    session = shift.sessions.read(shift.key)
    assert (session.lease, session.inbox, session.wake.state) == (None, [], "ready")
    ledger = read_ledger(shift.sessions.table)
    assert (ledger.replies, ledger.tokens) == (1, 5)
    assert session.ledger == ledger


def test_all_lines_that_wait_are_told_by_one_invocation_in_order(shift: Shift) -> None:
    token = shift.say("a")
    shift.say("b")

    def say_another() -> None:
        shift.engine.between = lambda: None
        shift.say("c")

    shift.engine.between = say_another
    shift.work(token)
    assert [end.to for end in ends(shift.connections.take())] == ["a", "b", "c"]


def test_a_doubled_or_stale_delivery_does_nothing(shift: Shift) -> None:
    token = shift.say("a")
    shift.work(token)
    before = shift.sessions.read(shift.key)
    shift.connections.take()
    shift.work(token)
    shift.work("stale")
    assert shift.connections.take() == []
    assert shift.sessions.read(shift.key) == before
    assert len(shift.engine.prompts) == 1


def test_a_session_that_changes_all_the_time_keeps_the_storyteller_waiting_but_not_out(shift: Shift) -> None:
    token = shift.say("a")
    left = 20

    def rush(sessions: Sessions, key: str) -> None:
        nonlocal left
        left -= 1
        if left > 0:
            session, version = Sessions._read(sessions, key)
            session.profile = {"name": str(left)}
            sessions.table.write(Put(f"S#{key}", "session", msgspec.json.encode(session), version, sessions.life_s))

    class Rushed(Sessions):
        """Somebody else writes between every one of our reads and the write that follows."""

        def _read(self, key: str) -> tuple[Session, int]:
            read = super()._read(key)
            rush(self, key)
            return read

    shift.sessions = Rushed(shift.sessions.table)
    shift.work(token)
    assert left <= 0
    assert [end.to for end in ends(shift.connections.take())] == ["a"]


def test_two_deliveries_at_once_are_told_once(shift: Shift) -> None:
    token = shift.say("a")
    shift.engine.between = lambda: time.sleep(0.02)
    threads = [threading.Thread(target=shift.work, args=(token,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    posted = shift.connections.take()
    assert len(ends(posted)) == 1
    assert len(shift.engine.prompts) == 1


def test_stop_is_heard_in_the_middle(shift: Shift) -> None:
    shift.engine.words = ["word "] * 500

    def stop() -> None:
        shift.sessions.update(shift.key, lambda tx: setattr(tx.session, "stop", "a"))
        shift.engine.between = lambda: time.sleep(0.01)

    shift.engine.between = stop
    shift.work(shift.say("a"))
    (end,) = ends(shift.connections.take())
    assert end.reason == "cancelled"
    reply, state = shift.reply("a")
    assert state == "stopped"
    assert 0 < reply.count("word") < 500
    assert shift.sessions.read(shift.key).stop is None


def test_whoever_is_fenced_says_no_more(shift: Shift) -> None:
    shift.engine.words = ["word "] * 300
    token = shift.say("a")

    def lose() -> None:
        shift.sessions.update(shift.key, lambda tx: leases.settle(tx, token or "", shift.settings, failed=True))
        shift.connections.take()
        shift.engine.between = lambda: time.sleep(0.01)

    shift.engine.between = lose
    shift.work(token)
    assert ends(shift.connections.take()) == []
    session = shift.sessions.read(shift.key)
    assert session.lease is not None, "the new reservation is untouched"
    assert [line.turn for line in session.inbox] == ["a"]
    assert shift.reply("a")[1] == "telling"


def test_nobody_listens_for_the_grace_and_the_text_is_kept(shift: Shift) -> None:
    shift.engine.words = ["word "] * 500
    shift.engine.between = lambda: time.sleep(0.01)
    shift.connections.gone.add("c1")
    token = shift.say("a")
    shift.say("b")
    shift.work(token)
    reply, state = shift.reply("a")
    assert state == "stopped"
    assert 0 < reply.count("word") < 500
    session = shift.sessions.read(shift.key)
    assert session.lease is None
    assert [line.turn for line in session.inbox] == ["b"], "kept for when the visitor is back"


def test_near_its_end_an_invocation_leaves_the_line_to_the_next(shift: Shift) -> None:
    token = shift.say("a")
    shift.remaining_s = 20
    shift.work(token)
    assert shift.engine.prompts == []
    left = shift.sessions.update(shift.key, lambda tx: leases.settle(tx, token or "", shift.settings, failed=False))
    assert left.reservation.state == "reserved"


def test_a_line_the_engine_refuses_ends_with_its_reason(shift: Shift) -> None:
    shift.engine.error = EngineError("The prompt is too long; shorten it.")
    shift.work(shift.say("a"))
    posted = shift.connections.take()
    errors = [message for message in posted if isinstance(message, protocol.Error)]
    assert [(error.code, error.message, error.to) for error in errors] == [
        ("engine", "The prompt is too long; shorten it.", "a")
    ]
    assert [end.reason for end in ends(posted)] == ["error"]
    assert shift.reply("a") == ("", "failed")


@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_a_post_that_fails_ends_nothing(shift: Shift, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    posts = 0
    post = FakeConnections.try_post

    def fail_once(connections: FakeConnections, connection: str, message: protocol.ServerMessage) -> None:
        nonlocal posts
        posts += 1
        if posts == place:
            raise PostFailed("500 InternalServerError")
        post(connections, connection, message)

    monkeypatch.setattr(FakeConnections, "try_post", fail_once)
    shift.work(shift.say("a"))
    posted = shift.connections.take()
    assert text(posted, "a") == "You stand at the gate."
    assert [end.to for end in ends(posted)] == ["a"]


def test_a_gateway_in_trouble_ends_no_reply(shift: Shift) -> None:
    token = shift.say("a")
    shift.connections.failing = 10**9
    shift.work(token)
    assert shift.reply("a") == ("You stand at the gate.", "done")


def test_a_line_whose_turn_is_gone_is_dropped_with_an_error(shift: Shift) -> None:
    token = shift.say("a")
    shift.say("b")
    shift.sessions.table.take(f"S#{shift.key}", "turn#000001")
    shift.work(token)
    posted = shift.connections.take()
    errors = [(message.code, message.to) for message in posted if isinstance(message, protocol.Error)]
    assert errors == [("turn_lost", "a")]
    assert [end.to for end in ends(posted)] == ["b"]
    assert shift.sessions.read(shift.key).inbox == []


def test_a_reply_outlasts_a_table_that_is_away(
    shift: Shift, client: MemoryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overture.sessions._PATIENCE_S", 0.2)
    shift.engine.words = [f"w{n} " for n in range(60)]
    token = shift.say("a")
    told = 0

    def go_away_for_a_while() -> None:
        nonlocal told
        told += 1
        client.down = 10 < told < 40
        time.sleep(0.02)

    shift.engine.between = go_away_for_a_while
    shift.work(token)
    reply, state = shift.reply("a")
    assert state == "done"
    assert reply == "".join(shift.engine.words)
    assert text(shift.connections.take(), "a") == reply


def test_the_end_is_kept_until_the_lease_is_given_back(shift: Shift) -> None:
    kept: list[str | None] = []
    post = shift.connections.try_post

    def look(connection: str, message: protocol.ServerMessage) -> None:
        if isinstance(message, protocol.End):
            ended = shift.sessions.read(shift.key).ended
            kept.append(None if ended is None else ended.to)
        post(connection, message)

    shift.connections.try_post = look  # type: ignore[method-assign]
    shift.work(shift.say("a"))
    assert kept == ["a"]
    assert shift.sessions.read(shift.key).ended is None
