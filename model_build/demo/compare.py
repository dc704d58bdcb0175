"""The comparison: models of different sizes, each with its best rate, on as many tokens and for as long.

First each size is trained a little at several rates, twice as high ones as long as the highest is the best. At the best
one it is trained on the same number of tokens as the others, and once more for as long as the slowest of them took.
Every run resumes. Knows how runs are made and named; `evaluation` measures what comes of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model_build.demo.corpus import Encoder, read_shard
from model_build.demo.recipe import Recipe
from model_build.demo.training import held_out, read_log, train

#: What differs between the candidates.
SIZES: dict[str, dict[str, int]] = {
    "3.5M": {"width": 256, "layers": 5, "heads": 4, "kv_heads": 2, "hidden": 512},
    "8.3M": {"width": 384, "layers": 5, "heads": 6, "kv_heads": 2, "hidden": 960},
}
#: The rates tried first, as shares of the recipe's, and the highest that may be tried after them.
RATES = (0.5, 1.0, 2.0)
HIGHEST = 16.0
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


def tune(recipe: Recipe, encoder: Encoder, corpus: Path, work: Path, size: str) -> dict[float, float]:
    """The mean loss of the last steps at each rate; the highest rate is not the best one, unless it is `HIGHEST`."""
    losses: dict[float, float] = {}
    rates = list(RATES)
    while rates:
        rate = rates.pop(0)
        folder = work / f"{size}-tune-{rate}"
        train(candidate(recipe, size, rate, TUNING_STEPS, 0), encoder, corpus, folder)
        last = [entry["loss"] for entry in read_log(folder / "log.jsonl")][-15:]
        losses[rate] = round(sum(last) / len(last), 4)
        if not rates and rate < HIGHEST and min(losses, key=losses.__getitem__) == rate:
            rates.append(2 * rate)
    return losses


def compare(recipe: Recipe, encoder: Encoder, corpus: Path, work: Path) -> dict[str, Any]:
    """The rates tried for each size, and tokens, seconds and held-out loss of the runs at its best.

    `as_many` are the runs on equal tokens, `as_long` those for the time that the slowest of these took (for the slowest
    itself that is the same run). Writes `comparison.json` to `work` after every run.
    """
    walks = read_shard(corpus, recipe.shards - 1)[:HELD_OUT_WALKS]
    found: dict[str, Any] = {}

    def run(size: str, key: str, name: str, steps: int) -> None:
        chosen = candidate(recipe, size, found[size]["rate"], steps, steps // 2)
        training = train(chosen, encoder, corpus, work / name)
        found[size]["parameters"] = sum(weight.numel() for weight in training.model.parameters())
        found[size][key] = {
            "steps": steps,
            "tokens": training.tokens,
            "seconds": sum_seconds(list(read_log(work / name / "log.jsonl"))),
            "held_out_loss": round(held_out(training.model.eval(), encoder, walks), 4),
        }
        (work / "comparison.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")

    for size in SIZES:
        losses = tune(recipe, encoder, corpus, work, size)
        tuning = {"steps": TUNING_STEPS, "loss": {str(rate): loss for rate, loss in losses.items()}}
        found[size] = {"tuning": tuning, "rate": min(losses, key=losses.__getitem__)}
        run(size, "as_many", size, STEPS)
    slowest = max(SIZES, key=lambda size: float(found[size]["as_many"]["seconds"]))
    found[slowest]["as_long"] = found[slowest]["as_many"]
    for size in SIZES:
        if size != slowest:
            share = found[slowest]["as_many"]["seconds"] / found[size]["as_many"]["seconds"]
            steps = round(STEPS * share)
            run(size, "as_long", f"{size}-{steps}", steps)
    return found


def sum_seconds(entries: list[dict[str, Any]]) -> float:
    """The time the steps took, over all sittings (a sitting's clock begins at nothing)."""
    total = last = 0.0
    for entry in entries:
        total += entry["seconds"] - last if entry["seconds"] >= last else entry["seconds"]
        last = entry["seconds"]
    return round(total, 1)
