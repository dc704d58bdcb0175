"""Llama in PyTorch: the forward pass over whatever matrices, operations and cache it is given.

It works on token ids and positions; sampling and text are others' work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody knows it by
from torch import Tensor

from .files.config import LlamaConfig, Rope
from .linears import Dense, Linear
from .ops import Cache, Operations, TorchOperations

__all__ = ["Cache", "Layer", "Llama", "build_dense", "rope_angles", "rope_frequencies"]


@dataclass(frozen=True)
class Layer:
    """One decoder layer's weights; q, k, v and gate, up are fused by rows."""

    attention_norm: Tensor
    qkv: Linear
    out: Linear
    mlp_norm: Tensor
    gate_up: Linear
    down: Linear


def rope_frequencies(rope: Rope, head_dim: int) -> Tensor:
    """Angle per position for each pair of a head, [head_dim / 2], float32; Llama 3.1's scaling included."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
    frequencies = 1.0 / (rope.theta**exponents)
    if rope.kind == "linear":
        return frequencies / rope.factor
    if rope.kind == "yarn":
        return _yarn(rope, head_dim, frequencies)
    if rope.kind != "llama3":
        return frequencies
    # Long wavelengths are stretched by the factor, short ones kept, those between blended.
    wavelengths = 2 * math.pi / frequencies
    blend = (rope.original_context / wavelengths - rope.low_freq_factor) / (
        rope.high_freq_factor - rope.low_freq_factor
    )
    blend = blend.clamp(0.0, 1.0)
    return (1 - blend) * frequencies / rope.factor + blend * frequencies


def _yarn(rope: Rope, head_dim: int, frequencies: Tensor) -> Tensor:
    """Slow rotations are stretched by the factor, fast ones kept, those between blended (Peng et al., 2023)."""

    def pair(rotations: float) -> float:
        return head_dim * math.log(rope.original_context / (rotations * 2 * math.pi)) / (2 * math.log(rope.theta))

    low = max(math.floor(pair(rope.beta_fast)), 0)
    high = min(math.ceil(pair(rope.beta_slow)), head_dim - 1)
    blend = ((torch.arange(head_dim // 2).float() - low) / max(high - low, 0.001)).clamp(0.0, 1.0)
    return blend * frequencies / rope.factor + (1 - blend) * frequencies


def rope_angles(rope: Rope, head_dim: int, positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the first positions, [positions, head_dim / 2]."""
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), rope_frequencies(rope, head_dim))
    return angles.cos() * rope.attention_factor, angles.sin() * rope.attention_factor


class Llama:
    """The weights and the forward pass. `context` is how many positions its caches have.

    `batch_invariant` says that a token's logits are the same bits however the text before it was computed:
    in one pass, in parts, or one by one. `cheap_batches` says that a few tokens at once cost little more
    than one, so that drafting ahead can pay.
    """

    def __init__(
        self,
        config: LlamaConfig,
        embed: Callable[[Tensor], Tensor],
        layers: Sequence[Layer],
        norm: Tensor,
        head: Linear,
        operations: Operations,
        *,
        name: str,
        context: int,
        batch_invariant: bool,
        cheap_batches: bool,
    ) -> None:
        self.config = config
        self.name = name
        self.context = context
        self.vocab = config.vocab
        self.operations = operations
        self.batch_invariant = batch_invariant
        self.cheap_batches = cheap_batches
        self._embed = embed
        self._layers = tuple(layers)
        self._pass = operations.fuse(self._layers, config.norm_eps)
        self._norm = norm
        self._head = head
        self._cos, self._sin = rope_angles(config.rope, config.head_dim, context)

    def new_cache(self) -> Cache:
        """Room for the keys and values of one text."""
        return self.operations.new_cache(self.context)

    def copy_cache(self, source: Cache, target: Cache, count: int) -> None:
        """Makes the first `count` positions of `target` those of `source`."""
        self.operations.copy(source, target, count)

    def take_cache(self, cache: Cache, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` positions as plain [layers, kv_heads, positions, head_dim] tensors."""
        return self.operations.take(cache, count)

    @torch.inference_mode()
    def forward(self, ids: Sequence[int], start: int, cache: Cache, rows: int = 1) -> Tensor:
        """Puts `ids` at positions `start`.. of `cache`; logits [rows, vocab] of the last `rows` of them.

        Attends to all positions before each token, so those must be in the cache. Float32.
        """
        eps, ops, count = self.config.norm_eps, self.operations, len(ids)
        x = self._embed(torch.tensor(ids))
        cos, sin = self._cos[start : start + count], self._sin[start : start + count]
        if self._pass:
            x = self._pass(x, cache, start, cos, sin)
        for number, layer in enumerate(self._layers if self._pass is None else ()):
            qkv = layer.qkv(ops.norm(x, layer.attention_norm, eps))
            x = layer.out(ops.attend(qkv, cache, number, start, cos, sin), onto=x)
            x = layer.down(ops.swiglu(layer.gate_up(ops.norm(x, layer.mlp_norm, eps))), onto=x)
        if not rows:
            return x[:0]
        return self._head(ops.norm(x[count - rows :].contiguous(), self._norm, eps))[:, : self.vocab]


def build_dense(
    config: LlamaConfig, tensors: Iterable[tuple[str, Tensor]], *, context: int, dtype: torch.dtype
) -> Llama:
    """A Llama from (name, tensor) pairs under Hugging Face's names, computing in `dtype`."""
    held = dict(tensors)

    def fused(at: str, *names: str) -> Dense:
        weights = [held.pop(f"{at}{name}_proj.weight") for name in names]
        biases = [held.pop(f"{at}{name}_proj.bias") for name in names if f"{at}{name}_proj.bias" in held]
        return Dense(
            torch.cat(weights) if len(weights) > 1 else weights[0],
            torch.cat(biases) if biases else None,
        )

    layers = [
        Layer(
            held.pop(f"model.layers.{i}.input_layernorm.weight").float(),
            fused(f"model.layers.{i}.self_attn.", "q", "k", "v"),
            fused(f"model.layers.{i}.self_attn.", "o"),
            held.pop(f"model.layers.{i}.post_attention_layernorm.weight").float(),
            fused(f"model.layers.{i}.mlp.", "gate", "up"),
            fused(f"model.layers.{i}.mlp.", "down"),
        )
        for i in range(config.layers)
    ]
    embedding = held["model.embed_tokens.weight"]
    return Llama(
        config,
        lambda ids: F.embedding(ids, embedding).float(),
        layers,
        held["model.norm.weight"].float(),
        Dense(held.get("lm_head.weight", embedding)),
        TorchOperations(config, dtype, rowwise=False),
        name=f"dense {str(dtype).removeprefix('torch.')}",
        context=context,
        batch_invariant=False,
        cheap_batches=True,
    )
