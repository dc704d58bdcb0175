"""The players of `bench.energy` do the same work."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.energy.__main__ import Stock, measure
from bench.energy.meter import find
from storyteller.engine import Sampling, load_engine
from tests.tiny_llama import write_tiny_llama


@pytest.mark.filterwarnings("default")
def test_transformers_computes_what_its_cache_lacks_as_ours_does(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path / "llama", context=512)
    ours, stock = load_engine(folder, threads=1, chat=False, speculate=False), Stock(folder, 1)
    text = "the road went down to the river"
    assert stock.encode(text) == ours.encode(text)
    head = list(range(40))
    greedy = Sampling(temperature=0.0, max_tokens=6)
    for ids in (head, head, [*head, *range(90, 99)], [*range(20), *range(50, 70)]):
        mine, theirs = ours.generate(ids, greedy), stock.generate(ids, greedy)
        assert (theirs.reused_tokens, theirs.prompt_tokens) == (mine.reused_tokens, mine.prompt_tokens)
        assert len(theirs.ids) == 6


def test_in_full_is_in_full_and_a_prefix_leaves_the_line(tmp_path: Path) -> None:
    words = ["road", "river", *(f"w{number:03d}" for number in range(260))]
    engine = load_engine(
        write_tiny_llama(tmp_path / "llama", context=512, words=words), threads=1, chat=False, speculate=False
    )
    meter = find("cpu")
    for shape in ((60, 4), (60, 4), (90, 4), (60, 4)):
        assert measure(engine, meter, shape, 2).computed >= shape[0] - 1
    assert measure(engine, meter, (90, 4), 2, cached=60).computed == 30
