"""The storyteller's bench: which lines are said to whom, how they are played and resumed, and the sheets to read."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.storyteller import __main__ as storyteller
from bench.storyteller.__main__ import markdown
from bench.storyteller.lines import LINES_EACH, OPENING, QUESTION, Dialogue, Line, read_dialogues
from bench.storyteller.player import BenchError, Player, read_played, resume
from bench.storyteller.reading import write_pairs, write_singles
from bench.storyteller.scores import Figure
from overture.settings import Settings
from prologue.world import load_world
from storyteller.engine import load_engine
from tests.tiny_llama import write_tiny_llama

ROOT = Path(__file__).resolve().parents[4]
WORLD = load_world(ROOT / "prologue" / "worlds" / "emerald_city")


def facts(text: str) -> list[str]:
    return [f"About {text}."]


def played(run: str, number: int, replies: list[str]) -> dict[str, Any]:
    turns = [
        {"said": f"line {at}" if at else "", "intent": "go" if at else OPENING, "reply": reply}
        for at, reply in enumerate(replies)
    ]
    return {"run": run, "dialogue": number, "profile": {"name": "Ann"}, "turns": turns}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_every_visitor_says_an_opening_five_lines_and_a_question_that_has_an_answer() -> None:
    dialogues = read_dialogues()
    assert len(dialogues) == 60
    assert len({line.said for one in dialogues for line in one.lines[1:-1]}) == 60 * LINES_EACH
    for one in dialogues:
        assert [line.intent == OPENING for line in one.lines] == [True] + [False] * (LINES_EACH + 1)
        assert one.lines[-1].intent == QUESTION
        assert all(one.profile.get(line.asks, "nobody") != "nobody" for line in one.lines if line.asks)
        assert "asks" not in one.profile


def test_the_dialogues_are_always_the_same() -> None:
    assert read_dialogues() == read_dialogues()
    first = read_dialogues()[0]
    assert first.profile["name"] == "Thessaly"
    assert first.lines[-1].asks == "name"


def test_lines_of_two_places_hardly_meet() -> None:
    places = [{line.place for line in one.lines if line.place} for one in read_dialogues()]
    assert sum(len(found) > 1 for found in places) <= 3


def test_no_visitor_has_a_name_of_a_written_dialogue() -> None:
    trained = {
        json.loads(line)["profile"].get("name", "").casefold()
        for path in (ROOT / "model_build" / "dialogues").glob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    }
    assert not [one.profile["name"] for one in read_dialogues() if one.profile.get("name", "-").casefold() in trained]


def test_a_dialogue_is_played_with_its_facts_and_always_alike(tmp_path: Path) -> None:
    engine = load_engine(write_tiny_llama(tmp_path, context=4096), threads=1)
    settings = msgspec.structs.replace(Settings(), max_tokens=12)
    dialogue = Dialogue(3, {"name": "Ann", "reason": "tea"}, [Line("", OPENING), Line("who am i", "self", "name")])
    player = Player(engine, WORLD, facts, settings, form=False)
    opening, told = player.play(dialogue)
    assert (opening["said"], opening["notes"], told["notes"]) == ("", ["About tea."], ["About who am i."])
    assert (told["asks"], told["tokens"], told["reason"]) == ("name", 12, "length")
    assert "asks" not in opening
    # The second prompt has the first reply in it, which is not computed again.
    assert told["prompt_tokens"] > opening["prompt_tokens"]
    assert told["reused_tokens"] >= opening["prompt_tokens"]
    again = player.play(dialogue)
    assert [turn["reply"] for turn in again] == [opening["reply"], told["reply"]]


def test_a_reply_is_held_to_the_form_of_the_world_unless_it_is_free(tmp_path: Path) -> None:
    engine = load_engine(write_tiny_llama(tmp_path, context=4096), threads=1)
    settings = msgspec.structs.replace(Settings(), max_tokens=4)
    assert WORLD.reply is not None
    dialogues = [Dialogue(number, {}, [Line("", OPENING)]) for number in range(8)]
    held, free = (
        [Player(engine, WORLD, facts, settings, form=form).play(one)[0]["reply"][0] for one in dialogues]
        for form in (True, False)
    )
    # A scene begins with no space, no end mark and no small letter; a random model's bytes often do.
    assert not [first for first in held if unicodedata.category(first) == "Ll" or first in " .!?"]
    assert held != free


def test_play_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    dialogues = [Dialogue(number, {}, [Line("", OPENING), Line("line 1", "go")]) for number in range(3)]
    assert resume(path, "ours", dialogues) == dialogues
    write(path, [played("ours", 1, ["a", "b"])])
    whole = path.read_text()
    path.write_text(whole + '{"run": "ou')
    assert resume(path, "ours", dialogues) == [dialogues[0], dialogues[2]]
    assert path.read_text() == whole


def test_a_file_of_another_run_or_of_other_lines_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write(path, [played("theirs", 0, ["a", "b"])])
    with pytest.raises(BenchError, match="holds replies of 'theirs', not of 'ours'"):
        resume(path, "ours", [])
    with pytest.raises(BenchError, match="was played with other lines"):
        resume(path, "theirs", [Dialogue(0, {}, [Line("", OPENING)])])
    path.write_text("no JSON\n")
    with pytest.raises(BenchError, match="is no file that `play` has written"):
        read_played(path)


def test_a_missing_file_is_said_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert storyteller.main(["score", str(tmp_path / "none.jsonl")]) == 1
    assert "give a file that `play` has written" in capsys.readouterr().err


def test_pairs_hide_who_told_what_and_the_key_knows(tmp_path: Path) -> None:
    ours = [played("ours", number, ["The gate.", f"Ours {number}.", f"Ours again {number}."]) for number in range(4)]
    theirs = [played("theirs", number, ["A wall.", f"Theirs {number}.", "Theirs again."]) for number in range(3)]
    out = tmp_path / "pairs.md"
    assert write_pairs([ours, theirs], 99, out) == 6  # two counted lines of three dialogues
    text, key = out.read_text(), json.loads(out.with_suffix(".key.json").read_text())
    assert "ours" not in text
    assert {frozenset((pair["A"], pair["B"])) for pair in key.values()} == {frozenset(("ours", "theirs"))}
    assert {pair["A"] for pair in key.values()} == {"ours", "theirs"}
    first = text.split("## 1\n")[1].split("## 2\n")[0]
    side = first.split("### A\n")[1].split("### B\n")[0]
    assert key["1"]["A"].capitalize() in side.split("**")[2]
    assert "The visitor: name: Ann" in first


def test_single_replies_come_with_what_was_before(tmp_path: Path) -> None:
    out = tmp_path / "blind.md"
    assert write_singles([played("ours", 0, ["The gate.", "A street.", ""])], 5, out) == 2
    text = out.read_text()
    assert "ours" not in text
    assert "A street.\n\n**line 2**\n\n(nothing)" in text
    assert "The gate.\n\n**line 1**\n\nA street." in text
    assert sorted(one["turn"] for one in json.loads(out.with_suffix(".key.json").read_text()).values()) == [1, 2]


def test_the_table_has_a_row_a_figure_and_a_column_a_run() -> None:
    share, speed = Figure(0.5, 0.25, 0.75, 8), Figure(25.04, 20, 30.06, 8)
    ours = {"form kept": share, "strange words": Figure(0.00123, 0, 0.01, 1000), "tokens/s (median)": speed}
    theirs = {**ours, "form kept": Figure(float("nan"), 0, 0, 0)}
    assert markdown({"ours": ours, "theirs": theirs}).splitlines() == [
        "| | ours | theirs |",
        "|---|---|---|",
        "| form kept | 50.0% (25.0 to 75.0; of 8) | - |",
        "| strange words | 0.12% (0.00 to 1.00; of 1,000) | 0.12% (0.00 to 1.00; of 1,000) |",
        "| tokens/s (median) | 25.0 (20.0 to 30.1) | 25.0 (20.0 to 30.1) |",
    ]
