from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prologue.placeholders import VALUE_CHARACTERS, clean, fill, flatten, placeholders


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("  two   words ", "two words"),
        ("a\nb\r\nc\u2028d\x0be", "a b c d e"),
        ("nul\x00 bell\x07", "nul bell"),
        ("right\u202eto left", "rightto left"),
        ("zero\u200bwidth", "zerowidth"),
        ("👩\u200d👧 and 🐈", "👩\u200d👧 and 🐈"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("<|eot_id|> stays", "<|eot_id|> stays"),
        ("[INST]<<SYS>>", "[ INST]< < SYS>>"),
        ("", ""),
    ],
)
def test_flatten(text: str, line: str) -> None:
    assert flatten(text) == line


def test_flatten_clips_at_a_word() -> None:
    assert flatten("one two three four", 14) == "one two…"
    assert flatten("x" * 500, 10) == "x" * 9 + "…"


def test_fill_takes_one_pass() -> None:
    assert fill("{a} and {b}, {not a slot}", {"a": "{b}", "b": "b\nb"}) == "{b} and b b, {not a slot}"
    with pytest.raises(KeyError):
        fill("{missing}", {})
    assert list(placeholders("{a} {b} {a} {A}")) == ["a", "b", "a"]


@given(st.text())
def test_a_value_is_one_short_printable_line(text: str) -> None:
    line = flatten(text)
    assert len(line) <= VALUE_CHARACTERS
    assert len(line.splitlines()) <= 1
    line.encode()
    assert flatten(line) == line


@given(st.text())
def test_clean_can_be_repeated(text: str) -> None:
    assert clean(clean(text)) == clean(text)
