"""The comparison: models of different sizes, each with its best rate, on the same number of tokens.

First each size is trained a little at several rates; the best one trains it to the end. Every run resumes.
Knows how runs are made and named; `evaluation` measures what comes of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from model_build.demo.corpus import Encoder, read_shard
from model_build.demo.recipe import Recipe
from model_build.demo.training import held_out, read_log, train

#: What differs between the candidates.
SIZES: dict[str, dict[str, int]] = {
    "3.5M": {"width": 256, "layers": 5, "heads": 4, "kv_heads": 2, "hidden": 512},
    "8.3M": {"width": 384, "layers": 5, "heads": 6, "kv_heads": 2, "hidden": 960},
}
#: The rates tried, as shares of the recipe's.
RATES = (0.5, 1.0, 2.0)
TUNING_STEPS = 40
STEPS = 120
#: Rows in a step: half of the recipe's, for twice the steps out of as many tokens.
BATCH = 2
HELD_OUT_WALKS = 64


def candidate(recipe: Recipe, size: str, rate: float, steps: int, drill: int) -> Recipe:
    """The recipe of one run."""
    rates = {"muon_rate": recipe.muon_rate * rate, "adam_rate": recipe.adam_rate * rate}
    drills = recipe.drill_rows * BATCH // recipe.batch
    few = {"batch": BATCH, "drill_rows": drills, "drill": drill}
    return recipe.but(**SIZES[size], **rates, **few, steps=steps, cooling=0.3)


def tune(recipe: Recipe, encoder: Encoder, corpus: Path, work: Path, size: str) -> dict[str, float]:
    """The mean loss of the last steps at each rate."""
    losses = {}
    for rate in RATES:
        folder = work / f"{size}-tune-{rate}"
        train(candidate(recipe, size, rate, TUNING_STEPS, 0), encoder, corpus, folder)
        last = [entry["loss"] for entry in read_log(folder / "log.jsonl")][-15:]
        losses[str(rate)] = round(sum(last) / len(last), 4)
    return losses


def compare(recipe: Recipe, encoder: Encoder, corpus: Path, work: Path) -> dict[str, Any]:
    """Trains every size to the end at its best rate; the rates tried, the tokens, and the held-out loss of each."""
    found: dict[str, Any] = {}
    walks = read_shard(corpus, recipe.shards - 1)[:HELD_OUT_WALKS]
    for size in SIZES:
        losses = tune(recipe, encoder, corpus, work, size)
        best = min(losses, key=lambda rate: losses[rate])
        chosen = candidate(recipe, size, float(best), STEPS, STEPS // 2)
        training = train(chosen, encoder, corpus, work / size)
        seconds = sum_seconds(list(read_log(work / size / "log.jsonl")))
        found[size] = {
            "parameters": sum(weight.numel() for weight in training.model.parameters()),
            "tuning": {"steps": TUNING_STEPS, "loss": losses},
            "rate": float(best),
            "tokens": training.tokens,
            "train_seconds": seconds,
            "held_out_loss": round(held_out(training.model.eval(), encoder, walks), 4),
        }
        work.mkdir(parents=True, exist_ok=True)
        (work / "comparison.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        torch.save(training.model.state_dict(), work / f"{size}.pt")
    return found


def sum_seconds(entries: list[dict[str, Any]]) -> float:
    """The time the steps took, over all sittings (a sitting's clock begins at nothing)."""
    total = last = 0.0
    for entry in entries:
        total += entry["seconds"] - last if entry["seconds"] >= last else entry["seconds"]
        last = entry["seconds"]
    return round(total, 1)
