from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer

from model_build.demo import compare
from model_build.demo.corpus import Encoder, write_corpus
from model_build.demo.llama import Llama
from model_build.demo.recipe import Recipe
from prologue.world import World


def test_the_sizes_compared_are_those_the_readme_speaks_of() -> None:
    sizes = {}
    for size in compare.SIZES:
        with torch.device("meta"):
            model = Llama(compare.candidate(Recipe(), size, 1.0, 10, 0))
        sizes[size] = sum(weight.numel() for weight in model.parameters())
    assert sizes == {"3.5M": 3_508_992, "8.3M": 8_335_488}


@pytest.mark.parametrize(
    ("best", "tried"), [(1.0, [0.5, 1, 2]), (4.0, [0.5, 1, 2, 4, 8]), (99.0, [0.5, 1, 2, 4, 8, 16])]
)
def test_higher_rates_are_tried_while_the_highest_is_the_best(
    best: float, tried: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(muon_rate=1.0)

    def train(run: Recipe, encoder: object, corpus: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "log.jsonl").write_text(json.dumps({"loss": abs(run.muon_rate - best)}) + "\n")

    monkeypatch.setattr(compare, "train", train)
    losses = compare.tune(recipe, SimpleNamespace(), tmp_path, tmp_path, "3.5M")  # type: ignore[arg-type]
    assert losses == {rate: abs(rate - best) for rate in tried}


def test_sizes_are_compared_on_as_many_tokens_and_for_as_long(
    world: World, demo_tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The larger takes two and a half times as long here, so the smaller has as many more steps in the second run."""
    small = {"width": 32, "layers": 1, "heads": 1, "kv_heads": 1, "hidden": 32}
    seconds = iter([2.0, 5.0, 5.1])
    monkeypatch.setattr(compare, "SIZES", {"small": small, "large": {**small, "hidden": 64}})
    monkeypatch.setattr(compare, "sum_seconds", lambda entries: next(seconds))
    for name, few in {"RATES": (1.0,), "HIGHEST": 1.0, "TUNING_STEPS": 1, "STEPS": 2, "HELD_OUT_WALKS": 2}.items():
        monkeypatch.setattr(compare, name, few)
    recipe = Recipe(shards=2, dialogues=16, turns=2, context=660, bf16=False, drill_context=160, drill_rows=4)
    write_corpus(recipe, tmp_path / "corpus")
    encoder = Encoder(world, demo_tokenizer, recipe.context, recipe.copied)
    found = compare.compare(recipe, encoder, tmp_path / "corpus", tmp_path / "work")
    few, many = found["small"], found["large"]
    assert few["parameters"] < many["parameters"]
    assert few["as_many"]["tokens"] == many["as_many"]["tokens"] > 0
    assert (few["as_many"]["steps"], few["as_long"]["steps"]) == (2, 5)
    assert few["as_long"]["tokens"] > few["as_many"]["tokens"]
    assert many["as_long"] == many["as_many"]
    assert few["as_long"]["held_out_loss"] != few["as_many"]["held_out_loss"]
    assert json.loads((tmp_path / "work" / "comparison.json").read_text()) == found
