"""Compiled ink: line for line what inkjs makes of it (tests/unit/prologue/ink/make.mjs), and as a prologue."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from prologue.check import check_world
from prologue.ink.check import check_ink
from prologue.ink.content import InkError, read_ink
from prologue.ink.script import InkScript
from prologue.ink.story import Ink
from prologue.ink.values import apply
from prologue.new_world import make_world
from prologue.script import Beat, ProfileField, ReplyError
from prologue.world import WorldError, load_world

FOLDER = Path(__file__).with_name("ink")
STORIES = sorted(path.name.removesuffix(".ink.json") for path in FOLDER.glob("*.ink.json"))
FIELDS = (ProfileField("name", "Name", "you"), ProfileField("place", "Place", "here"))


@pytest.fixture
def ferry() -> InkScript:
    return InkScript(read_ink(FOLDER / "ferry.ink.json"), FIELDS)


@pytest.mark.parametrize("story", STORIES)
def test_it_tells_what_inkjs_tells(story: str) -> None:
    root = read_ink(FOLDER / f"{story}.ink.json")
    for play in json.loads((FOLDER / f"{story}.plays.json").read_text()):
        ink = Ink(root, seed=play["seed"])
        shown: list[Any] = []
        for expected in play["shown"]:
            if isinstance(expected, list):
                text, tags = ink.line()
                shown.append([text.rstrip(), *tags])
                continue
            assert not ink.can_go_on
            choices = ink.choices
            shown.append(
                {
                    "choices": [choice["text"] for choice in choices],
                    "tags": [choice["tags"] for choice in choices],
                    "taken": expected["taken"],
                }
            )
            ink.choose(expected["taken"])
            ink = Ink(root, json.loads(json.dumps(ink.state)))  # another process goes on
        assert shown == play["shown"]
        assert not ink.can_go_on


def test_the_fixtures_are_not_empty() -> None:
    assert STORIES == ["ferry", "functions", "sequences", "weave"]


def play(script: InkScript, wait_s: float, replies: dict[str, str]) -> tuple[list[Beat], dict[str, str]]:
    """Plays to the final beat with a storyteller that wakes after `wait_s`."""
    state, told_s = script.begin(), 0.0
    profile: dict[str, str] = {}
    told: list[Beat] = []
    while not told or not told[-1].final:
        beat, state = script.next(state, told_s >= wait_s, max(0.0, wait_s - told_s), profile)
        state = json.loads(json.dumps(state))
        assert script.current(state) == beat
        told.append(beat)
        told_s += max(beat.seconds, 0.5)
        if beat.ask and beat.ask.key in replies:
            profile[beat.ask.key], state = script.reply(state, beat.ask.key, replies[beat.ask.key])
    assert script.next(state, True, 0.0, profile)[0] == told[-1], "after the last it comes again"
    return told, profile


def lines(told: list[Beat]) -> list[str]:
    return [line.text for beat in told for line in beat.lines]


def test_lines_tags_and_choices_become_beats(ferry: InkScript) -> None:
    told, profile = play(ferry, 5, {"name": "ann", "place": "Paris", "choice": "a penny"})
    assert profile == {"name": "ann", "place": "Paris", "choice": "A penny."}
    assert [(line.text, line.at_s) for line in told[0].lines] == [
        ("Evening. Mind the rope.", 0.0),
        ("The boat leaves when it is ready.", 1.8),
    ]
    asks = [beat.ask for beat in told if beat.ask]
    assert [(ask.key, ask.text, ask.choices, ask.free) for ask in asks] == [
        ("name", "What shall I call you?", None, True),
        ("place", "Where to?", ("The island", "The far shore", "somewhere else"), True),
        ("choice", "What will you pay with?", ("A song.", "A penny."), False),
    ]
    assert [beat.speaker for beat in told if "Screech." in lines([beat])] == ["A gull"]
    said = lines(told)
    assert "ann. A good name for a boat." in said
    assert "Never heard of it." in said, "a free reply takes the choice tagged `other`"
    assert "You may sit in front." in said, 'known("place")'
    assert said[-1] == "There. Step in, ann."


def test_questions_may_be_passed_over_and_a_wait_is_filled_without_repeats(ferry: InkScript) -> None:
    told, _ = play(ferry, 600, {})
    said = lines(told)
    assert {"Nameless, then.", "Good. It is a long way."} <= set(said), "the choice tagged `pass`"
    assert sorted(line[-2:] for line in said if "That makes" in line) == ["1.", "2.", "3.", "4."]
    assert len(set(said)) == len(said)
    assert told[-1].lines == ()


def test_awake_from_the_start_everything_is_still_asked(ferry: InkScript) -> None:
    told, _ = play(ferry, 0, {"name": "Ann"})
    assert [beat.ask.key for beat in told if beat.ask] == ["name", "place", "choice"]
    assert "Good. We go at once." in lines(told)
    assert told[-1].lines[0].text == "There. Step in, Ann."
    assert not any("That makes" in line for line in lines(told))


def test_a_reply_that_is_none_of_the_choices_is_refused(ferry: InkScript) -> None:
    state = ferry.begin()
    for _ in range(5):
        beat, state = ferry.next(state, True, 0.0, {"place": "Paris"})
        if beat.ask and beat.ask.key == "choice":
            break
    with pytest.raises(ReplyError, match=r"Choose one of these: A song\., A penny\."):
        ferry.reply(state, "choice", "nothing")
    with pytest.raises(ReplyError, match="Nothing asks for that"):
        ferry.reply(state, "name", "Ann")
    assert ferry.reply(state, "choice", "2")[0] == "A penny."


def test_check_plays_a_story(ferry: InkScript, tmp_path: Path) -> None:
    assert list(check_ink(ferry)) == [
        "ink: a wait of 120 s ends in silence after 19 s; write a knot `waiting` with more to tell."
    ]
    keyless = list(check_ink(InkScript(ferry.root, FIELDS[:1])))
    assert "ink, 'Where to?': `ask: place` is not in `profile` of world.yaml; add it." in keyless
    raw = json.loads((FOLDER / "ferry.ink.json").read_text())
    raw["root"][-1]["lost"] = ["^Nobody comes here.", "\n", "end", None]
    raw["root"][-1]["curtain"] = ["ev", 1, 0, "/", "out", "/ev", "\n", "end", None]
    (tmp_path / "broken.ink.json").write_text(json.dumps(raw))
    broken = InkScript(read_ink(tmp_path / "broken.ink.json"), FIELDS)
    faults = " ".join(check_ink(broken))
    assert "ink: it divides 1 by zero" in faults
    assert "knot lost: none of 40 plays came here" in faults
    told, _ = play(broken, 0, {})
    assert told[-1].final, "a story that fails ends, and the visitor goes in"


def test_a_world_may_have_a_script_in_ink(tmp_path: Path) -> None:
    folder = make_world("house", tmp_path)
    shutil.copy(FOLDER / "ferry.ink.json", folder / "script.ink.json")
    with pytest.raises(WorldError, match=r"there is a script\.yaml beside it"):
        load_world(folder)
    (folder / "script.yaml").unlink()
    assert isinstance(load_world(folder).script, InkScript)
    assert any("`ask: place` is not in `profile`" in fault for fault in check_world(folder))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "this is not compiled ink"),
        ('{"inkVersion": 19, "root": [null]}', "it is ink 19, and only 20 and 21 are known"),
        ('{"inkVersion": 21, "root": [null], "listDefs": {"a": {"b": 1}}}', "it declares a LIST"),
        ('{"inkVersion": 21, "root": ["LIST_ALL", null], "listDefs": {}}', 'it has "LIST_ALL", which is not supported'),
    ],
)
def test_what_cannot_be_played_is_refused_with_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "script.ink.json").write_text(text)
    with pytest.raises(WorldError, match=said):
        read_ink(tmp_path / "script.ink.json")


def test_a_circle_without_a_line_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.ink.json").write_text('{"inkVersion": 21, "root": [[{"->": "0.0"}, null], null], "listDefs": {}}')
    with pytest.raises(InkError, match="it runs in a circle"):
        Ink(read_ink(tmp_path / "a.ink.json")).line()


@pytest.mark.parametrize(
    ("function", "given", "said"),
    [
        ("POW", [0, -1], "`POW` is given values for which it has no result"),
        ("POW", [-8, 0.5], "`POW` is given values for which it has no result"),
        ("POW", [10, 10**9], "`POW` is given values for which it has no result"),
        ("*", [1e200, 1e200], r"`\*` is given values for which it has no result"),
        ("*", [10**200, 10**200], r"`\*` is given values for which it has no result"),
        ("/", [10**300, 1e-300], "`/` is given values for which it has no result"),
        ("_", [{"->": "street"}], "`-` cannot be done with a divert target"),
        ("+", ["to ", {"->": "street"}], r"`\+` cannot be done with a divert target"),
        ("<", [{"->": "street"}, 1], "`<` cannot be done with a divert target"),
        ("_", ["Ann"], "`-` cannot be done with the text 'Ann'"),
    ],
)
def test_a_calculation_without_a_result_is_refused(function: str, given: list[Any], said: str) -> None:
    with pytest.raises(InkError, match=said):
        apply(function, given)


@pytest.mark.parametrize(
    ("function", "given", "value"),
    [
        ("POW", [2, -1], 0.5),
        ("POW", [2, 10], 1024),
        ("==", [{"->": "street"}, {"->": "street"}], True),
        ("!=", [{"->": "street"}, 1], True),
    ],
)
def test_a_calculation_with_a_result(function: str, given: list[Any], value: Any) -> None:
    assert apply(function, given) == value


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('5, 4, "rnd"', "`RANDOM` is asked for a number from 5 to 4; give it the smaller one first"),
        ('5, 3, "rnd"', "`RANDOM` is asked for a number from 5 to 3"),
        ('1, 2.5, "rnd"', "`RANDOM` needs whole numbers, and is given 2.5"),
        ('1, {"^->": "0"}, "rnd"', "`RANDOM` needs whole numbers, and is given a divert target"),
        ('1, "rnd"', "a calculation lacks a value"),
        ('"str", "^x", "/str", "srnd"', "`SEED_RANDOM` needs whole numbers, and is given the text 'x'"),
    ],
)
def test_a_drawing_from_nothing_is_refused(tmp_path: Path, content: str, said: str) -> None:
    story = (
        f'{{"inkVersion": 21, "root": [["ev", {content}, "out", "/ev", "\\n", "done", null], null], "listDefs": {{}}}}'
    )
    (tmp_path / "a.ink.json").write_text(story)
    with pytest.raises(InkError, match=said):
        Ink(read_ink(tmp_path / "a.ink.json")).line()


def test_a_drawing_of_one_number_gives_it(tmp_path: Path) -> None:
    story = '{"inkVersion": 21, "root": [["ev", 5, 5, "rnd", "out", "/ev", "\\n", "done", null], null], "listDefs": {}}'
    (tmp_path / "a.ink.json").write_text(story)
    assert Ink(read_ink(tmp_path / "a.ink.json")).line() == ("5\n", [])
