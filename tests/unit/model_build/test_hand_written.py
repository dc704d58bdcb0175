"""The held-out lines of tests/hand_written: enough of them, well-formed, and none of them twice."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

HAND_WRITTEN = Path(__file__).parents[2] / "hand_written"
# fmt: off
INTENTS = {
    "go", "look", "talk", "ask", "take", "give", "use", "wait",
    "feel", "greet", "self", "help", "joke", "refuse", "odd", "foreign",
}
PLACES = {
    "gate", "avenue", "market", "palace", "throne room", "garden",
    "fountain", "inn", "workshop", "bridge", "wall", "side street",
}
# fmt: on
REQUIRED, OPTIONAL = {"text", "intent"}, {"target", "place"}


def load_lines() -> list[dict[str, Any]]:
    """Return the lines, each a mapping of the known keys only, all of them strings."""
    lines = yaml.safe_load((HAND_WRITTEN / "lines.yaml").read_text(encoding="utf-8"))
    assert isinstance(lines, list)
    for line in lines:
        check_keys(line)
    return lines


def check_keys(line: dict[str, Any]) -> None:
    unknown = set(line) - REQUIRED - OPTIONAL
    assert not unknown, f"unknown keys {sorted(unknown)} in {line}"
    assert set(line) >= REQUIRED, f"a key is missing in {line}"
    assert all(isinstance(value, str) and value == value.strip() != "" for value in line.values()), line


def load_questions() -> list[dict[str, Any]]:
    text = (HAND_WRITTEN / "questions.jsonl").read_text(encoding="utf-8")
    return [json.loads(row) for row in text.splitlines()]


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.casefold())


def nearly_same(one: list[str], other: list[str]) -> bool:
    """Whether two texts of three words or more differ in one word at most: another word, or one more."""
    if len(one) > len(other):
        one, other = other, one
    if len(one) < 3 or len(other) - len(one) > 1:
        return False
    if len(one) == len(other):
        return sum(a != b for a, b in zip(one, other, strict=True)) <= 1
    return any(other[:i] + other[i + 1 :] == one for i in range(len(other)))


def test_there_are_enough_lines_of_enough_intents() -> None:
    lines = load_lines()
    counts = Counter(line["intent"] for line in lines)
    assert len(lines) >= 300
    assert set(counts) <= INTENTS
    assert sum(count >= 20 for count in counts.values()) >= 12
    assert min(counts.values()) >= 20


def test_no_text_is_there_twice() -> None:
    texts = [row["text"] for row in load_lines() + load_questions()]
    twice = [text for text, count in Counter(text.casefold() for text in texts).items() if count > 1]
    assert not twice
    near = [
        (a, b)
        for (a, a_words), (b, b_words) in combinations([(text, words(text)) for text in texts], 2)
        if nearly_same(a_words, b_words)
    ]
    assert not near


def test_targets_appear_in_their_text_and_places_are_known() -> None:
    for line in load_lines():
        assert "target" not in line or line["target"] in words(line["text"].replace("'s", "")), line
        assert "place" not in line or line["place"] in PLACES, line


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(AssertionError, match="unknown keys"):
        check_keys({"text": "hello", "intent": "greet", "mood": "glad"})


def test_the_questions_belong_to_the_story_and_have_no_answer() -> None:
    questions = load_questions()
    assert len(questions) >= 150
    assert all(set(row) == {"text", "answer", "state"} and row["answer"] is None for row in questions)
    states = Counter(row["state"] for row in questions)
    assert set(states) == {"prologue", "story"}
    assert max(states.values()) - min(states.values()) <= 1
