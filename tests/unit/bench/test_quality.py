"""What INT4 costs: how texts are cut, what is counted, and the intervals."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bench import quality
from bench.quality import Passage, Seen, cut, interval, read, summarize
from storyteller.engine import load_engine
from tests.tiny_llama import write_tiny_llama


def test_a_text_is_cut_into_passages_and_no_single_tokens() -> None:
    assert [passage.ids for passage in cut(range(7), 3, 9)] == [[0, 1, 2], [3, 4, 5]]
    assert len(cut(range(100), 10, 4)) == 4
    assert cut(range(10), 5, 1) == [Passage([0, 1, 2, 3, 4], [True] * 5)]


def test_perplexity_and_agreement_are_over_all_tokens() -> None:
    # Ten tokens of two nats and thirty of one: not the mean of the two passages' perplexities.
    found = summarize([Seen(10, 20.0, 22.0, 9), Seen(30, 30.0, 32.0, 27), Seen(0, 0.0, 0.0, 0)])
    assert found["passages"] == 2
    assert found["tokens"] == 40
    assert found["perplexity_16bit"] == pytest.approx(math.exp(50 / 40), abs=1e-5)
    assert found["perplexity_rise"] == pytest.approx(math.exp(4 / 40) - 1, abs=1e-5)
    assert found["top1_agreement"] == 0.9
    assert found["top1_agreement_95"] == [0.9, 0.9]


def test_the_interval_holds_the_figure_and_narrows_with_more_passages() -> None:
    few = [Seen(10, 10.0, 11.0, agreed) for agreed in (8, 9, 10)]
    low, high = interval(few, lambda sums: float(sums[3] / sums[0]))
    assert low < 0.9 < high
    narrower = interval(few * 20, lambda sums: float(sums[3] / sums[0]))
    assert narrower[1] - narrower[0] < (high - low) / 2


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="no token to be compared"):
        summarize([Seen(0, 0.0, 0.0, 0)])


def test_only_what_counts_is_scored(tmp_path: Path) -> None:
    engine = load_engine(write_tiny_llama(tmp_path), threads=1)
    ids = engine.encode("the gate")
    whole = read(engine, engine, Passage(ids, [True] * len(ids)))
    assert whole.tokens == whole.agreed == len(ids) - 1
    assert whole.exact == whole.packed
    part = read(engine, engine, Passage(ids, [False] * (len(ids) - 2) + [True] * 2))
    assert part.tokens == 2
    scores = engine.score(ids)
    assert part.exact == pytest.approx(-scores[-1].logprob - scores[-2].logprob)


def test_the_command_packs_compares_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_tiny_llama(tmp_path / "model", heads=2, kv_heads=1)
    (tmp_path / "text.txt").write_text("Behind the gate there is a city of green glass. " * 12)
    arguments = [str(folder), "--text", str(tmp_path / "text.txt"), "--length", "64", "--out", str(tmp_path)]
    assert quality.main(arguments) == 0
    found = json.loads((tmp_path / "quality.json").read_text())
    assert found["tokens"] > 500
    assert 0 < found["top1_agreement_95"][0] <= found["top1_agreement"] <= found["top1_agreement_95"][1] <= 1
    assert quality.main([str(folder), "--text", str(tmp_path / "no.txt"), "--bundle", str(tmp_path)]) == 1
    assert capsys.readouterr().err
