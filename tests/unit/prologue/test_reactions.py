from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from prologue.script.player import Script, ScriptState
from prologue.script.reactions import KINDS, Reaction, classify, react, standing
from prologue.world import load_world

WORLDS = [*sorted(Path("prologue/worlds").iterdir()), Path("prologue/starter_world")]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("hello", "greeting"),
        ("good morning!", "greeting"),
        ("hi there", "greeting"),
        ("thanks a lot", "thanks"),
        ("ok", "yes"),
        ("no", "no"),
        ("no thanks", "no"),
        ("nice city", "small_talk"),
        ("\U0001f408", "small_talk"),
        ("why?", "question"),
        ("what is in the box", "question"),
        ("I knock at the gate", "story"),
        ("open the gate", "story"),
        ("Marlow of the seven hills", "other"),
        ("Will", "other"),
        ("May", "other"),
        ("Will Turner", "other"),
        ("Marlow?", "other"),
        ("will it take long", "question"),
        ("may I come in", "question"),
    ],
)
def test_a_line_has_a_kind(line: str, kind: str) -> None:
    assert classify(line) == kind


def at(script: Script, key: str | None) -> ScriptState:
    """The state in which the question `key` is on the screen; None: the first beat, which asks nothing."""
    state = script.begin()
    while True:
        beat, state = script.next(state, True, None, {})
        if (beat.ask.key if beat.ask else None) == key:
            return state
        assert not beat.final


def to_question(script: Script, key: str, text: str, *, answered: bool = False) -> Reaction:
    """What becomes of a text said to the question `key`."""
    state = at(script, key)
    return react(script, state, text, answered=answered, question=standing(script, state))[0]


@pytest.fixture(scope="module")
def script() -> Script:
    return load_world("prologue/worlds/emerald_city").script


def test_what_is_typed_at_a_question_is_the_reply(script: Script) -> None:
    assert to_question(script, "name", "I'm Marlow") == Reaction("reply", key="name", value="Marlow")
    assert to_question(script, "name", "Dorothy", answered=True).kind == "reply", "no question of its own"
    assert to_question(script, "name", "Will").value == "Will"
    assert to_question(script, "name", "who are you", answered=True).kind == "answer"
    assert to_question(script, "companion", "no").value == "nobody"


def test_a_choice_is_a_reply_whatever_it_looks_like(script: Script) -> None:
    state = at(script, "spectacles")
    asked = standing(script, state)
    assert asked is not None
    question = replace(asked, choices=("Hello", "Who knows?"))
    for choice in ("hello", "who knows?"):
        assert react(script, state, choice, answered=True, question=question)[0].kind == "reply"


def test_a_line_is_no_reply_to_a_question_that_nobody_has_seen(script: Script) -> None:
    reaction, _ = react(script, at(script, "companion"), "I wave to the lamplighter", answered=False)
    assert (reaction.kind, reaction.key, reaction.keep) == ("story", None, True)


def test_a_greeting_or_a_question_is_no_name(script: Script) -> None:
    state = at(script, "name")
    for line in ("hello", "thanks", "why do you ask?", "what can i do"):
        reaction, after = react(script, state, line, answered=False, question=standing(script, state))
        assert reaction.kind in ("greeting", "thanks", "question")
        assert reaction.line
        assert script.current(after) == script.current(state), "the question stands"


def test_a_colour_that_is_not_in_the_box_is_refused_in_the_guardians_voice(script: Script) -> None:
    reaction = to_question(script, "spectacles", "pink")
    assert reaction.kind == "refused"
    assert reaction.line == "pink? I looked once, right to the bottom. The box has green, gold, blue and violet."


def test_only_what_belongs_to_the_story_is_kept(script: Script) -> None:
    state = at(script, None)
    kept = {
        line: react(script, state, line, answered=False)[0].keep
        for line in ("hello", "ok", "nice hat", "I run", "why?")
    }
    assert kept == {"hello": False, "ok": False, "nice hat": False, "I run": True, "why?": True}


@pytest.mark.parametrize("world", WORLDS, ids=lambda path: path.name)
def test_no_line_is_said_twice_in_a_row_and_none_ends_the_prologue(world: Path) -> None:
    script = load_world(world).script
    state = at(script, None)
    said = []
    for line in ["hello", "I wave", "blue smoke", "why?", "thanks", "nice", "yes", "no"] * 3:
        reaction, state = react(script, state, line, answered=False)
        said.append(reaction.line)
        assert not state["ended"]
    assert all(said)
    assert all(one != other for one, other in pairwise(said))
    assert set(script.asides) == set(KINDS)


def test_a_world_without_asides_only_keeps_lines(script: Script) -> None:
    silent = replace(script, asides={})
    reaction, after = react(silent, at(silent, None), "I run", answered=False)
    assert reaction == Reaction("story", None, keep=True)
    assert after == at(silent, None)


@pytest.mark.parametrize("world", WORLDS[:2], ids=lambda path: path.name)
@pytest.mark.parametrize("wait_s", [5, 20, 50, 90, 120])
def test_a_wait_is_full_to_its_end_when_everything_is_replied_to_at_once(world: Path, wait_s: int) -> None:
    player = load_world(world).script
    profile: dict[str, str] = {}
    state, clock = player.begin(), 0.0
    while clock < wait_s:
        beat, state = player.next(state, False, wait_s - clock, profile)
        assert not beat.final, f"nothing is left to tell after {clock:.0f} s"
        assert 0 < beat.seconds < 15 or beat.ask
        clock += beat.seconds
        if beat.ask:
            profile[beat.ask.key], state = player.reply(state, beat.ask.key, (beat.ask.choices or ("Ann",))[0])
    beat, state = player.next(state, True, 0.0, profile)
    assert beat.lines or beat.ask
