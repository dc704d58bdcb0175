"""What arm64's kernels are worth: the counting plugin, what its counts mean, and what is told."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.kleidiai import __main__ as kleidiai
from bench.kleidiai.__main__ import ROWS as PROMPT
from bench.kleidiai.__main__ import BenchError, Counted, compare, read_counts, table, whole


def test_a_models_count_follows_from_one_layer_and_two() -> None:
    one, two = Counted(100, 200, 1000), Counted(130, 260, 1300)
    assert whole(one, two, 16) == Counted(100 + 15 * 30, 200 + 15 * 60, 1000 + 15 * 300)


def test_counts_are_a_token_a_draft_and_a_prompt() -> None:
    assert read_counts("123\n456\n7890\n") == Counted(123, 456, 7890)


@pytest.mark.parametrize("text", ["", "12\n", "1\n2\n", "1\n2\n3\n4\n", "12\nmany\n3\n"])
def test_other_counts_are_refused(text: str) -> None:
    with pytest.raises(BenchError, match="no three counts"):
        read_counts(text)


ROWS = {
    "KleidiAI": {"token": 3e8, "draft": 12e8, "prompt_token": 2e8},
    "fallback": {"token": 3e10, "draft": 12e10, "prompt_token": 1e10},
}


def test_two_ways_are_compared_where_both_were_measured() -> None:
    assert compare(ROWS, {"token": "a token"}) == ["  KleidiAI against fallback: a token 0.01x"]
    ours = {**ROWS, "ours": {"token": 1.5e8}}
    assert compare(ours, {"token": "a token"})[0] == "  ours against KleidiAI: a token 0.5x"
    assert compare({"KleidiAI": {"token": 1.0}}, {"token": "a token"}) == []


def test_tables_name_what_was_measured() -> None:
    told = table({"1B": ROWS}, counted=True)
    assert "30,000 million" in told
    assert "a token 0.01x, a token and a draft 0.01x, a prompt token 0.02x" in told
    timed = {
        "KleidiAI": {"tokens_per_s": 20.0, "first_token_s": 2.0},
        "fallback": {"tokens_per_s": 0.5, "first_token_s": 90.0},
    }
    assert "speed 40x, time to the first token 0.0222x" in table({"1B": timed}, counted=False)


def test_the_command_counts_writes_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        asked.append(command)
        layers = int(command[-3])
        cost = 10 if "KleidiAI" in command else 1000
        prompt = PROMPT[command[command.index("1B") + 1]]
        Path(command[2]).write_text(f"{cost * (5 + layers)}\n{3 * cost * layers}\n{prompt * cost * layers}\n")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr("bench.kleidiai.__main__.platform.machine", lambda: "x86_64")
    monkeypatch.setattr("bench.kleidiai.__main__.subprocess.run", run)
    assert kleidiai.main(["--shapes", "1B", "--ways", "KleidiAI", "fallback", "--out", str(tmp_path)]) == 0
    assert len(asked) == 4
    said = capsys.readouterr().out
    assert "a token 0.01x, a token and a draft 0.01x, a prompt token 0.01x" in said
    assert (tmp_path / "kleidiai-instructions.json").exists()
    assert (tmp_path / "kleidiai-instructions-token.svg").exists()


def test_where_nothing_can_be_emulated_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.kleidiai.__main__.platform.machine", lambda: "x86_64")
    monkeypatch.setattr("bench.kleidiai.__main__.subprocess.run", lambda *_, **__: SimpleNamespace(returncode=1))
    assert kleidiai.main(["--out", str(tmp_path)]) == 1
    assert "could not be counted" in capsys.readouterr().err


def test_on_arm64_the_ways_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[tuple[str, str]] = []

    class Playing:
        def __init__(self, python: str, *arguments: str, threads: int, module: str) -> None:
            assert module == "bench.kleidiai.player"
            self.way = arguments[-1]

        def ask(self, order: str) -> dict[str, float]:
            turns.append((self.way, order.split()[0]))
            return {"s": 1.0 if self.way == "KleidiAI" else 50.0}

        def end(self) -> None:
            turns.append((self.way, "end"))

    monkeypatch.setattr("bench.kleidiai.__main__.platform.machine", lambda: "aarch64")
    monkeypatch.setattr("bench.kleidiai.__main__.platform.system", lambda: "Linux")
    monkeypatch.setattr(kleidiai, "Playing", Playing)
    arguments = ["--ways", "KleidiAI", "fallback", "--rounds", "1", "--threads", "2", "--out", str(tmp_path)]
    assert kleidiai.main(arguments) == 0
    assert turns[:4] == [(way, what) for way in ("KleidiAI", "fallback") for what in ("prefill", "decode")]
    assert turns[-2:] == [("KleidiAI", "end"), ("fallback", "end")]
    assert (tmp_path / "kleidiai-times-tokens_per_s.svg").exists()


def test_the_plugin_compiles(tmp_path: Path) -> None:
    source = Path(kleidiai.__file__).with_name("count_instructions.c")
    strict = ["-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-DINTERFACE=1"]
    subprocess.run(["cc", *strict, "-o", str(tmp_path / "count.so"), str(source)], check=True)
