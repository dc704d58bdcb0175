"""Faults of the gateway, the table and Lambda around Front: nobody is left waiting, nothing is raised."""

from __future__ import annotations

import importlib
import time
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from front import actions
from local.play import SWEEP_S
from overture import leases, protocol
from overture.sessions import OPEN_SHARDS, Sessions
from overture.table import Put, Unavailable
from tests.unit.fakes import TABLE, FakeConnections, FakeLambda, MemoryClient
from tests.unit.front.visitor import Play, error, kinds

ALL = 10**9


def confirm(play: Play) -> str:
    token = play.aws_lambda.sent[-1]["token"]
    return play.sessions.update(play.key, lambda tx: leases.confirm(tx, token, play.settings)) or ""


def record(sent: dict[str, Any], condition: str = "RetriesExhausted") -> dict[str, Any]:
    return {"requestPayload": sent, "requestContext": {"condition": condition}}


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() + seconds)


def fail_on(client: MemoryClient, operation: str, start: str) -> None:
    """Has the table not answer an operation on the keys that begin so."""

    def fail(called: str, request: dict[str, Any]) -> None:
        key = request.get("Key") or request.get("Item") or {"pk": {"S": ""}}
        if called == operation and key["pk"]["S"].startswith(start):
            raise ReadTimeoutError(endpoint_url="memory")

    client.before = fail


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
    fail_on(client, "GetItem", "SLOTS#")
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
        fail_on(client, "GetItem", f"S#{play.key}")
        return invoke(**request)

    aws_lambda.invoke = invoke_and_lose_the_table  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("overture.sessions._PATIENCE_S", 0.1)
        sessions.update(first["session"], lambda tx: leases.cancel(tx, first["token"]))
        play.invoker.settle(record(first, "Success"))
    assert aws_lambda.sent[-1]["session"] == play.key


# --- the sweep ------------------------------------------------------------------------------


def test_the_sweep_leaves_what_is_well_alone(story: Play) -> None:
    story.send("say", id="x", text="I knock.")
    confirm(story)
    sent = len(story.aws_lambda.sent)
    assert story.invoker.sweep() == 1
    assert len(story.aws_lambda.sent) == sent


def test_a_reservation_nobody_confirmed_is_invoked_again_with_its_token(
    story: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.send("say", id="x", text="I knock.")
    story.invoker.sweep()
    sent = story.aws_lambda.sent[:]
    later(monkeypatch, leases.UNCONFIRMED_S + 1)
    story.invoker.sweep()
    assert story.aws_lambda.sent == [*sent, sent[-1]]


def test_a_holder_that_died_without_a_record_is_replaced(story: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    story.send("say", id="x", text="I knock.")
    confirm(story)
    sent = len(story.aws_lambda.sent)
    later(monkeypatch, story.settings.lease_s + 1)
    story.connections.take()
    story.invoker.sweep()
    assert len(story.aws_lambda.sent) == sent + 1
    assert kinds(story.connections.take()) == ["Error", "Wake"]
    assert story.sessions.read(story.key).inbox[0].failures == 1


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_lease_written_by_a_clock_that_is_ahead_does_not_outlast_two_sweeps(
    story: Play, monkeypatch: pytest.MonkeyPatch, confirmed: bool
) -> None:
    with monkeypatch.context() as ahead:
        later(ahead, 3600)
        story.send("say", id="x", text="I knock.")
        if confirmed:
            confirm(story)
    sent = len(story.aws_lambda.sent)
    story.invoker.sweep()
    assert len(story.aws_lambda.sent) == sent, "the holder may be at work"
    later(monkeypatch, SWEEP_S)
    story.invoker.sweep()
    assert len(story.aws_lambda.sent) == sent + 1


def test_lines_without_a_lease_are_sent_for(story: Play) -> None:
    story.aws_lambda.refuse = ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")
    story.do("say", text="On")
    story.aws_lambda.refuse = None
    sent = len(story.aws_lambda.sent)
    story.invoker.sweep()
    assert len(story.aws_lambda.sent) == sent + 1


def test_a_session_at_rest_is_not_swept(story: Play) -> None:
    assert story.invoker.sweep() == 0


@pytest.mark.parametrize("broken", ["document", "table"])
def test_a_broken_session_does_not_keep_the_sweep_from_the_next(
    play: Play, client: MemoryClient, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    keys = []
    for connection in ("a", "b"):
        play.hello(connection)
        keys.append(play.key)
    monkeypatch.setattr("overture.sessions._PATIENCE_S", 0.1)
    first = [shard for shard in range(OPEN_SHARDS) if keys[0] in play.sessions.open_keys(shard)]
    monkeypatch.setattr("random.sample", lambda shards, count: sorted(shards, key=lambda shard: shard not in first))
    if broken == "document":
        play.sessions.table.write(Put(f"S#{keys[0]}", "session", b'{"key": 7}', None, 60))
    else:  # it can be read, not invoked, and its reservation not be cancelled
        fail_on(client, "PutItem", f"S#{keys[0]}")
        play.aws_lambda.refused_session = keys[0]
    sent = len(play.aws_lambda.sent)
    later(monkeypatch, leases.UNCONFIRMED_S + 1)
    assert play.invoker.sweep() == 2
    assert [sent["session"] for sent in play.aws_lambda.sent[sent:]] == [keys[1]]


def test_a_slot_whose_record_was_lost_goes_to_who_waits(
    sessions: Sessions, connections: FakeConnections, aws_lambda: FakeLambda
) -> None:
    play = Play(sessions, connections, aws_lambda, concurrency=1)
    play.hello("a")
    fence = confirm(play)
    sessions.update(play.key, lambda tx: leases.release(tx, fence))
    play.hello("b")
    assert aws_lambda.sent[-1]["session"] == play.key, "whoever comes next mends it"
    fence = confirm(play)
    waiting = play.hello("c")
    assert protocol.Wake("queued", position=1) in waiting
    sessions.update(aws_lambda.sent[-1]["session"], lambda tx: leases.release(tx, fence))
    play.invoker.sweep()
    assert aws_lambda.sent[-1]["session"] == play.key
    assert connections.take("c") == [protocol.Wake("waking", progress=0.0)]


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
    monkeypatch.setattr("overture.table.boto3.client", lambda *_, **__: client)
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
