"""Protocol 1: what is read, what is refused and in which words, what is written."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overture import codec, protocol

GOOD: list[tuple[dict[str, Any], protocol.ClientMessage]] = [
    ({"action": "hello"}, protocol.Hello()),
    ({"action": "hello", "session": "s" * 32, "world": "emerald_city"}, protocol.Hello("s" * 32, "emerald_city")),
    ({"action": "say", "id": "a1", "text": "Hallo"}, protocol.Say("a1", "Hallo")),
    ({"action": "say", "id": "a1", "text": "Nim", "ask": "name"}, protocol.Say("a1", "Nim", "name")),
    ({"action": "next", "id": "a2", "beat": "gate"}, protocol.Next("a2", "gate")),
    ({"action": "skip", "id": "a3"}, protocol.Skip("a3")),
    ({"action": "stop", "of": "a1"}, protocol.Stop("a1")),
    ({"action": "retry", "id": "a4", "of": "opening"}, protocol.Retry("a4", "opening")),
    ({"action": "undo", "id": "a5", "of": "a1"}, protocol.Undo("a5", "a1")),
    ({"action": "edit", "id": "a6", "of": "a1", "text": "No"}, protocol.Edit("a6", "a1", "No")),
    ({"action": "continue", "id": "a7", "of": "a1"}, protocol.Continue("a7", "a1")),
    ({"action": "remember", "id": "a8", "profile": {"name": "Nim"}}, protocol.Remember("a8", {"name": "Nim"})),
    ({"action": "history", "before": "a1"}, protocol.History("a1")),
    ({"action": "ping", "of": "a field nobody knows yet"}, protocol.Ping()),
]


@pytest.mark.parametrize(("frame", "message"), GOOD, ids=lambda value: str(value)[:40])
def test_reads_every_action(frame: dict[str, Any], message: protocol.ClientMessage) -> None:
    assert codec.read(json.dumps(frame)) == message


@pytest.mark.parametrize(
    ("frame", "code", "to", "words"),
    [
        ("hello", "bad_json", None, "not JSON"),
        ('"hello"', "bad_json", None, "not an object"),
        ("[]", "bad_json", None, "not an object"),
        ("", "bad_json", None, "not JSON"),
        ('{"text": "\\ud800"}', "bad_json", None, "not JSON"),
        ("{}", "unknown_action", None, "`action` is missing"),
        ('{"action": 3}', "unknown_action", None, "`action` is 3"),
        ('{"action": "fly", "id": "a"}', "unknown_action", "a", "one of hello, say"),
        ('{"action": "say", "id": "a"}', "bad_field", "a", "`text`"),
        ('{"action": "say", "id": "a", "text": 3}', "bad_field", "a", "the field `text`: expected `str`"),
        ('{"action": "say", "id": "a", "text": ""}', "bad_field", "a", "the field `text`"),
        ('{"action": "say", "text": "x"}', "bad_field", None, "`id`"),
        ('{"action": "say", "id": "a b", "text": "x"}', "bad_field", "a b", "the field `id`"),
        ('{"action": "say", "id": "opening", "text": "x"}', "bad_field", None, "belongs to the first scene"),
        ('{"action": "hello", "session": "short"}', "bad_field", None, "the field `session`"),
        ('{"action": "remember", "id": "a", "profile": {"name": 1}}', "bad_field", "a", "the field `profile"),
        ('{"action": "remember", "id": "a", "profile": {}}', "bad_field", "a", "the field `profile`"),
    ],
)
def test_refuses_in_a_sentence(frame: str, code: str, to: str | None, words: str) -> None:
    with pytest.raises(protocol.ProtocolError) as caught:
        codec.read(frame)
    assert (caught.value.code, caught.value.to) == (code, to)
    assert words in caught.value.message


def test_a_line_may_have_2000_characters_however_many_bytes() -> None:
    frame = {"action": "say", "id": "a", "text": "🌀" * 2000}
    assert codec.read(json.dumps(frame)) == protocol.Say("a", "🌀" * 2000)
    with pytest.raises(protocol.ProtocolError, match="2000"):
        codec.read(json.dumps({**frame, "text": "🌀" * 2001}))


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_json_makes_reading_fail_in_any_other_way(value: Any) -> None:
    for frame in (
        value,
        {"action": "say", "id": value, "text": value},
        {"action": "remember", "id": "a", "profile": value},
    ):
        try:
            codec.read(json.dumps(frame))
        except protocol.ProtocolError as refusal:
            assert refusal.message  # noqa: PT017  either a message or a refusal, never another error


def test_writes_what_a_client_reads() -> None:
    beat = protocol.Beat("gate", [protocol.BeatLine("Halt.", 0.0)], False, "Guardian", protocol.BeatAsk("name", "Who?"))
    assert json.loads(codec.write(beat)) == {
        "type": "beat",
        "id": "gate",
        "speaker": "Guardian",
        "lines": [{"text": "Halt.", "at_s": 0.0}],
        "ask": {"key": "name", "text": "Who?"},
        "final": False,
    }
    assert json.loads(codec.write(protocol.Wake("waking", progress=0.0))) == {
        "type": "wake",
        "state": "waking",
        "progress": 0.0,
    }
    assert json.loads(codec.write(protocol.Pong())) == {"type": "pong"}


@pytest.mark.parametrize(
    "message",
    [
        protocol.Wake("waking", progress=1.5),
        protocol.Token("a", 0, 0, "x"),
        protocol.Token("a", 1, -1, "x"),
        protocol.Wake("asleep"),  # type: ignore[arg-type]
    ],
)
def test_writing_checks_too(message: protocol.ServerMessage) -> None:
    with pytest.raises(msgspec.ValidationError):
        codec.write(message)
