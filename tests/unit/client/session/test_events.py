"""Why a connection ended, in a sentence; and how long a beat lasts."""

from __future__ import annotations

import msgspec
import pytest

from client.session.connect import explain_close
from client.session.protocol import Beat


@pytest.mark.parametrize(
    ("code", "age_s", "idle_s", "words"),
    [
        (1009, 10, 1, "too large"),
        (1003, 10, 1, "not text"),
        (1001, 7199, 1, "two hours"),
        (1006, 7200, 1, "two hours"),
        (1001, 700, 600, "idle for ten minutes"),
        (1001, 10, 1, "The server closed the connection."),
        (1006, 10, 1, "The connection was lost."),
        (None, 10, 1, "The connection was lost."),
    ],
)
def test_why_a_connection_ended(code: int | None, age_s: float, idle_s: float, words: str) -> None:
    assert words in explain_close(code, age_s=age_s, idle_s=idle_s)


@pytest.mark.parametrize(("text", "length_s"), [("Hm.", 4.2), ("x" * 36, 5.0), ("x" * 500, 5.5)])
def test_a_beat_lasts_until_its_last_line_was_read(text: str, length_s: float) -> None:
    lines = [{"text": text, "at_s": 3}, {"text": "before", "at_s": 0}]
    beat = msgspec.convert({"type": "beat", "id": "a", "lines": lines, "final": False}, Beat)
    assert beat.length_s == pytest.approx(length_s)
    assert Beat("a", [], final=True).length_s == 0
