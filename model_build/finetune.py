"""Fine-tunes a voice: a LoRA adapter for a Llama, learned from written dialogues.

    python -m model_build finetune --model M --dialogues FILES --out ADAPTER

The adapter is PEFT's: `pack --adapter` merges it, and any tool that knows PEFT loads it. Needs `peft` and
`transformers` (the dependency group "finetune"). A run that is broken off goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.dialogues import DialogueError, Row, encode, read_dialogues, world_of
from model_build.resolve import model_folder

if TYPE_CHECKING:
    from torch import Tensor

_STATE = "training.pt"
_LOG = "training.jsonl"
_ADAPTER = "adapter_model.safetensors"
_LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_WARM_UP = 0.03
_SAVE_S = 240.0


@dataclass(frozen=True)
class Recipe:
    """What decides the result of a run, beside the model and the dialogues.

    `layers` is how many of the last layers get an adapter; those before are computed once a dialogue.
    """

    passes: float = 3.0
    rank: int = 16
    alpha: int = 32
    layers: int = 20
    learning_rate: float = 1e-3
    batch: int = 4
    held_out: float = 0.03
    seed: int = 1


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `finetune` to the commands of `python -m model_build`."""
    standard = Recipe()
    parser = commands.add_parser("finetune", help="learn a LoRA adapter from written dialogues")
    parser.add_argument("--model", required=True, help="a checkpoint folder, a GGUF file, a hub id or `smollm2`")
    parser.add_argument("--dialogues", type=Path, nargs="+", required=True, help="files named <world>[.<part>].jsonl")
    parser.add_argument("--world", type=Path, help="the world of all the files (default: the one each is named after)")
    parser.add_argument("--out", type=Path, required=True, help="the adapter's folder")
    parser.add_argument("--begin", type=Path, metavar="ADAPTER", help="go on from this adapter of the same shape")
    parser.add_argument("--passes", type=float, default=standard.passes, help="how often each dialogue is read")
    parser.add_argument("--rank", type=int, default=standard.rank)
    parser.add_argument("--alpha", type=int, default=standard.alpha)
    parser.add_argument("--layers", type=int, default=standard.layers, help="how many of the last layers are adapted")
    parser.add_argument("--learning-rate", type=float, default=standard.learning_rate)
    parser.add_argument("--batch", type=int, default=standard.batch, help="dialogues a step")
    parser.add_argument("--held-out", type=float, default=standard.held_out, help="share kept to measure the loss on")
    parser.add_argument("--seed", type=int, default=standard.seed)
    parser.add_argument("--threads", type=int, default=0, help="give 1 where the cores are shared with other work")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """The command `finetune`."""
    from model_build.plots import write_loss

    recipe = Recipe(**{name: getattr(options, name) for name in asdict(Recipe())})
    log = finetune(
        options.model,
        options.dialogues,
        options.out,
        recipe,
        world=options.world,
        begin=options.begin,
        threads=options.threads,
    )
    write_loss(options.out / "loss.svg", log)
    print(f"{options.out} holds the adapter. Try: python -m model_build pack {options.model} --adapter {options.out}")


def finetune(
    model: str,
    files: Sequence[Path],
    out: Path,
    recipe: Recipe,
    *,
    world: Path | None = None,
    begin: Path | None = None,
    threads: int = 0,
    show: bool = True,
) -> list[dict[str, Any]]:
    """Learns the adapter, writes it to `out` and returns the log: a dict a step with its loss.

    Raises DialogueError or EngineError, one sentence, when the input is not as it must be.
    """
    import torch
    from tqdm import tqdm

    if threads:
        torch.set_num_threads(threads)
    folder = model_folder(model)
    rows = read_rows(folder, files, world)
    learned, held_out = split(rows, recipe)
    trainer = Trainer(folder, recipe)
    if begin:
        trainer.begin_from(begin)
    steps = max(1, round(len(learned) * recipe.passes / recipe.batch))
    data = hashlib.sha256(json.dumps([row.ids for row in rows]).encode()).hexdigest()
    settings = {**asdict(recipe), "model": str(model), "begin": str(begin or ""), "data": data}
    out.mkdir(parents=True, exist_ok=True)
    log = trainer.resume(out, settings)
    if log and show:
        print(f"Going on after step {len(log)}.")
    saved = time.monotonic()
    with tqdm(total=steps, initial=len(log), desc="learning", unit="step", disable=not show) as bar:
        for step, batch in enumerate(batches(len(learned), recipe, steps)):
            if step < len(log):
                continue
            loss = trainer.step([(place, learned[place]) for place in batch], _rate(step, steps, recipe))
            log.append({"step": step + 1, "loss": round(loss, 4)})
            if held_out and (step + 1 == steps or (step + 1) % max(1, len(learned) // recipe.batch) == 0):
                log[-1]["held_out"] = round(trainer.evaluate(held_out), 4)
            if time.monotonic() - saved > _SAVE_S or step + 1 == steps:
                trainer.save(out, settings, log)
                saved = time.monotonic()
            bar.set_postfix(
                loss=f"{loss:.3f}", held_out=next((e["held_out"] for e in log[::-1] if "held_out" in e), "-")
            )
            bar.update()
    (out / _STATE).unlink(missing_ok=True)
    return log


def read_rows(folder: Path, files: Sequence[Path], world: Path | None) -> list[Row]:
    """Every dialogue of the files as a row for this model's tokenizer and chat template."""
    from prologue.world import load_world
    from storyteller.engine.files.config import read_config
    from storyteller.engine.loading import load_tokenizer

    config = read_config(folder)
    tokenizer = load_tokenizer(folder, config, chat=True)
    end = tokenizer.eos_id()
    if end is None:
        raise DialogueError(f"{folder} names no eos_token in tokenizer_config.json: a reply could never end.")
    rows = []
    for path in files:
        own = load_world(world) if world else world_of(path)
        rows += [encode(dialogue, own, tokenizer, end) for dialogue in read_dialogues(path, own)]
    return rows


def split(rows: list[Row], recipe: Recipe) -> tuple[list[Row], list[Row]]:
    """The rows to learn from, and those held out to measure the loss on."""
    order = list(range(len(rows)))
    random.Random(recipe.seed).shuffle(order)
    kept = round(len(rows) * recipe.held_out)
    return [rows[place] for place in sorted(order[kept:])], [rows[place] for place in order[:kept]]


def batches(rows: int, recipe: Recipe, steps: int) -> Iterator[list[int]]:
    """The places of the rows of each step; every pass has another order."""
    order: list[int] = []
    passes = 0
    for _ in range(steps):
        while len(order) < recipe.batch:
            fresh = list(range(rows))
            random.Random(f"{recipe.seed} {passes}").shuffle(fresh)
            order += fresh
            passes += 1
        yield order[: recipe.batch]
        del order[: recipe.batch]


class Trainer:
    """The model with its adapter, the optimizer, and what the frozen layers gave for each row."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import LlamaForCausalLM

        torch.manual_seed(recipe.seed)
        llama = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
        count = llama.config.num_hidden_layers
        self._first = max(0, count - recipe.layers)
        config = LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            target_modules=_LINEARS,
            layers_to_transform=list(range(self._first, count)),
            task_type="CAUSAL_LM",
        )
        with warnings.catch_warnings():  # PEFT uses what transformers has renamed
            warnings.simplefilter("ignore", FutureWarning)
            self._adapted = get_peft_model(llama, config)
        self._llama = llama
        self._weights = [weight for weight in self._adapted.parameters() if weight.requires_grad]
        self._optimizer = torch.optim.AdamW(self._weights, lr=recipe.learning_rate, weight_decay=0.0)
        self._frozen: dict[int, Tensor] = {}

    def begin_from(self, adapter: Path) -> None:
        """Takes the weights of an adapter of the same shape. Raises DialogueError where it has another."""
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        try:
            weights = load_file(adapter / _ADAPTER)
        except (OSError, ValueError) as error:
            raise DialogueError(f"{adapter} holds no adapter that can be read ({error}).") from None
        problem = f"{adapter} has other layers or another rank: give its --layers and --rank, or leave out --begin."
        try:
            result: Any = set_peft_model_state_dict(self._adapted, {name: one.float() for name, one in weights.items()})
        except RuntimeError:
            raise DialogueError(problem) from None
        missing = [name for name in result.missing_keys if "lora_" in name]
        if missing or result.unexpected_keys:
            raise DialogueError(problem)

    def step(self, batch: Sequence[tuple[int, Row]], rate: float) -> float:
        """Learns from the rows, each with its place in the data; the mean loss of a learned token."""
        import torch

        tokens = sum(sum(row.learned) for _, row in batch)
        total = 0.0
        for place, row in batch:
            loss = self._loss(row, place) / tokens
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self._weights, 1.0)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        return total

    def evaluate(self, rows: Sequence[Row]) -> float:
        """The mean loss of a reply's token."""
        import torch

        with torch.no_grad():
            losses = sum(float(self._loss(row)) for row in rows)
        return losses / sum(sum(row.learned) for row in rows)

    def _loss(self, row: Row, place: int | None = None) -> Tensor:
        """The summed loss of a row's learned tokens."""
        import torch

        body = self._llama.model
        ids = torch.tensor([row.ids])
        positions = torch.arange(len(row.ids))[None]
        turned = body.rotary_emb(torch.empty(1), positions)
        frozen = self._frozen.get(-1 if place is None else place)
        if frozen is None:
            with torch.no_grad():
                frozen = body.embed_tokens(ids)
                for layer in body.layers[: self._first]:
                    frozen = layer(frozen, position_embeddings=turned)
            if place is not None:
                self._frozen[place] = frozen
        hidden = frozen
        for layer in body.layers[self._first :]:
            hidden = layer(hidden, position_embeddings=turned)
        learned = torch.tensor(row.learned[1:])
        logits = self._llama.lm_head(body.norm(hidden[0, :-1][learned]))
        return torch.nn.functional.cross_entropy(logits, ids[0, 1:][learned], reduction="sum")

    def save(self, out: Path, settings: dict[str, Any], log: list[dict[str, Any]]) -> None:
        """Writes the adapter in 16 bits, and what it takes to go on."""
        import torch
        from safetensors.torch import load_file, save_file

        self._adapted.peft_config["default"].base_model_name_or_path = settings["model"]
        self._adapted.save_pretrained(str(out))
        (out / "README.md").unlink(missing_ok=True)  # PEFT's empty card
        path = out / _ADAPTER
        save_file({name: tensor.half() for name, tensor in load_file(path).items()}, path)
        # The log is in it, too: what goes on is always of one moment.
        state = {"settings": settings, "optimizer": self._optimizer.state_dict(), "weights": self._weights, "log": log}
        torch.save(state, out / f"{_STATE}.new")
        (out / f"{_STATE}.new").replace(out / _STATE)
        (out / _LOG).write_text("".join(json.dumps(entry) + "\n" for entry in log), encoding="utf-8")

    def resume(self, out: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
        """Takes up a run that was broken off; its log so far. Empty where there is none with these settings."""
        import torch

        if not (out / _STATE).exists():
            if (out / _ADAPTER).exists():
                raise DialogueError(f"{out} holds a finished adapter: give another --out, or remove it.")
            return []
        state = torch.load(out / _STATE, weights_only=True)
        if state["settings"] != settings:
            raise DialogueError(
                f"{out} holds a run with other settings: give the same ones to go on with it, or another --out."
            )
        with torch.no_grad():
            for weight, kept in zip(self._weights, state["weights"], strict=True):
                weight.copy_(kept)
        self._optimizer.load_state_dict(state["optimizer"])
        log: list[dict[str, Any]] = state["log"]
        return log


def _rate(step: int, steps: int, recipe: Recipe) -> float:
    """Rises for the first 3% of the steps, then falls to nearly nothing along a cosine."""
    warm = max(1, round(steps * _WARM_UP))
    if step < warm:
        return recipe.learning_rate * (step + 1) / warm
    return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))))
