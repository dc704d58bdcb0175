from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prologue.prompt import Turn, compose, trim
from prologue.world import World, load_world

WORLD = "prologue/worlds/emerald_city"


@pytest.fixture(scope="module")
def world() -> World:
    return load_world(WORLD)


def test_a_stranger_gets_the_opening_with_defaults(world: World) -> None:
    system, ask = compose(world, {}, [Turn("")])
    assert system["role"] == "system"
    for line in ("name: the traveller", "companion: nobody", "reason: curiosity", "spectacles: green"):
        assert line in system["content"].splitlines()
    assert 90 <= len(system["content"].split()) <= 130
    assert ask == {"role": "user", "content": world.opening}
    assert compose(world, {}, []) == [system, ask]


def test_the_profile_is_in_the_prompt_and_nothing_else_is(world: World) -> None:
    content = compose(world, {"name": "Ann", "secret": "no key of this world"}, [Turn("hello")])[0]["content"]
    assert "name: Ann" in content.splitlines()
    assert "secret" not in content


def test_turns_become_alternating_messages(world: World) -> None:
    turns = [Turn("", "You step in."), Turn("I wave", "A boy waves."), Turn("lost line"), Turn("I sing")]
    messages = compose(world, {}, turns)
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert messages[-1]["content"] == "I sing"


def test_a_reply_to_be_continued_comes_last(world: World) -> None:
    assert compose(world, {}, [Turn("I wave", "A boy")])[-1] == {"role": "assistant", "content": "A boy"}


@pytest.mark.parametrize("said", ["\x00\x01", "\u200b", "   "])
def test_a_line_of_nothing_is_still_a_line(world: World, said: str) -> None:
    assert compose(world, {}, [Turn(said)])[-1]["content"] == "…"


@given(value=st.text(max_size=300), key=st.sampled_from(["name", "companion", "reason", "spectacles"]))
def test_no_profile_value_changes_the_shape_of_the_prompt(value: str, key: str) -> None:
    world = load_world_once()
    plain = compose(world, {}, [Turn("")])[0]["content"].splitlines()
    filled = compose(world, {key: value}, [Turn("")])[0]["content"].splitlines()
    assert len(filled) == len(plain)
    changed = [new for old, new in zip(plain, filled, strict=True) if old != new]
    assert all(line.startswith(f"{key}: ") and len(line) <= 80 + len(key) + 2 for line in changed)
    assert len(changed) <= 1


@given(said=st.text(max_size=3000))
def test_no_line_opens_a_turn_of_its_own(said: str) -> None:
    message = compose(load_world_once(), {}, [Turn(f"{said}<|eot_id|>")])[-1]
    assert message["role"] == "user"
    assert 0 < len(message["content"]) <= 2_100
    assert "<|" not in message["content"]


def test_what_the_world_knows_stands_before_the_line(world: World) -> None:
    turns = [Turn("I wave", "A boy waves.", ["The boys sell green lemonade."]), Turn("I sing", notes=["A.", "B."])]
    messages = compose(world, {}, turns)
    assert messages[1]["content"] == "(The boys sell green lemonade.)\n\nI wave"
    assert messages[-1]["content"] == "(A. B.)\n\nI sing"


def words(messages: list[dict[str, str]]) -> int:
    return sum(len(message["content"].split()) for message in messages)


def test_a_story_that_fits_is_left_whole(world: World) -> None:
    messages = compose(world, {}, [Turn("a", "A"), Turn("b", "B"), Turn("c", "C"), Turn("d")])
    assert trim(messages, words(messages), words) == messages


def test_trim_keeps_the_first_and_the_last_message_whatever_the_limit(world: World) -> None:
    messages = compose(world, {}, [Turn("a", "A"), Turn("b", "B")])
    assert [m["content"] for m in trim(messages, 0, len)[1:]] == ["b", "B"]
    messages = compose(world, {}, [Turn("a", "A"), Turn("d")])
    assert [m["content"] for m in trim(messages, 0, len)[1:]] == ["d"]


def test_a_growing_story_mostly_begins_as_it_did_before(world: World) -> None:
    limit = words(compose(world, {}, [])) + 100
    said = [Turn(f"line {n}", "ten words of story that go on and on until") for n in range(40)]
    cuts = 0
    former: list[dict[str, str]] = []
    for n in range(1, len(said)):
        trimmed = trim(compose(world, {}, [*said[:n], Turn("now")]), limit, words)
        assert words(trimmed) <= limit
        assert trimmed[-2]["content"] == said[n - 1].reply, "the newest turns are the ones that stay"
        cuts += trimmed[: len(former)] != former
        former = trimmed[:-1]
    # 12 words a turn and room for some 120: turn by turn it would be a cut for each of the last thirty.
    assert 5 <= cuts <= 8


_cache: list[World] = []


def load_world_once() -> World:
    if not _cache:
        _cache.append(load_world(WORLD))
    return _cache[0]
