"""Keys in, lines out."""

from __future__ import annotations

import pytest

from client.editor import Editor


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        ("hello\r", ["hello"]),
        ("one\rtwo\r", ["one", "two"]),
        ("helo\x1b[Dl\r", ["hello"]),
        ("xhello\x01\x1b[3~\r", ["hello"]),
        ("hello worl\x17there\r", ["hello there"]),
        ("wrong\x15right\r", ["right"]),
        ("tail\x01head \x05!\r", ["head tail!"]),
        ("cut here\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x0b\r", ["cut"]),
        ("two\nlines\r", ["two\nlines"]),
        ("two\x1b\rlines\r", ["two\nlines"]),
        ("\x1b[200~pasted\rtext\x1b[201~!\r", ["pasted\ntext!"]),
        ("größe 🟢\x7f\x7f\r", ["größe"]),
        ("\x04", ["\x04"]),
        ("ab\x01\x04\r", ["b"]),
        ("\x1b[15~\x1bxstill\r", ["still"]),
        ("one\r\x1b[A\x1b[A\x1b[B\x1b[A!\r", ["one", "one!"]),
        ("one\rdraft\x1b[A\x1b[B\r", ["one", "draft"]),
    ],
)
def test_what_keys_come_to(keys: str, lines: list[str]) -> None:
    assert Editor().feed(keys) == lines
    one_by_one = Editor()
    assert [line for key in keys for line in one_by_one.feed(key)] == lines
