"""Dialogues: the files that ship are well-formed, wrong ones are refused, rows teach the replies alone."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_build.dialogues import DialogueError, encode, read_dialogues, world_of
from prologue.prompt import Turn, compose
from prologue.world import World, load_world
from storyteller.engine.text.tokenizer import Tokenizer
from tests.tiny_llama import END_TURN, write_tiny_llama

FILES = sorted(Path("model_build/dialogues").glob("*.jsonl"))
REPLY = re.compile(r"[^\n>]+\n\n> ([^\n]+)\n> ([^\n]+)")


@pytest.fixture(scope="module")
def world() -> World:
    return load_world("prologue/worlds/emerald_city")


def write(path: Path, *lines: Any) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_written_reply_has_the_form(path: Path) -> None:
    for dialogue in read_dialogues(path, world_of(path)):
        for turn in dialogue.turns:
            found = REPLY.fullmatch(turn.reply)
            assert found, turn.reply
            assert found[1] != found[2]


def test_no_line_of_the_evaluation_is_taught() -> None:
    """Short lines that anybody says ("are you an ai") may be in both."""
    lines = yaml.safe_load(Path("tests/hand_written/lines.yaml").read_text())
    held_out = {_plain(line["text"]) for line in lines if len(line["text"].split()) > 4}
    taught = {_plain(turn.said) for path in FILES for one in read_dialogues(path, world_of(path)) for turn in one.turns}
    assert len(held_out) > 200
    assert held_out.isdisjoint(taught), sorted(held_out & taught)


def _plain(line: str) -> str:
    return " ".join(re.findall(r"\w+", line.casefold()))


def test_there_are_enough_and_none_is_written_twice() -> None:
    turns: Counter[str] = Counter()
    dialogues: Counter[str] = Counter()
    scenes: Counter[str] = Counter()
    for path in FILES:
        own = world_of(path)
        for dialogue in read_dialogues(path, own):
            dialogues[own.name] += 1
            turns[own.name] += len(dialogue.turns)
            scenes.update(turn.reply for turn in dialogue.turns)
    assert turns["emerald_city"] >= 1_200
    assert dialogues["emerald_city"] >= 150
    assert turns["quiet_shore"] >= 200
    assert scenes.most_common(1)[0][1] == 1


def test_facts_are_the_worlds_own() -> None:
    for path in FILES:
        own = world_of(path)
        known = " ".join((own.folder / "facts.yaml").read_text(encoding="utf-8").split())
        for dialogue in read_dialogues(path, own):
            for fact in (fact for turn in dialogue.turns for fact in turn.notes):
                assert fact in known


def test_a_row_is_the_prompts_of_the_play_with_the_replies_to_be_learned(tmp_path: Path, world: World) -> None:
    path = write(
        tmp_path / "emerald_city.jsonl",
        {"profile": {"name": "Ann"}, "turns": [["", "It opens."], ["I wave", "They wave.", ["Boys sell pears."]]]},
    )
    (dialogue,) = read_dialogues(path, world)
    assert dialogue.turns[1] == Turn("I wave", "They wave.", ["Boys sell pears."])
    tokenizer = Tokenizer(write_tiny_llama(tmp_path / "model"))
    end = tokenizer.vocabulary.token_to_id(END_TURN)
    assert end is not None
    row = encode(dialogue, world, tokenizer, end)
    learned = [token for token, yes in zip(row.ids, row.learned, strict=True) if yes]
    assert tokenizer.vocabulary.decode(learned, skip_special_tokens=False) == f"It opens.{END_TURN}They wave.{END_TURN}"
    asked = tokenizer.encode_chat(
        compose(world, dialogue.profile, [dialogue.turns[0], Turn("I wave", "", ["Boys sell pears."])])
    )
    assert row.ids[: len(asked)] == asked


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: this is not JSON"),
        ([], "line 1: expected an object with the keys profile and turns"),
        ({"profile": {"name": 3}, "turns": []}, "`profile` must be an object of texts"),
        ({"profile": {"shoe": "9"}, "turns": [["", "A."]]}, "`profile` has 'shoe'; this world remembers companion"),
        ({"profile": {}, "turns": []}, "`turns` must be a list"),
        ({"profile": {}, "turns": [["", ""]]}, "turn 1: the reply is empty"),
        ({"profile": {}, "turns": [["hello", "A."]]}, "turn 1: the first line is empty"),
        ({"profile": {}, "turns": [["", "A."], ["", "B."]]}, "turn 2: the first line is empty"),
        ({"profile": {}, "turns": [["", "A."], ["b"]]}, r"turn 2: expected \[said, reply\]"),
        ({"profile": {}, "turns": [["", "A.", "fact"]]}, "turn 1: the facts must be a list of sentences"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, world: World, line: Any, said: str) -> None:
    with pytest.raises(DialogueError, match=said):
        read_dialogues(write(tmp_path / "emerald_city.jsonl", line), world)


def test_a_file_of_no_world_and_an_empty_one(tmp_path: Path, world: World) -> None:
    with pytest.raises(DialogueError, match="there is no world"):
        world_of(Path("atlantis.children.jsonl"))
    with pytest.raises(DialogueError, match="is empty"):
        read_dialogues(write(tmp_path / "emerald_city.jsonl"), world)
    with pytest.raises(DialogueError, match="cannot be read"):
        read_dialogues(tmp_path / "none.jsonl", world)
