"""How the wait feels: the silence that is measured, and the table of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from bench import wait
from bench.wait import Watch
from local.plan import LocalError


def test_the_longest_silence_ends_with_the_story() -> None:
    seen = Watch(shown=[(3.0, "story"), (0.0, "welcome"), (0.5, "beat"), (9.0, "later")], first_token_s=3.0)
    assert seen.longest_gap() == (2.5, "beat")
    assert Watch().longest_gap() == (0.0, "nothing")


def test_a_countdown_alone_is_no_entertainment() -> None:
    seen = Watch(shown=[(0.0, "beat"), (8.0, "story")], ticks=[(2.5, "waking 50%"), (5.0, "waking 80%")])
    assert seen.longest_gap() == (8.0, "beat")
    assert seen.longest_gap(counted=True) == (3.0, "waking 80%")


@pytest.mark.parametrize(("ready_s", "opening_s", "expected"), [(5.0, 8.0, 1.0), (8.0, 5.0, 1.0), (None, 5.0, None)])
def test_the_storyteller_is_timed_from_when_it_could_begin(
    ready_s: float | None, opening_s: float, expected: float | None
) -> None:
    assert Watch(ready_s=ready_s, opening_s=opening_s, first_token_s=9.0).ready_to_token_s == expected


def test_the_command_tells_rows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def measure(waits: Sequence[float], *, model: str | None, think_s: float) -> list[dict[str, Any]]:
        assert think_s == 0.5
        return [{"wait_s": value, "gap_after": "beat"} for value in waits]

    monkeypatch.setattr(wait, "measure", measure)
    assert wait.main(["--waits", "0", "5", "--json"]) == 0
    assert [row["wait_s"] for row in json.loads(capsys.readouterr().out)] == [0.0, 5.0]
    assert wait.main(["--waits", "7"]) == 0
    assert "(after: beat)" in capsys.readouterr().out


def test_a_stack_that_cannot_run_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def measure(*_: Any, **__: Any) -> list[dict[str, Any]]:
        raise LocalError("Build the answer index first.")

    monkeypatch.setattr(wait, "measure", measure)
    assert wait.main([]) == 1
    assert capsys.readouterr().err == "Build the answer index first.\n"
