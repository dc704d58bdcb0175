from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prologue.prompt import Turn, compose, compose_within, fixed_messages
from prologue.world import Example, World, load_world

WORLD = "prologue/worlds/emerald_city"


@pytest.fixture(scope="module")
def world() -> World:
    return replace(load_world(WORLD), examples=(Example("I knock", "It opens.\n\n> Go in.\n> Wait."),))


def test_a_prompt_begins_with_the_same_messages_for_everybody(world: World) -> None:
    fixed = fixed_messages(world)
    assert [message["role"] for message in fixed] == ["system", "user", "assistant"]
    assert "{" not in fixed[0]["content"]
    for profile in ({}, {"name": "Ann", "companion": "a goat"}):
        assert compose(world, profile, [Turn("")])[: len(fixed)] == fixed


def test_a_stranger_gets_the_opening_and_nothing_is_made_up(world: World) -> None:
    messages = compose(world, {}, [Turn("")])
    assert messages[-1] == {"role": "user", "content": world.opening}
    assert compose(world, {}, []) == messages
    for word in ("traveller", "nobody", "curiosity"):
        assert all(word not in message["content"] for message in messages)


def test_what_is_known_precedes_the_first_line_of_the_story(world: World) -> None:
    profile = {"name": "Ann", "spectacles": "violet", "secret": "no key of this world"}
    messages = compose(world, profile, [Turn("", "You step in."), Turn("hello")])
    first, last = messages[3]["content"], messages[-1]["content"]
    assert first == f"My name: Ann\nThe colour of my spectacles: violet\n\n{world.opening}"
    assert last == "hello"


@pytest.mark.parametrize("value", ["nobody", "Nobody", "", "  ", "\u200b"])
def test_a_companion_who_is_none_is_not_mentioned(world: World, value: str) -> None:
    assert compose(world, {"companion": value}, [Turn("hello")])[-1]["content"] == "hello"


def test_turns_become_alternating_messages(world: World) -> None:
    turns = [Turn("", "You step in."), Turn("I wave", "A boy waves."), Turn("lost line"), Turn("I sing")]
    messages = compose(world, {}, turns)
    assert [m["role"] for m in messages[3:]] == ["user", "assistant", "user", "assistant", "user"]
    assert messages[-1]["content"] == "I sing"


def test_a_reply_to_be_continued_comes_last(world: World) -> None:
    assert compose(world, {}, [Turn("I wave", "A boy")])[-1] == {"role": "assistant", "content": "A boy"}


@pytest.mark.parametrize("said", ["\x00\x01", "\u200b", "   "])
def test_a_line_of_nothing_is_still_a_line(world: World, said: str) -> None:
    assert compose(world, {}, [Turn(said)])[-1]["content"] == "…"


@given(value=st.text(max_size=300), key=st.sampled_from(["name", "companion", "reason", "spectacles"]))
def test_a_profile_value_is_one_short_line_of_the_prompt(value: str, key: str) -> None:
    world = load_world_once()
    plain = compose(world, {}, [Turn("")])
    filled = compose(world, {key: value}, [Turn("")])
    assert filled[:-1] == plain[:-1]
    known = filled[-1]["content"].removesuffix(world.opening)
    assert len(known.strip().splitlines()) <= 1
    assert len(known) <= 80 + 40


@given(said=st.text(max_size=3000))
def test_a_line_is_bounded_and_never_empty(said: str) -> None:
    message = compose(load_world_once(), {}, [Turn(said)])[-1]
    assert message["role"] == "user"
    assert 0 < len(message["content"]) <= 2_100


def test_what_the_world_knows_stands_before_the_line(world: World) -> None:
    turns = [Turn("I wave", "A boy waves.", ["The boys sell green lemonade."]), Turn("I sing", notes=["A.", "B."])]
    messages = compose(world, {}, turns)
    assert messages[3]["content"] == "(The boys sell green lemonade.)\n\nI wave"
    assert messages[-1]["content"] == "(A. B.)\n\nI sing"


def test_a_note_about_the_visitor_says_what_is_known_and_is_left_out_otherwise(world: World) -> None:
    notes = ["Your name is {name}.", "With you is {companion}.", "A {typo}."]
    turns = [Turn("who am I?", "You are Ann.", notes), Turn("hm", notes=notes[1:])]
    messages = compose(world, {"name": "Ann {companion}\n", "companion": "nobody"}, turns)
    assert messages[3]["content"] == "My name: Ann {companion}\n\n(Your name is Ann {companion}.)\n\nwho am I?"
    assert messages[-1]["content"] == "hm"


def words(messages: list[dict[str, str]]) -> int:
    return sum(len(message["content"].split()) for message in messages)


def test_a_story_that_fits_is_left_whole(world: World) -> None:
    turns = [Turn("a", "A"), Turn("b", "B"), Turn("c", "C"), Turn("d")]
    messages = compose(world, {}, turns)
    assert compose_within(world, {}, turns, words(messages), words) == messages


def test_the_last_turn_stays_whatever_the_limit(world: World) -> None:
    fixed = len(fixed_messages(world))
    for turns, kept in (
        ([Turn("a", "A"), Turn("b", "B")], ["b", "B"]),
        ([Turn("a", "A"), Turn("d")], ["d"]),
    ):
        assert [m["content"] for m in compose_within(world, {}, turns, 0, words)[fixed:]] == kept


def test_the_visitor_is_still_known_when_old_turns_have_gone(world: World) -> None:
    turns = [*(Turn(f"line {n}", "ten words of story that go on and on until") for n in range(40)), Turn("now")]
    limit = words(compose(world, {}, [])) + 100
    messages = compose_within(world, {"name": "Ann"}, turns, limit, words)
    assert messages[len(fixed_messages(world))]["content"].startswith("My name: Ann\n\nline ")


def test_a_growing_story_mostly_begins_as_it_did_before(world: World) -> None:
    limit = words(compose(world, {}, [])) + 100
    said = [Turn(f"line {n}", "ten words of story that go on and on until") for n in range(40)]
    cuts = 0
    former: list[dict[str, str]] = []
    for n in range(1, len(said)):
        trimmed = compose_within(world, {}, [*said[:n], Turn("now")], limit, words)
        assert words(trimmed) <= limit
        assert trimmed[-2]["content"] == said[n - 1].reply, "the newest turns are the ones that stay"
        cuts += trimmed[: len(former)] != former
        former = trimmed[:-1]
    # 12 words a turn and room for some 110: turn by turn it would be a cut for each of the last thirty.
    assert 5 <= cuts <= 8


_cache: list[World] = []


def load_world_once() -> World:
    if not _cache:
        _cache.append(load_world(WORLD))
    return _cache[0]
