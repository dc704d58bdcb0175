"""Faults of the gateway, the table and Lambda around Front: nobody is left waiting, nothing is raised."""

from __future__ import annotations

import importlib
import time
from types import SimpleNamespace
from typing import Any

import pytest

from front import actions
from overture import leases, protocol
from overture.sessions import Sessions
from overture.table import Unavailable
from tests.unit.fakes import TABLE, FakeConnections, FakeLambda, MemoryClient
from tests.unit.front.visitor import Play, confirm, error, kinds, record

ALL = 10**9


# --- failed posts ---------------------------------------------------------------------------


def test_a_post_that_fails_once_is_repeated(play: Play) -> None:
    play.connections.failing = 1
    assert kinds(play.hello()) == ["Welcome", "Wake", "Beat"]


def test_hello_invokes_although_nothing_can_be_posted(play: Play) -> None:
    play.connections.failing = ALL
    play.send("hello")
    assert len(play.aws_lambda.sent) == 1


def test_say_invokes_although_nothing_can_be_posted(story: Play) -> None:
    before = len(story.aws_lambda.sent)
    story.connections.failing = ALL
    story.send("say", id="x", text="I knock.")
    assert len(story.aws_lambda.sent) == before + 1
    assert [line.turn for line in story.sessions.read(story.key).inbox] == ["x"]


def test_settle_invokes_although_nothing_can_be_posted(story: Play) -> None:
    story.send("say", id="x", text="I knock.")
    sent = story.aws_lambda.sent[-1]
    confirm(story)
    story.connections.failing = ALL
    story.invoker.settle(record(sent))
    assert story.aws_lambda.sent[-1]["token"] != sent["token"]


def test_a_failed_welcome_keeps_no_slot_from_the_next_visitor(
    sessions: Sessions, connections: FakeConnections, aws_lambda: FakeLambda
) -> None:
    play = Play(sessions, connections, aws_lambda, concurrency=1)
    connections.failing = ALL
    play.send("hello", connection="a")
    first = aws_lambda.sent[-1]
    actions.leave(play.front, "a")
    connections.failing = 0
    assert protocol.Wake("queued", position=1) in play.hello("b")
    play.invoker.settle(record(first))
    assert aws_lambda.sent[-1]["session"] == play.key


# --- records --------------------------------------------------------------------------------


def test_an_event_that_grew_too_old_does_not_count_against_its_line(story: Play) -> None:
    story.send("say", id="x", text="I knock.")
    for _ in range(4):
        story.invoker.settle(record(story.aws_lambda.sent[-1], "EventAgeExceeded"))
    (line,) = story.sessions.read(story.key).inbox
    assert (line.turn, line.failures) == ("x", 0)
    assert len({sent["token"] for sent in story.aws_lambda.sent[-5:]}) == 5, "it is invoked again each time"


def test_nobody_is_sent_for_again_and_again_when_the_visitor_has_gone(story: Play) -> None:
    story.send("say", id="x", text="I knock.")
    actions.leave(story.front, "c1")
    sent = len(story.aws_lambda.sent)
    story.invoker.settle(record(story.aws_lambda.sent[-1], "EventAgeExceeded"))
    assert len(story.aws_lambda.sent) == sent
    story.send("hello", connection="c2", session=story.secret)
    assert len(story.aws_lambda.sent) == sent + 1, "the line is kept and told on return"


def test_the_end_of_a_finished_turn_is_posted_by_whoever_settles(story: Play) -> None:
    story.send("say", id="x", text="I knock.")
    fence = confirm(story)
    end = protocol.End("x", 1, "stop", protocol.Stats(1, 1, 1, 1, 0, 1, 0, protocol.Used(0, 0, (0, 0), 0, (0, 0))))

    turn = story.sessions.update(story.key, lambda tx: leases.take_line(tx, fence, story.settings)).turn
    assert turn is not None
    story.sessions.update(story.key, lambda tx: leases.finish_line(tx, fence, turn, "done", end, story.settings))
    story.connections.take()
    sent = len(story.aws_lambda.sent)
    story.invoker.settle(record(story.aws_lambda.sent[-1]))
    assert story.connections.take() == [end]
    assert len(story.aws_lambda.sent) == sent, "no storyteller is woken for an empty inbox"


def test_a_stop_does_not_outlive_its_turn(story: Play) -> None:
    story.send("say", id="x", text="I knock.")
    fence = confirm(story)
    story.sessions.update(story.key, lambda tx: leases.take_line(tx, fence, story.settings))
    story.send("stop", of="x")
    assert story.sessions.read(story.key).stop == "x"
    for _ in range(2):
        story.invoker.settle(record(story.aws_lambda.sent[-1]))
    assert story.sessions.turns(story.key)[0].state == "failed"
    story.connections.take()
    story.do("retry", of="x")
    assert story.sessions.read(story.key).stop is None


def test_a_line_given_up_whose_turn_is_gone_is_told_of(story: Play) -> None:
    story.send("say", id="x", text="I knock.")
    seq = story.sessions.read(story.key).inbox[0].seq
    story.sessions.table.take(f"S#{story.key}", f"turn#{seq:06d}")
    for _ in range(2):
        story.connections.take()
        story.invoker.settle(record(story.aws_lambda.sent[-1]))
    assert [message.code for message in story.connections.take() if isinstance(message, protocol.Error)] == [
        "turn_lost"
    ]
    assert story.sessions.read(story.key).inbox == []


def test_what_is_owed_is_posted_although_the_slot_cannot_be_passed_on(
    sessions: Sessions, connections: FakeConnections, aws_lambda: FakeLambda, client: MemoryClient
) -> None:
    play = Play(sessions, connections, aws_lambda, concurrency=1)
    play.hello()
    play.do("skip")
    play.told("opening")
    play.send("say", id="x", text="I knock.")
    play.invoker.settle(record(aws_lambda.sent[-1]))
    connections.take()
    sent = aws_lambda.sent[-1]
    client.fail_on("GetItem", "SLOTS#")
    with pytest.raises(Unavailable):  # so that Lambda tries the event again
        play.invoker.settle(record(sent))
    client.before = lambda operation, request: None
    ends = [message for message in connections.take() if isinstance(message, protocol.End)]
    assert [(end.to, end.reason) for end in ends] == [("x", "error")]
    play.invoker.settle(record(sent))
    assert connections.take() == [], "and only once"


def test_a_table_that_goes_away_while_places_are_told_fails_nothing(
    sessions: Sessions, connections: FakeConnections, aws_lambda: FakeLambda, client: MemoryClient
) -> None:
    play = Play(sessions, connections, aws_lambda, concurrency=1)
    play.hello("a")
    first = aws_lambda.sent[-1]
    play.hello("b")
    invoke = aws_lambda.invoke

    def invoke_and_lose_the_table(**request: Any) -> dict[str, Any]:
        client.fail_on("GetItem", f"S#{play.key}")
        return invoke(**request)

    aws_lambda.invoke = invoke_and_lose_the_table  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("overture.sessions._PATIENCE_S", 0.1)
        sessions.update(first["session"], lambda tx: leases.cancel(tx, first["token"]))
        play.invoker.settle(record(first, "Success"))
    assert aws_lambda.sent[-1]["session"] == play.key


# --- the waiting line -----------------------------------------------------------------------


def test_those_who_left_without_a_word_and_forgotten_sessions_are_skipped(
    sessions: Sessions, connections: FakeConnections, aws_lambda: FakeLambda
) -> None:
    play = Play(sessions, connections, aws_lambda, concurrency=1)
    play.hello("a")
    first = aws_lambda.sent[-1]
    keys = []
    for connection in ("b", "c", "d"):
        time.sleep(0.002)  # places in the line are by the millisecond
        play.hello(connection)
        keys.append(play.key)
    sessions.update(keys[0], lambda tx: setattr(tx.session, "connection", None))
    sessions.table.take(f"S#{keys[1]}", "session")
    fence = sessions.update(first["session"], lambda tx: leases.confirm(tx, first["token"], play.settings)) or ""
    sessions.update(first["session"], lambda tx: leases.release(tx, fence))
    play.invoker.settle(record(first, "Success"))
    assert aws_lambda.sent[-1]["session"] == keys[2]
    # After a miss the next is drawn from the first two, so the place of one who is gone may stay until it is met.
    assert {waiting.session for waiting in sessions.waiting_line.heads()} <= {keys[1]}


def test_a_full_line_says_so_while_the_prologue_goes_on(
    sessions: Sessions, connections: FakeConnections, aws_lambda: FakeLambda
) -> None:
    play = Play(sessions, connections, aws_lambda, concurrency=1, waiting_limit=1)
    play.hello("a")
    play.hello("b")
    got = play.hello("c")
    assert kinds(got) == ["Welcome", "Wake", "Error", "Beat"]
    assert isinstance(got[2], protocol.Error)
    assert (got[2].code, got[2].retryable) == ("line_full", True)
    assert error(play.send("skip", connection="c", id="x")).code == "line_full"
    assert isinstance(play.send("say", connection="c", id="q", text="What can you do?")[1], protocol.Answer)


# --- the table ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "[]" * 15_000_000,
        '{"action":"ping","action":1}',
        '{"action":"ping","n":1e400}',
        '{"action":"ping","n":' + "9" * 5_000 + "}",
    ],
    ids=lambda frame: frame[:24],
)
def test_a_hostile_frame_is_one_error(play: Play, frame: str) -> None:
    play.hello()
    actions.act(play.front, "c1", "192.0.2.1", frame)
    assert error(play.connections.take()).code == "bad_json"


def test_while_the_table_is_down_every_frame_gets_an_error(
    story: Play, client: MemoryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overture.sessions._PATIENCE_S", 0.1)
    client.down = True
    for action, fields in (("hello", {}), ("say", {"id": "x", "text": "I knock."}), ("ping", {})):
        refused = error(story.send(action, **fields))
        assert (refused.code, refused.retryable, refused.to) == ("internal", True, fields.get("id"))
    client.down = False
    assert story.do("say", text="I knock.") == []


def test_tickets_and_the_authorizer_answer_while_the_table_is_down(
    client: MemoryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "OVERTURE_TABLE": TABLE,
        "OVERTURE_ORIGINS": "*",
        "POWERTOOLS_METRICS_NAMESPACE": "Test",
        "POWERTOOLS_SERVICE_NAME": "service_undefined",
        "POWERTOOLS_TRACE_DISABLED": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("overture.table.create_client", lambda *_, **__: client)
    monkeypatch.setattr("overture.sessions._PATIENCE_S", 0.1)
    importlib.reload(importlib.import_module("front.shared"))
    authorizer = importlib.reload(importlib.import_module("front.authorizer"))
    ticket = importlib.reload(importlib.import_module("front.ticket"))
    client.down = True
    context = SimpleNamespace(
        function_name="f", memory_limit_in_mb=256, invoked_function_arn="arn", aws_request_id="r", function_version="1"
    )
    http = {"method": "POST", "path": "/ticket", "sourceIp": "192.0.2.1", "protocol": "HTTP/1.1", "userAgent": "t"}
    answer = ticket.lambda_handler({"headers": {}, "requestContext": {"http": http}}, context)
    assert answer["statusCode"] == 503
    event = {"type": "REQUEST", "methodArn": "arn", "headers": {}, "queryStringParameters": {"ticket": "t" * 32}}
    policy = authorizer.lambda_handler({**event, "requestContext": {}}, context)
    assert policy["policyDocument"]["Statement"][0]["Effect"] == "Deny"
