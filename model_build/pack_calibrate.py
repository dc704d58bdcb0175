"""How strongly each input of each matrix is used on a text: the weights of the rounding's errors.

Runs the original model over the text one layer at a time, so that only one layer is in memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody knows it by
from torch import Tensor

from model_build.pack_source import Source, stack
from storyteller.engine.linears import Dense
from storyteller.engine.model import rope_frequencies
from storyteller.engine.ops import TorchOperations

#: Tokens of one passage, and how many passages of a text are used.
PASSAGE, PASSAGES = 512, 16

Importance = dict[str, Tensor]


class Calibration:
    """The passages' activations, carried from layer to layer."""

    def __init__(self, source: Source, ids: list[int]) -> None:
        config = source.config
        length = min(PASSAGE, len(ids), config.context)
        passages = [ids[at : at + length] for at in range(0, len(ids) - length + 1, length)][:PASSAGES]
        embedding = source.rows("model.embed_tokens.weight")
        self.tokens = sum(map(len, passages))
        self._source = source
        self._states = [embedding[torch.tensor(passage)] for passage in passages]
        one = dataclasses.replace(config, layers=1)
        self._operations = TorchOperations(one, torch.float32, rowwise=False)
        angles = torch.outer(torch.arange(length).float(), rope_frequencies(config.rope, config.head_dim))
        self._cos, self._sin = angles.cos(), angles.sin()

    @torch.inference_mode()
    def layer(self, number: int) -> Importance:
        """Mean squares of the inputs of a layer's four matrices; the states move on to the next layer."""
        source, config, ops = self._source, self._source.config, self._operations
        at = f"model.layers.{number}."

        def matrix(block: str, *names: str) -> Dense:
            weights = [source.rows(f"{at}{block}.{name}_proj.weight") for name in names]
            has_bias = config.attention_bias if block == "self_attn" else config.mlp_bias
            biases = [source.rows(f"{at}{block}.{name}_proj.bias") for name in names if has_bias]
            return Dense(stack(weights), stack(biases) if biases else None)

        first, second = source.rows(at + "input_layernorm.weight"), source.rows(at + "post_attention_layernorm.weight")
        qkv, out = matrix("self_attn", "q", "k", "v"), matrix("self_attn", "o")
        gate_up, down = matrix("mlp", "gate", "up"), matrix("mlp", "down")
        cache = ops.new_cache(len(self._cos))  # of one layer
        squares: Importance = {}

        def seen(name: str, x: Tensor) -> Tensor:
            squares[name] = squares.get(name, torch.zeros(x.shape[1])) + x.square().sum(0)
            return x

        for place, state in enumerate(self._states):
            x = state
            h = seen("qkv", ops.norm(x, first, config.norm_eps))
            h = seen("out", ops.attend(qkv(h), cache, 0, 0, self._cos, self._sin))
            x = x + out(h)
            h = seen("gate_up", ops.norm(x, second, config.norm_eps))
            self._states[place] = x + down(seen("down", ops.swiglu(gate_up(h))))
        return {name: square / self.tokens for name, square in squares.items()}

    def head(self) -> Tensor:
        """Mean squares of the head's inputs, after the last layer."""
        norm = self._source.rows("model.norm.weight")
        width, eps = self._source.config.width, self._source.config.norm_eps
        normed = [F.rms_norm(state, (width,), norm, eps) for state in self._states]
        return sum((x.square().sum(0) for x in normed), torch.zeros(width)) / self.tokens


def each_layer(calibration: Calibration | None, layers: int) -> Iterator[Importance]:
    """Layer by layer the importance of inputs; nothing known without a calibration."""
    for number in range(layers):
        yield calibration.layer(number) if calibration else {}
