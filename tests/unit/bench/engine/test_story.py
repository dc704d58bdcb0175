"""One line of the story told by a small model in every way, and what is told of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.engine import load, story
from bench.engine.random_llama import write_bundle
from storyteller.engine import Completion
from tests.tiny_llama import write_tiny_llama


def done(ttft_s: float, total_s: float, tokens: int = 11, drafted: int = 0, accepted: int = 0) -> Completion:
    return Completion(
        text="", reason="length", tokens=tokens, prompt_tokens=100, reused_tokens=90, ttft_s=ttft_s, total_s=total_s,
        ids=(), logprobs=(), drafted_tokens=drafted, accepted_tokens=accepted,
    )  # fmt: skip


def test_a_row_is_of_medians_and_the_first_token_is_no_part_of_the_speed() -> None:
    found = story.row([done(1.0, 3.0), done(1.0, 6.0), done(9.0, 10.0, drafted=8, accepted=2)])
    assert found["first_token_s"] == 1.0
    assert found["total_s"] == 6.0
    assert found["tokens_per_s"] == 5.0
    assert found["accepted"] / found["drafted"] == 0.25


def test_every_way_of_telling_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("storyteller.engine.loading.usable_cpus", lambda: 1)
    monkeypatch.setattr(story, "ROOT", tmp_path)
    model = write_tiny_llama(tmp_path / "model", heads=2, kv_heads=1, context=4096)
    world = Path(__file__).resolve().parents[4] / "prologue" / "worlds" / "emerald_city"
    assert story.main([str(model), "--world", str(world), "--tokens", "4", "--rounds", "1"]) == 0
    rows = json.loads((tmp_path / "build" / "bench" / "story.json").read_text())
    assert list(rows) == ["16-bit", "INT4", "INT4, drafting", "INT4, shipped prefix", "INT4, next line", "INT4, a walk"]
    assert rows["INT4"]["reused_tokens"] == 0
    assert rows["INT4, a walk"]["reused_tokens"] > 0.8 * rows["INT4, a walk"]["prompt_tokens"]
    # The prompt's fixed beginning is nearly all of it: what a stranger adds are a few lines.
    assert rows["INT4, shipped prefix"]["reused_tokens"] > 0.6 * rows["INT4, shipped prefix"]["prompt_tokens"]
    assert rows["INT4, next line"]["reused_tokens"] >= rows["INT4, shipped prefix"]["prompt_tokens"] - 1
    assert "shipped prefix" in capsys.readouterr().out
    assert (tmp_path / "build" / "bench" / "story-first_token_s.svg").exists()


def test_a_checkpoint_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert story.main([str(tmp_path), "--bundle", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="puts files out of Linux's page cache")
def test_a_cold_load_is_timed_against_reading_and_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, ran = write_bundle("tiny", tmp_path / "tiny"), list[str]()

    def timed(code: str, *arguments: str) -> float:
        ran.append(arguments[-1] if arguments else code)
        return {"import torch": 1.0, "map": 3.0, "copy": 4.0}[ran[-1]]

    monkeypatch.setattr(load, "timed", timed)
    assert load.main([str(bundle), "--rounds", "2"]) == 0
    assert ran == ["import torch", "map", "copy"] * 2


def test_a_load_from_s3s_ranges_is_timed_next_to_the_mapped_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against the real server, in its own process; only the time to the first token is made up."""
    bundle, ran = write_bundle("tiny", tmp_path / "tiny"), list[str]()

    def timed(code: str, *arguments: str) -> float:
        ran.append(arguments[-1])
        return {"map": 2.0, "1": 6.0, "4": 4.0}[ran[-1]]

    monkeypatch.setattr(load, "timed", timed)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "")  # what the bench sets ends with the test
    assert load.main([str(bundle), "--s3", "1", "4", "--rounds", "1"]) == 0
    assert ran == ["map", "1", "4"]
    found = json.loads(capsys.readouterr().out)
    assert (found["ratio_1"], found["ratio_4"]) == (3.0, 2.0)
    assert found["bytes"] == sum(path.stat().st_size for path in bundle.glob("*.safetensors"))
    assert min(found[f"{word}_{count}_gb_per_s"] for word in ("read", "checked") for count in (1, 4)) > 0
