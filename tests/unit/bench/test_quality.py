"""What INT4 costs: how texts are cut, what is counted, and the intervals."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from gguf import GGMLQuantizationType as Type

from bench import quality, results
from bench.quality import Passage, Seen, compare, cut, interval, summarize
from model_build import resolve
from model_build.packing.pack import pack
from model_build.sources import open_source
from storyteller.engine import load_engine
from tests.tiny_gguf import write_gguf
from tests.tiny_llama import write_tiny_llama


def test_a_text_is_cut_into_passages_and_no_single_tokens() -> None:
    assert [passage.ids for passage in cut(range(7), 3, 9)] == [[0, 1, 2], [3, 4, 5]]
    assert len(cut(range(100), 10, 4)) == 4
    assert cut(range(10), 5, 1) == [Passage([0, 1, 2, 3, 4], [True] * 5)]


def test_perplexity_and_agreement_are_over_all_tokens() -> None:
    # Ten tokens of two nats and thirty of one: not the mean of the two passages' perplexities.
    found = summarize([Seen(10, 20.0, 22.0, 9), Seen(30, 30.0, 32.0, 27), Seen(0, 0.0, 0.0, 0)])
    assert found["perplexity"][0] == pytest.approx(math.exp(54 / 40))
    assert found["perplexity"][1] < found["perplexity"][0] < found["perplexity"][2]
    assert found["rise"][0] == pytest.approx(math.exp(4 / 40) - 1)
    assert found["agreement"] == [0.9, 0.9, 0.9]


def test_the_interval_holds_the_figure_and_narrows_with_more_passages() -> None:
    few = [Seen(10, 10.0, 11.0, agreed) for agreed in (8, 9, 10)]
    low, high = interval(few, lambda sums: float(sums[3] / sums[0]))
    assert low < 0.9 < high
    narrower = interval(few * 20, lambda sums: float(sums[3] / sums[0]))
    assert narrower[1] - narrower[0] < (high - low) / 2


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="no token to be compared"):
        summarize([Seen(0, 0.0, 0.0, 0)])


def test_only_what_counts_is_compared(tmp_path: Path) -> None:
    engine = load_engine(write_tiny_llama(tmp_path), threads=1)
    ids = engine.encode("the gate")
    scores = engine.score(ids, 1)
    whole = compare(Passage(ids, [True] * len(ids)), scores, scores)
    assert whole.tokens == whole.agreed == len(ids) - 1
    assert whole.exact == whole.packed
    part = compare(Passage(ids, [False] * (len(ids) - 2) + [True] * 2), scores, scores)
    assert part.tokens == 2
    assert part.exact == pytest.approx(-scores[-1].logprob - scores[-2].logprob)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "FOLDER", tmp_path / "out")
    monkeypatch.setattr(resolve, "MODELS", tmp_path / "models")
    (tmp_path / "text.txt").write_text("Behind the gate there is a city of green glass. " * 12)
    return write_tiny_llama(tmp_path / "model", heads=2, kv_heads=1, words=["gate"])


def figures(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    kept = json.loads((folder.parent / "out" / "quality.json").read_text())
    return {(row["model"], row["quantity"]): row for row in kept["rows"]}


def test_all_kinds_of_models_come_into_one_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    near = folder.parent
    gguf = write_gguf(near / "tiny.Q8_0.gguf", folder, types=[Type.Q8_0])
    bundle = pack(open_source(str(folder)), near / "bundle", calibration="none")
    command = [str(folder), str(gguf), str(bundle), "--forms", "8", f"--text={near / 'text.txt'}", "--length=64",
               "--passages=4", "--threads=1", f"--plot={near / 'plot.svg'}"]  # fmt: skip
    assert quality.main(command) == 0
    table = capsys.readouterr().out.splitlines()
    names = [line.split(" | ")[0].removeprefix("| ") for line in table[2:6]]
    assert names == ["model", "tiny.Q8_0.gguf", "bundle", "ours, 8"]
    assert [line.split(" | ")[1] for line in table[2:6]] == ["16 bits", "Q8_0", "int4x2", "int4x2"]
    found = figures(folder)
    assert found["model", "rise"]["median"] == 0
    assert found["model", "agreement"]["median"] == 1
    for name in names[1:]:
        agreement, rise = found[name, "agreement"], found[name, "rise"]
        assert 0.5 < agreement["low"] <= agreement["median"] <= agreement["high"] <= 1
        assert abs(rise["median"]) < 0.1
        assert found[name, "read_tokens_s"]["median"] > 0
        assert found[name, "weights"] == {
            **found["model", "weights"],
            "model": name,
            "head": found[name, "rise"]["head"],
        }
    assert abs(found["ours, 8", "rise"]["median"]) < abs(found["bundle", "rise"]["median"]) + 1e-3
    assert found["tiny.Q8_0.gguf", "bytes"]["median"] == gguf.stat().st_size
    assert "ours, 8" in (near / "plot.svg").read_text()


def test_a_model_alone_is_packed_and_compared(folder: Path) -> None:
    command = [str(folder), f"--text={folder.parent / 'text.txt'}", "--length=64", "--passages=2", "--threads=1"]
    assert quality.main(command) == 0
    assert {name for name, _ in figures(folder)} == {"model", "ours, 4"}


def test_what_cannot_be_compared_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_tiny_llama(folder.parent / "other")
    text = f"--text={folder.parent / 'text.txt'}"
    assert quality.main([str(folder), str(other), text, "--passages=1", "--threads=1"]) == 1
    assert "other splits the text into other tokens than" in capsys.readouterr().err
    assert quality.main([str(folder), "--text", str(folder / "no.txt")]) == 1
    assert "no.txt" in capsys.readouterr().err
