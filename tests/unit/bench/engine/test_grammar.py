"""The bench of a form's cost, on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.engine import grammar
from tests.tiny_llama import write_tiny_llama


def test_a_form_is_measured_beside_free_replies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_tiny_llama(tmp_path / "model", context=4096)
    monkeypatch.setattr(grammar, "ROOT", tmp_path)
    world = Path("prologue/worlds/quiet_shore")
    assert grammar.main([str(model), "--world", str(world), "--rounds", "3", "--tokens", "30"]) == 0
    found = json.loads((tmp_path / "build/bench/grammar.json").read_text())
    assert found["ratio_low"] <= found["ratio"] <= found["ratio_high"]
    assert found["refused"] > 0, "a random model breaks the form all the time"
    assert "Held takes" in capsys.readouterr().out


def test_a_missing_model_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert grammar.main([str(tmp_path / "none")]) == 1
    assert "does not exist" in capsys.readouterr().err
