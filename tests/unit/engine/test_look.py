"""Looking a model over: cheap, without torch, and as strict as loading it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from storyteller.engine.__main__ import main
from tests.tiny_llama import write_tiny_llama


def test_a_whole_model_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_tiny_llama(tmp_path / "model", shards=2)
    assert main([str(folder)]) == 0
    assert "a Llama of 0.1 M parameters, checkpoint, context 256" in capsys.readouterr().out


def _no_llama(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "gpt2", "architectures": ["GPT2"]}))


def _wider(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 128}))


def _cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_no_llama, "gpt2"),
        (_wider, "config.json"),
        (_cut, "model.safetensors"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "config.json"),
    ],
)
def test_a_broken_one_is_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: object, words: str
) -> None:
    folder = write_tiny_llama(tmp_path / "model")
    assert callable(damage)
    damage(folder)
    assert main([str(folder)]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1


def test_it_needs_no_torch(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path / "model")
    script = (
        "import sys; from storyteller.engine.__main__ import main;"
        f"assert main([{str(folder)!r}]) == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
