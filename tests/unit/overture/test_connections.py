"""Posting and streaming: 410, 413, 429, coalescing, a new connection in the middle of a reply."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from front.actions import fit_turns
from overture import codec, protocol
from overture.connections import Connections, Gone, PostFailed, TooLarge
from overture.reply_stream import Heard, ReplyStream
from tests.unit.fakes import FakeConnections


class Ears:
    """A listener that says what a test sets, and keeps what was saved."""

    def __init__(self) -> None:
        self.heard = Heard("c1", False)
        self.saved: list[str] = []
        self.error: Exception | None = None
        self.times = 0

    def hear(self) -> Heard:
        self.times += 1
        if self.error is not None:
            raise self.error
        return self.heard

    def save(self, reply: str) -> None:
        self.saved.append(reply)


@contextmanager
def streaming(connections: Connections, ears: Ears, **options: Any) -> Iterator[ReplyStream]:
    given = {"to": "a", "take": 1, "base": "", "connection": "c1", "gather_s": 0.02, "save_s": 0.05, **options}
    stream = ReplyStream(connections, ears, **given)
    try:
        yield stream
    finally:
        stream.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def shown(messages: list[protocol.ServerMessage]) -> str:
    """What a client that follows the protocol has on its screen."""
    text = ""
    for message in messages:
        assert isinstance(message, protocol.Token)
        assert message.at <= len(text), "a gap"
        text = text[: message.at] + message.text
    return text


def test_a_reply_arrives_whole_and_gathered() -> None:
    connections, ears = FakeConnections(), Ears()
    words = [f"wörd{n} 🌀 " for n in range(200)]
    with streaming(connections, ears, gather_s=0.05) as stream:
        for word in words:
            stream.write(word)
            time.sleep(0.001)
    posted = connections.take()
    assert shown(posted) == "".join(words)
    assert len(posted) < len(words) / 4, "tokens must be gathered: every post is paid"
    assert stream.cut is None


def test_it_is_saved_while_it_grows() -> None:
    connections, ears = FakeConnections(), Ears()
    with streaming(connections, ears) as stream:
        stream.write("one ")
        until(lambda: "one " in ears.saved)
        stream.write("two")
        until(lambda: "one two" in ears.saved)


def test_a_new_connection_gets_the_whole_reply() -> None:
    connections, ears = FakeConnections(), Ears()
    with streaming(connections, ears) as stream:
        stream.write("Once upon ")
        until(lambda: "c1" in connections.posted)
        connections.gone.add("c1")
        ears.heard = Heard("c2", False)
        stream.write("a time")
        until(lambda: shown(connections.posted.get("c2", [])) == "Once upon a time")
    first = connections.take("c2")[0]
    assert isinstance(first, protocol.Token)
    assert first.at == 0


def test_a_take_over_is_noticed_though_the_old_connection_lives() -> None:
    connections, ears = FakeConnections(), Ears()
    with streaming(connections, ears) as stream:
        stream.write("Once ")
        until(lambda: "c1" in connections.posted)
        ears.heard = Heard("c2", False)
        stream.write("upon")
        until(lambda: shown(connections.posted.get("c2", [])) == "Once upon")


def test_nobody_there_for_the_grace_ends_it_and_keeps_the_text() -> None:
    connections, ears = FakeConnections(), Ears()
    connections.gone.add("c1")  # the session still names it: $disconnect has not come
    with streaming(connections, ears, grace_s=0.0) as stream:
        stream.write("into the void")
        assert stream.cancelled.wait(10)
    assert stream.abandoned
    assert stream.reply == "into the void"


def test_stop_cancels() -> None:
    connections, ears = FakeConnections(), Ears()
    with streaming(connections, ears) as stream:
        ears.heard = Heard("c1", True)
        stream.write("x")
        assert stream.cancelled.wait(10)
    assert not stream.abandoned


def test_a_busy_gateway_gets_fewer_and_larger_posts() -> None:
    connections, ears = FakeConnections(), Ears()
    connections.failing = 2
    with streaming(connections, ears) as stream:
        for n in range(20):
            stream.write(f"{n} ")
            time.sleep(0.002)
    assert shown(connections.take()) == "".join(f"{n} " for n in range(20))


def test_what_the_listener_raises_cuts_the_stream() -> None:
    connections, ears = FakeConnections(), Ears()
    ears.error = RuntimeError("fenced")
    with streaming(connections, ears) as stream:
        stream.write("x")
        assert stream.cancelled.wait(10)
    assert stream.cut is ears.error
    assert connections.take() == []


def test_a_long_text_is_split_within_the_limit() -> None:
    connections, ears = FakeConnections(), Ears()
    text = "\x01🌀" * 20_000
    with streaming(connections, ears) as stream:
        stream.write(text)
    posted = connections.take()
    assert shown(posted) == text
    assert max(len(codec.write(message).encode()) for message in posted) <= protocol.MESSAGE_BYTES


def test_a_continued_reply_begins_where_it_was() -> None:
    connections, ears = FakeConnections(), Ears()
    with streaming(connections, ears, base="Once upon ") as stream:
        stream.write("a time")
    first = connections.take()[0]
    assert isinstance(first, protocol.Token)
    assert (first.at, first.text) == (10, "a time")
    assert stream.reply == "Once upon a time"


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    with streaming(FakeConnections(), Ears()) as stream:
        stream.write("x")
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("GoneException", 410, Gone),
        ("LimitExceededException", 429, PostFailed),
        ("InternalServerError", 500, PostFailed),
        ("ForbiddenException", 403, PostFailed),
        ("PayloadTooLargeException", 413, TooLarge),
        ("SomethingElse", 410, Gone),
    ],
)
def test_the_gateways_answers_become_ours(code: str, status: int, error: type[Exception]) -> None:
    client = boto3.client(
        "apigatewaymanagementapi",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        endpoint_url="http://localhost:1",
    )
    with Stubber(client) as stub:
        stub.add_client_error("post_to_connection", code, http_status_code=status)
        with pytest.raises(error):
            Connections(client).try_post("c1", protocol.Pong())


def test_posts_are_patient_with_a_busy_gateway_and_not_with_a_gone_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overture.connections.FIRST_PAUSE_S", 0.001)
    connections = FakeConnections()
    connections.failing = 3
    assert connections.post("c1", protocol.Ok("a"), protocol.Pong())
    assert connections.take() == [protocol.Ok("a"), protocol.Pong()]
    connections.gone.add("c1")
    assert not connections.post("c1", protocol.Pong())
    assert not connections.post(None, protocol.Pong())


def test_as_many_recent_turns_as_fit_one_message() -> None:
    turns = [protocol.TurnView(f"t{n}", "é" * 100, "🌀" * 1000, "done", 1) for n in range(99, -1, -1)]

    def message(shown: list[protocol.TurnView]) -> protocol.ServerMessage:
        return protocol.Welcome("s", "w", 1, True, shown, {})

    fitted = fit_turns(turns, 20_000, message)
    assert isinstance(fitted, protocol.Welcome)
    assert [turn.id for turn in fitted.turns] == ["t96", "t97", "t98", "t99"]
    assert len(codec.write(fitted).encode()) <= 20_000
