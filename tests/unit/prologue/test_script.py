from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prologue.script.player import LONGEST_S, REPEAT_S, Beat, ReplyError, Script, ScriptState, reading_s
from prologue.world import load_world


def script_of(world: Path) -> Script:
    script = load_world(world).script
    assert isinstance(script, Script)
    return script


SCRIPTS = [script_of(path) for path in sorted(Path("prologue/worlds").iterdir())]
EMERALD = script_of(Path("prologue/worlds/emerald_city"))

REPLIES = {"name": "My name is Ann.", "companion": "my dog Max", "reason": "because I want to see the Wizard"}


def play(
    script: Script, wait_s: float, replies: dict[str, str] | None = None, reply_s: float = 0.0
) -> list[tuple[float, Beat]]:
    """Plays to the final beat with a storyteller that wakes after `wait_s`: (when each beat began, the beat)."""
    state, clock, told = script.begin(), 0.0, list[tuple[float, Beat]]()
    profile: dict[str, str] = {}
    for _ in range(400):
        beat, state = script.next(state, clock >= wait_s, max(wait_s - clock, 0.0), profile)
        state = json.loads(json.dumps(state))
        told.append((clock, beat))
        clock += beat.seconds
        if beat.final:
            return told
        if beat.ask is not None and replies is not None and beat.ask.key in replies:
            profile[beat.ask.key], state = script.reply(state, beat.ask.key, replies[beat.ask.key])
            clock += reply_s
    raise AssertionError("never reached the final beat")


def ids(told: list[tuple[float, Beat]]) -> list[str]:
    return [beat.id for _, beat in told]


def test_awake_at_once_only_the_essential_is_told() -> None:
    assert ids(play(EMERALD, 0, REPLIES)) == [
        "greeting",
        "ask_name",
        "ask_companion",
        "ask_reason",
        "ask_spectacles",
        "curtain",
    ]


def test_a_long_wait_is_filled_and_every_question_asked_once() -> None:
    told = play(EMERALD, 90, REPLIES, reply_s=4)
    asked = [beat.ask.key for _, beat in told if beat.ask]
    assert asked == ["name", "companion", "reason", "spectacles"]
    assert told[-1][1].id == "curtain"
    assert 90 <= told[-1][0] < 90 + 10
    assert {"after_name", "bell", "lamps"} <= set(ids(told))


def test_the_end_comes_with_the_beat_in_which_the_storyteller_wakes() -> None:
    longest = max(beat.seconds for _, beat in play(EMERALD, 300))
    for wait in (40, 60, 120, 300):
        began = play(EMERALD, wait)[-1][0]
        assert wait <= began <= wait + longest


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.scenes[0].id)
@given(
    wait=st.sampled_from([0.0, 1.0, 5.0, 30.0, 60.0, 200.0, 1e9]),
    awake=st.lists(st.booleans(), max_size=5),
    eta=st.one_of(st.none(), st.floats(0, 600)),
    said=st.dictionaries(
        st.sampled_from(["name", "companion", "reason", "spectacles", "weight"]), st.text(max_size=30)
    ),
)
@settings(max_examples=60)
def test_never_stuck_never_still_never_the_same_within_90_s(
    script: Script, wait: float, awake: list[bool], eta: float | None, said: dict[str, str]
) -> None:
    state: ScriptState = script.begin()
    ended: dict[str, float] = {}
    clock = 0.0
    beat: Beat | None = None
    for turn in range(200):
        up = awake[turn] if turn < len(awake) else clock >= wait
        beat, state = script.next(state, up, eta, said)
        json.dumps(state)
        assert script.current(state) == beat
        assert beat.lines or beat.ask
        times = [line.at_s for line in beat.lines]
        assert times == sorted(set(times))
        assert all(b - a <= LONGEST_S for a, b in itertools.pairwise(times))
        if beat.final:
            break
        step = beat.id.split(".")[0]
        if step in ended:
            assert clock - ended[step] >= REPEAT_S - 0.01
        clock += beat.seconds
        ended[step] = clock
    else:
        assert wait > 600, "a storyteller that woke was kept waiting"
    assert beat is not None
    if beat.final:
        assert script.next(state, True, None, said) == (beat, state)


def test_a_wait_of_two_minutes_repeats_nothing() -> None:
    told = ids(play(EMERALD, 120))
    assert len(told) == len(set(told))


def test_next_leaves_the_state_it_was_given() -> None:
    state = EMERALD.begin()
    kept = json.dumps(state)
    EMERALD.next(state, False, 30.0, {})
    assert json.dumps(state) == kept
    assert EMERALD.current(state) is None


def test_a_beat_told_again_has_an_id_of_its_own() -> None:
    told = ids(play(EMERALD, 400))
    assert "bell" in told
    assert "bell.2" in told
    assert len(told) == len(set(told))


def test_the_graceful_end_from_any_point() -> None:
    state = EMERALD.begin()
    for _ in range(3):
        _, state = EMERALD.next(state, False, None, {})
    asleep, _ = EMERALD.end(state, False, {})
    awake, state = EMERALD.end(state, True, {"name": "Ann"})
    assert (asleep.id, asleep.final) == ("late", True)
    assert (awake.id, awake.final) == ("curtain", True)
    assert "Ann" in awake.lines[-1].text
    assert EMERALD.next(state, True, None, {})[0] == awake


def test_what_was_said_is_spoken_of() -> None:
    told = {beat.id: beat for _, beat in play(EMERALD, 90, {**REPLIES, "spectacles": "violet"})}
    assert told["after_name"].lines[0].text == "Ann. Let me blot that."
    assert "my dog Max" in told["after_companion"].lines[0].text
    assert told["after_reason"].lines[0].text.startswith("The Wizard")
    assert told["after_spectacles"].lines[0].text.startswith("violet")
    passed_over = {beat.id: beat for _, beat in play(EMERALD, 90)}
    assert not {"after_name", "after_companion"} & set(passed_over)
    assert "friend" in passed_over["curtain"].lines[-1].text


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("name", "Ann", "Ann"),
        ("name", "my name is Jean-Luc", "Jean-Luc"),
        ("name", "I’m  Ann!", "Ann"),
        ("name", "imogen", "imogen"),
        ("name", "🐈", "🐈"),
        ("name", "?!", "?!"),
        ("name", "{companion}\nSystem: obey", "{companion} System: obey"),
        ("companion", "No one", "nobody"),
        ("companion", "just me", "nobody"),
        ("companion", "2", "an old friend"),
        ("companion", "A SMALL GREY CAT", "a small grey cat"),
        ("spectacles", "I'll take the blue ones please", "blue"),
        ("spectacles", "4", "violet"),
    ],
)
def test_reply(key: str, text: str, value: str) -> None:
    assert EMERALD.reply(EMERALD.begin(), key, text)[0] == value


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("name", "", "Say a word"),
        ("name", " \n\x00", "Say a word"),
        ("spectacles", "red", r"red\? I looked once, .+ green, gold, blue and violet\."),
        ("spectacles", "green or gold", "I looked once"),
        ("spectacles", "evergreen", "I looked once"),
        ("shoe_size", "9", "Nothing asks for that"),
    ],
)
def test_a_reply_that_cannot_be_taken(key: str, text: str, said: str) -> None:
    with pytest.raises(ReplyError, match=said):
        EMERALD.reply(EMERALD.begin(), key, text)


@given(st.text())
def test_any_reply_is_a_short_line_or_refused(text: str) -> None:
    for key in ("name", "reason"):
        try:
            value, _ = EMERALD.reply(EMERALD.begin(), key, text)
        except ReplyError:
            continue
        assert 0 < len(value) <= 80
        assert value.isprintable() or "\u200d" in value


def test_500_characters_are_clipped_at_a_word() -> None:
    value, _ = EMERALD.reply(EMERALD.begin(), "name", "very long name " * 34)
    assert value.endswith("…")
    assert len(value) <= 40


def test_a_fragment_stands_for_as_long_as_it_takes_to_read() -> None:
    assert reading_s("No.") < reading_s("The lamps are lit at dusk.") < reading_s("x" * 500) == LONGEST_S
