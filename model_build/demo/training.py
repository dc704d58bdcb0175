"""Training: steps over the corpus, a checkpoint now and then, and a log that a plot is drawn from.

The rate warms up, stays flat and cools to nothing. A checkpoint of the flat phase is kept beside that of
the cooling, so a longer run later goes on from there: training outlasts a sitting. A run that resumes does
exactly what it would have done (a step depends on its number and the checkpoint alone).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm

from model_build.demo.city import load_city
from model_build.demo.corpus import Encoder, Row, hash_corpus, read_shard, stack
from model_build.demo.device import BF16
from model_build.demo.llama import Llama, widen
from model_build.demo.muon import Muon
from model_build.demo.recipe import Recipe
from model_build.demo.rounding import on_grid

#: Of the corpus, the last shard is never trained on: perplexity is measured there.
HELD_OUT = 1
#: Beside the checkpoints: which corpus from which step on.
SITTINGS = "sittings.json"

#: Ids, targets and weights, each [rows, tokens].
Batch = tuple[Tensor, Tensor, Tensor]
#: How many rows each of the recipe's is cut into, for the kinds of rows but drills.
PARTS = {"walk": 1, "half": 2, "brisk": 2, "answers": 3, "plans": 3, "lines": 3}


def use_threads(count: int) -> None:
    """Lets torch use `count` threads; 0 leaves its own choice."""
    if count:
        torch.set_num_threads(count)


def rate(recipe: Recipe, step: int) -> float:
    """The share of the full rate at a step: up, flat, down."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    left = (recipe.steps - step) / (recipe.steps - recipe.cool)
    return max(0.02, left) if recipe.is_cooling(step) else 1.0


class Rows:
    """The corpus as batches: the batch of a step is always the same, whichever step came before."""

    def __init__(self, recipe: Recipe, encoder: Encoder, folder: Path) -> None:
        self.recipe, self.encoder, self.folder = recipe, replace(encoder, hint=recipe.hint), folder
        self.city = load_city()
        self.shard = -1
        self.walks: list[dict[str, Any]] = []

    def batch(self, step: int) -> Batch:
        """The rows of a step: `batch` walks of `context` tokens, as many more as they are shorter, or `drill_rows`
        drills."""
        recipe, kind = self.recipe, self.recipe.kind(step)
        parts = PARTS.get(kind, 1)
        short = replace(self.encoder, context=recipe.drill_context if kind == "drill" else recipe.context // parts)
        count = recipe.drill_rows if kind == "drill" else parts * recipe.batch
        rngs = [Random(f"{recipe.seed}/{kind}/{step}/{row}") for row in range(count)]
        if kind in ("walk", "half"):
            return targets([short.encode(walk, rng) for walk, rng in zip(self._walks(step), rngs, strict=False)])
        make = {
            "brisk": short.brisk, "answers": short.answers, "plans": short.plans, "lines": short.lines,
            "drill": short.drill,
        }[kind]  # fmt: skip
        return targets([make(self.city, rng) for rng in rngs])

    def _walks(self, step: int) -> list[dict[str, Any]]:
        """The walks of a step in halves, twice `batch`."""
        recipe = self.recipe
        per_shard = recipe.dialogues // (2 * recipe.batch)
        shard = step // per_shard % max(1, recipe.shards - HELD_OUT)
        if shard != self.shard:
            self.walks, self.shard = read_shard(self.folder, shard), shard
        start = step % per_shard * 2 * recipe.batch
        return self.walks[start : start + 2 * recipe.batch]


def targets(rows: list[Row]) -> Batch:
    """Rows as what the model reads and what it should find."""
    ids, wanted, weights = (torch.from_numpy(part) for part in stack(rows))
    return ids[:, :-1], wanted[:, 1:], weights[:, 1:]


class Training:
    """A model, its optimizers, the step they have come to and the tokens read so far, prompts and padding included."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        torch.manual_seed(recipe.seed)
        self.model = Llama(recipe)
        matrices = [p for n, p in self.model.named_parameters() if p.dim() == 2 and n.startswith("layers.")]
        others = [p for n, p in self.model.named_parameters() if p.dim() == 1 or not n.startswith("layers.")]
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(matrices, recipe.muon_rate),
            torch.optim.AdamW(others, recipe.adam_rate, betas=(0.9, 0.95), weight_decay=0.0),
        ]
        self.step = self.tokens = 0

    def save(self, path: Path) -> None:
        """Writes a checkpoint, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        state = {
            "step": self.step,
            "steps": self.recipe.steps,
            "tokens": self.tokens,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        torch.save(state, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Goes back to a checkpoint. Raises ValueError for one of a model of other sizes."""
        state = torch.load(path, weights_only=True)
        self._fill(state["model"], path)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.tokens = state["step"], state["tokens"]

    def take_up(self, packed: Path, sittings: Path) -> None:
        """Goes on from a packed model, without the optimizers' momenta; what it was trained on goes to `sittings`.

        A model whose MLPs are narrower than the recipe's is widened. Raises ValueError for one of other sizes.
        """
        made = json.loads((packed / "recipe.json").read_text(encoding="utf-8"))
        weights = load_file(str(packed / "model.safetensors"))
        named = {name.removeprefix("model."): weight.float() for name, weight in weights.items()}
        self._fill(widen(named, self.recipe.hidden), packed)
        self.step, self.tokens = made["step"], made["tokens"]
        sittings.parent.mkdir(parents=True, exist_ok=True)
        sittings.write_text(json.dumps(made["sittings"]), encoding="utf-8")

    def _fill(self, weights: dict[str, Tensor], source: Path) -> None:
        try:
            self.model.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(f"{source} is of a model of other sizes than the recipe's: {error}") from None

    def advance(self, loss: nn.Module, rows: Rows) -> tuple[float, float]:
        """One step; returns the loss before it and the gradient's norm."""
        share = rate(self.recipe, self.step)
        for optimizer, full in zip(self.optimizers, (self.recipe.muon_rate, self.recipe.adam_rate), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = full * share
        grid = on_grid(self.model) if self.recipe.is_rounded(self.step) else nullcontext()
        with grid:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bf16 and BF16):
                batch = rows.batch(self.step)
                value = loss(*batch)
            value.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        self.tokens += batch[0].numel()
        return value.item(), norm.item()


class _Loss(nn.Module):
    def __init__(self, model: Llama) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        return self.model.loss(self.model.states(ids), targets, weights)


def train(
    recipe: Recipe, encoder: Encoder, corpus: Path, folder: Path, every: int = 25, start: Path | None = None
) -> Training:
    """Trains to `recipe.steps` from the newest fitting checkpoint in `folder`; returns the training at its end.

    Without a checkpoint it begins anew, or with the weights of the packed model `start` and at its step: that is how
    training goes on where only the repository is left. Raises ValueError for a run that is past its flat part.
    """
    training = Training(recipe)
    cooling, flat = folder / f"cooling-{recipe.steps}.pt", folder / "flat.pt"
    found = [path for path in (cooling, flat) if path.exists()]
    if found:
        training.load(found[0])
    elif start:
        training.take_up(start, folder / SITTINGS)
    cool = recipe.cool
    if training.step > cool and not cooling.exists():
        raise ValueError(
            f"{flat} is at step {training.step}, past the flat part of {recipe.steps} steps: ask for more."
        )
    note_sitting(folder / SITTINGS, training.step, hash_corpus(corpus), recipe)
    rows = Rows(recipe, encoder, corpus)
    loss: nn.Module = _Loss(training.model)
    if recipe.compile:
        loss = torch.compile(loss, dynamic=False)  # type: ignore[assignment]
    log = folder / "log.jsonl"
    _forget_after(log, training.step)
    began = time.monotonic()
    with tqdm(total=recipe.steps, initial=training.step, desc="train", unit="step") as bar:
        while training.step < recipe.steps:
            kind = recipe.kind(training.step)
            value, norm = training.advance(loss, rows)
            if not np.isfinite(value):
                raise ValueError(f"The loss is {value} at step {training.step}: lower the rates in the recipe.")
            entry: dict[str, Any] = {"step": training.step, "kind": kind, "loss": round(value, 4)}
            entry |= {"norm": round(norm, 3), "seconds": round(time.monotonic() - began, 1)}
            _append(log, entry)
            bar.set_postfix(loss=f"{value:.3f}")
            bar.update()
            if training.step % every == 0 or training.step in (cool, recipe.steps):
                training.save(flat if training.step <= cool else cooling)
    return training


def note_sitting(path: Path, step: int, sha256: str, recipe: Recipe) -> list[dict[str, Any]]:
    """Notes from which step on which corpus was trained on in rows of what shape, and returns the notes so far."""
    notes = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    notes = [note for note in notes if note["from_step"] < step] if step else []
    now: dict[str, Any] = {"from_step": step, "sha256": sha256, "batch": recipe.batch, "context": recipe.context}
    now |= {"cycle": list(recipe.cycle), "vocabulary": recipe.vocabulary, "hidden": recipe.hidden}
    now |= {"hint": recipe.hint}
    now |= {"muon_rate": recipe.muon_rate, "adam_rate": recipe.adam_rate, "cool": recipe.cool, "steps": recipe.steps}
    if not notes or {**notes[-1], "from_step": step} != now:
        notes.append(now)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notes), encoding="utf-8")
    return notes


@torch.no_grad()
def held_out(training_model: Llama, encoder: Encoder, walks: list[dict[str, Any]], batch: int = 8) -> float:
    """The mean loss per reply token over some walks, every token weighed alike."""
    total = count = 0.0
    for start in range(0, len(walks), batch):
        ids, wanted, weights = targets([encoder.encode(walk) for walk in walks[start : start + batch]])
        told = (weights > 0).float()
        total += float(training_model.loss(training_model.states(ids), wanted, told)) * float(told.sum())
        count += float(told.sum())
    return total / max(count, 1.0)


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a log."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _append(path: Path, entry: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def _forget_after(path: Path, step: int) -> None:
    if path.exists():
        kept = [json.dumps(entry) for entry in read_log(path) if entry["step"] <= step]
        path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
