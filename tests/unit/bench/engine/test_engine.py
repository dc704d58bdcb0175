"""Engines side by side: players that answer orders, and the ratios that are told."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.engine import __main__ as bench
from bench.engine import players
from bench.engine.random_llama import write_bundle


class Counting:
    """A player that notes what it was told."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, int]] = []

    def prefill(self, ids: list[int]) -> None:
        self.orders.append(("prefill", len(ids)))

    def decode(self, count: int) -> None:
        self.orders.append(("decode", count))


def orders(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, player: Any) -> list[Any]:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    players.play(lambda: player)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_player_does_as_it_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    player = Counting()
    answers = orders(monkeypatch, capsys, "prefill 7\ndecode 3\nmemory\n", player)
    assert player.orders == [("prefill", 7), ("decode", 3)]
    assert [list(answer) for answer in answers] == [["s"], ["s"], ["s"], ["bytes"]]
    assert answers[3]["bytes"] > 1 << 20


def test_our_player_goes_on_from_the_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    player = players.Ours(write_bundle("tiny", tmp_path / "tiny"), 1)
    assert len(orders(monkeypatch, capsys, "prefill 12\ndecode 2\n", player)) == 3
    assert player._at == 14


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what transformers imports
def test_transformers_player_plays_the_same_shape(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    player = players.Transformers("tiny", 1)
    assert len(orders(monkeypatch, capsys, "prefill 5\ndecode 2\n", player)) == 3
    past: Any = player._past
    assert past.get_seq_length() == 7


def test_ratios_are_taken_round_by_round() -> None:
    seen = {
        # The machine was twice as fast in the second round, for both.
        "ours": {"decode": [10.0, 20.0, 11.0], "prefill": [100.0, 200.0, 110.0]},
        "llama.cpp": {"decode": [8.0, 16.0, 11.0], "prefill": [50.0, 100.0, 55.0]},
    }
    found = bench.summarize(
        seen, [10e9, 20e9, 10e9], 500_000_000, {"ours": 1, "llama.cpp": 2}, {"ours": 3, "llama.cpp": 4}
    )
    assert found["players"]["llama.cpp"]["decode_ratio"] == 1.25
    assert found["players"]["llama.cpp"]["prefill_ratio"] == 2.0
    assert found["players"]["ours"]["decode"] == 11.0
    assert found["players"]["ours"]["first_token_s"] == pytest.approx(bench.PROMPT / 110)
    assert found["share_of_bandwidth"] == 0.5
    told = bench.table("8B", found, 2)
    assert "1.25x" in told
    assert "50% of the memory's read bandwidth" in told


def test_a_player_that_ends_ends_the_bench() -> None:
    with pytest.raises(SystemExit, match="ended before its time"):
        players.Playing(sys.executable, "no such kind", "nothing", threads=1)
