"""The players of `bench.energy` do the same work."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.energy.__main__ import measure, pairs, precision_of
from bench.energy.engines import LlamaCpp, Transformers
from bench.energy.meter import find
from model_build.packing.pack import pack
from model_build.sources import open_source
from storyteller.engine import EngineError, Sampling, load_engine
from tests.tiny_llama import write_tiny_llama


@pytest.mark.filterwarnings("default")
def test_transformers_computes_what_its_cache_lacks_as_ours_does(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path / "llama", context=512)
    ours, stock = load_engine(folder, threads=1, chat=False, speculate=False), Transformers(folder, 1)
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


class FakeLlama:
    """What `LlamaCpp` uses of llama-cpp-python: `eval` puts tokens behind the first `n_tokens`."""

    def __init__(self, path: str, **_: Any) -> None:
        self.kept: list[int] = []
        self.n_tokens = 0
        self.evaluated: list[list[int]] = []
        self._ctx = SimpleNamespace(get_logits=self.logits)

    def eval(self, ids: list[int]) -> None:
        self.evaluated.append(list(ids))
        self.kept = [*self.kept[: self.n_tokens], *ids]
        self.n_tokens = len(self.kept)

    def n_vocab(self) -> int:
        return 50

    def logits(self) -> Any:
        """The likeliest is the sum of all tokens, modulo the vocabulary."""
        self.held = np.zeros(50, np.float32)
        self.held[sum(self.kept) % 50] = 1
        return np.ctypeslib.as_ctypes(self.held)


def test_llama_cpp_computes_what_its_cache_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", SimpleNamespace(Llama=FakeLlama))
    player = LlamaCpp(Path("model.gguf"), 1)
    first = player.generate([1, 2, 3], Sampling(max_tokens=3))
    assert first.ids == (6, 12, 24)
    second = player.generate([1, 2, 3, 6, 9], Sampling(max_tokens=1))
    assert (second.reused_tokens, second.ids) == (4, (21,))
    assert player._llama.evaluated == [[1, 2, 3], [6], [12], [9]]


def test_without_its_package_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(EngineError, match="install llama-cpp-python"):
        LlamaCpp(Path("model.gguf"), 1)


def test_every_engine_gets_the_models_that_it_reads(tmp_path: Path) -> None:
    folder = str(write_tiny_llama(tmp_path / "llama", width=64, hidden=96, head_dim=32))
    bundles = [pack(open_source(folder, None), tmp_path / f"b{bits}", bits=bits, calibration="none") for bits in (4, 8)]
    places = [folder, *map(str, bundles), "model-Q4_0.gguf"]
    assert [(place, engine) for place, engine in pairs(places, ["ours", "transformers", "llama.cpp"])] == [
        (folder, "ours"),
        (folder, "transformers"),
        (places[1], "ours"),
        (places[2], "ours"),
        (places[3], "llama.cpp"),
    ]
    assert list(pairs(places[3:], ["ours"])) == [(places[3], "ours")]
    assert [precision_of(place, "ours") for place in places[:3]] == ["16", "4", "8"]
    assert precision_of(places[3], "llama.cpp") == "Q4_0"
    assert precision_of("Q8_0.gguf", "llama.cpp") == "Q8_0"
