"""Fine-tuning on a tiny random Llama: it learns, it is the same every time, and it goes on where it was."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model_build import finetune as command
from model_build.__main__ import main
from model_build.dialogues import DialogueError
from model_build.finetune import Recipe, batches, finetune, split
from tests.tiny_llama import write_tiny_llama

# Looked for, not imported: it takes seconds, and every one of pytest-xdist's workers collects this file.
pytestmark = pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed")
RECIPE = Recipe(passes=12, batch=2, layers=1, rank=4, alpha=8, learning_rate=1e-2, held_out=0.25, seed=3)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "model", layers=2)


@pytest.fixture
def dialogues(tmp_path: Path) -> list[Path]:
    path = tmp_path / "quiet_shore.jsonl"
    turns = [["", "The sea is here.\n\n> Look.\n> Listen."], ["look", "A wave comes.\n\n> Breathe.\n> Wait."]]
    path.write_text("".join(json.dumps({"profile": {"name": name}, "turns": turns}) + "\n" for name in "ABCDEFGH"))
    return [path]


def test_the_loss_falls_and_peft_can_read_the_adapter(model: Path, dialogues: list[Path], tmp_path: Path) -> None:
    log = finetune(str(model), dialogues, tmp_path / "adapter", RECIPE, threads=1, show=False)
    assert len(log) == 36
    assert log[-1]["loss"] < 0.7 * log[0]["loss"]
    held_out = [entry["held_out"] for entry in log if "held_out" in entry]
    assert held_out[-1] < held_out[0]
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["layers_to_transform"], config["peft_type"]) == (4, [1], "LORA")
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert len(weights) == 14
    assert not (tmp_path / "adapter" / "training.pt").exists()
    with pytest.raises(DialogueError, match="holds a finished adapter"):
        finetune(str(model), dialogues, tmp_path / "adapter", RECIPE, threads=1, show=False)


def test_without_peft_the_command_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'peft'", name="peft")

    monkeypatch.setattr(command, "finetune", fail)
    assert main(["finetune", "--model", "m", "--dialogues", "d", "--out", "o"]) == 1
    assert capsys.readouterr().err == "This Python has no peft: run `make setup`, then the same command again.\n"


def test_a_run_that_is_broken_off_ends_like_one_that_is_not(
    model: Path, dialogues: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = finetune(str(model), dialogues, tmp_path / "whole", RECIPE, threads=1, show=False)
    monkeypatch.setattr(command, "_SAVE_S", 0.0)
    step = command.Trainer.step
    done = 0

    def fail(*arguments: Any) -> float:
        nonlocal done
        done += 1
        if done == 6:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(command.Trainer, "step", fail)
    with pytest.raises(KeyboardInterrupt):
        finetune(str(model), dialogues, tmp_path / "broken", RECIPE, threads=1, show=False)
    (tmp_path / "broken" / "training.jsonl").write_text("cut")  # it is there to be read, not to go on from
    with pytest.raises(DialogueError, match="a run with other settings"):
        finetune(str(model), dialogues, tmp_path / "broken", replace(RECIPE, rank=2), threads=1, show=False)
    assert finetune(str(model), dialogues, tmp_path / "broken", RECIPE, threads=1, show=False) == whole
    theirs, ours = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "broken"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_may_begin_from_an_adapter_of_the_same_shape(model: Path, dialogues: list[Path], tmp_path: Path) -> None:
    first = finetune(str(model), dialogues, tmp_path / "first", RECIPE, threads=1, show=False)
    more = replace(RECIPE, passes=1, learning_rate=1e-6)
    begin = tmp_path / "first"
    second = finetune(str(model), dialogues, tmp_path / "second", more, begin=begin, threads=1, show=False)
    assert second[-1]["held_out"] == pytest.approx(first[-1]["held_out"], abs=0.02)
    for other in (replace(more, rank=2), replace(more, layers=2)):
        with pytest.raises(DialogueError, match="other layers or another rank"):
            finetune(str(model), dialogues, tmp_path / "other", other, begin=begin, threads=1, show=False)


def test_rows_held_out_are_never_learned_from() -> None:
    rows: list[Any] = [object() for _ in range(40)]
    learned, held_out = split(rows, RECIPE)
    assert len(held_out) == 10
    assert {id(row) for row in learned} | {id(row) for row in held_out} == {id(row) for row in rows}
    assert not {id(row) for row in learned} & {id(row) for row in held_out}


def test_each_pass_reads_every_row_once_in_another_order() -> None:
    places = [place for batch in batches(6, replace(RECIPE, batch=3), 4) for place in batch]
    first, second = places[:6], places[6:]
    assert sorted(first) == sorted(second) == list(range(6))
    assert first != second


def test_the_command_writes_the_loss_as_a_picture(model: Path, dialogues: list[Path], tmp_path: Path) -> None:
    from model_build.__main__ import main

    arguments = ["finetune", "--model", str(model), "--dialogues", str(dialogues[0]), "--out", str(tmp_path / "a")]
    assert main([*arguments, "--passes", "1", "--rank", "2", "--layers", "1", "--threads", "1"]) == 0
    assert "<svg" in (tmp_path / "a" / "loss.svg").read_text()


def test_a_file_without_a_world_is_refused_in_a_sentence(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from model_build.__main__ import main

    path = tmp_path / "atlantis.jsonl"
    path.write_text("{}\n")
    assert main(["finetune", "--model", str(model), "--dialogues", str(path), "--out", str(tmp_path / "a")]) == 1
    assert "there is no world" in capsys.readouterr().err
