"""How strongly each input of each matrix is used on some text, and which go together: what rounding must spare.

Runs the original model over the text one layer at a time, so that only one layer is in memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody knows it by
from torch import Tensor

from model_build.sources import Source, stack
from storyteller.engine.errors import EngineError
from storyteller.engine.linears import Dense
from storyteller.engine.model import rope_angles
from storyteller.engine.ops import TorchOperations
from storyteller.engine.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from model_build.dialogues import Dialogue
    from prologue.world import World

#: Tokens of one passage, and how many passages of a text are used.
PASSAGE, PASSAGES = 512, 16
#: Dialogues of each file that the default text takes.
_DIALOGUES = 2

_HERE = Path(__file__).resolve().parent


class Inputs(NamedTuple):
    """What a matrix' inputs were like: mean magnitudes [columns]; mean squares [columns], or whole outer products."""

    magnitudes: Tensor
    products: Tensor

    def divided(self, by: Tensor) -> Inputs:
        """The same of inputs that were divided by `by` [columns]."""
        squares = by.square() if self.products.dim() == 1 else torch.outer(by, by)
        return Inputs(self.magnitudes / by, self.products / squares)


class CalibrationError(ValueError):
    """Why a text cannot be used, in one sentence."""


def file_passages(path: Path, tokenizer: Tokenizer, length: int = PASSAGE) -> list[list[int]]:
    """The first passages of a text file, as tokens. Raises CalibrationError for one that is no text or too short."""
    try:
        ids = tokenizer.encode(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CalibrationError(f"{path} cannot be read ({error}): give a text file in UTF-8.") from None
    if len(ids) < 32:
        raise CalibrationError(f"{path} has only {len(ids)} tokens: give a text of some pages.")
    length = min(length, len(ids))
    return [ids[at : at + length] for at in range(0, len(ids) - length + 1, length)][:PASSAGES]


def default_passages(tokenizer: Tokenizer, length: int = PASSAGE) -> list[list[int]]:
    """The text that ships with the project: dialogues as the play sends them, and a page each of prose, code and
    four languages.
    """
    from model_build.dialogues import read_dialogues, world_of

    passages: list[list[int]] = []
    for path in sorted((_HERE.parent / "dialogues").glob("*.jsonl")):
        world = world_of(path, _HERE.parents[1] / "prologue" / "worlds")
        dialogues = read_dialogues(path, world)
        for dialogue in dialogues[:: len(dialogues) // _DIALOGUES][:_DIALOGUES]:
            ids = _encode(dialogue, world, tokenizer)
            if not passages:
                passages.append(ids[:length])  # the prompt's beginning, once
            passages.append(ids[-length:])
    return passages + [
        tokenizer.encode(page.read_text(encoding="utf-8"))[:length]
        for page in sorted((_HERE / "calibration").glob("*.txt"))
    ]


def _encode(dialogue: Dialogue, world: World, tokenizer: Tokenizer) -> list[int]:
    from prologue.prompt import compose

    *told, last = dialogue.turns
    messages = compose(world, dialogue.profile, [*told, last._replace(reply="")])
    try:
        return tokenizer.encode_chat(messages) + tokenizer.encode(last.reply, special=False)
    except EngineError:  # no chat template, or one that takes no system prompt
        return tokenizer.encode("\n\n".join([*(message["content"] for message in messages), last.reply]))


class Calibration:
    """The passages' activations, carried from layer to layer; with `grams`, whole outer products are measured."""

    def __init__(self, source: Source, passages: Sequence[Sequence[int]], *, grams: bool = False) -> None:
        config = source.config
        length = max(map(len, passages))
        embedding = source.rows("model.embed_tokens.weight")
        self.tokens = sum(map(len, passages))
        self._source, self._grams = source, grams
        self._states = [embedding[torch.tensor(passage)] for passage in passages]
        one = dataclasses.replace(config, layers=1)
        self._operations = TorchOperations(one, torch.float32, rowwise=False)
        self._cos, self._sin = rope_angles(config.rope, config.head_dim, length)

    @torch.inference_mode()
    def layer(self, number: int) -> dict[str, Inputs]:
        """What the inputs of a layer's four matrices were like; the states move on to the next layer."""
        source, config, ops = self._source, self._source.config, self._operations
        at = f"model.layers.{number}."

        def matrix(block: str, *names: str) -> Dense:
            weights = [source.rows(f"{at}{block}.{name}_proj.weight") for name in names]
            has_bias = config.mlp_bias if block == "mlp" else config.out_bias if names == ("o",) else config.qkv_bias
            biases = [source.rows(f"{at}{block}.{name}_proj.bias") for name in names if has_bias]
            return Dense(stack(weights), stack(biases) if biases else None)

        first, second = source.rows(at + "input_layernorm.weight"), source.rows(at + "post_attention_layernorm.weight")
        qkv, out = matrix("self_attn", "q", "k", "v"), matrix("self_attn", "o")
        gate_up, down = matrix("mlp", "gate", "up"), matrix("mlp", "down")
        cache = ops.new_cache(len(self._cos))  # of one layer
        found: dict[str, Inputs] = {}

        def seen(name: str, x: Tensor) -> Tensor:
            products = x.T @ x if self._grams else x.square().sum(0)
            before = found.get(name, Inputs(torch.zeros(()), torch.zeros(())))
            found[name] = Inputs(before.magnitudes + x.abs().sum(0), before.products + products)
            return x

        for place, state in enumerate(self._states):
            x, count = state, len(state)
            h = seen("qkv", ops.norm(x, first, config.norm_eps))
            h = seen("out", ops.attend(qkv(h), cache, 0, 0, self._cos[:count], self._sin[:count]))
            x = x + out(h)
            h = seen("gate_up", ops.norm(x, second, config.norm_eps))
            self._states[place] = x + down(seen("down", ops.swiglu(gate_up(h))))
        return {name: Inputs(*(sums / self.tokens for sums in both)) for name, both in found.items()}

    def head(self) -> Tensor:
        """Mean squares of the head's inputs, after the last layer."""
        norm = self._source.rows("model.norm.weight")
        dim, eps = self._source.config.dim, self._source.config.norm_eps
        normed = [F.rms_norm(state, (dim,), norm, eps) for state in self._states]
        return sum((x.square().sum(0) for x in normed), torch.zeros(dim)) / self.tokens
