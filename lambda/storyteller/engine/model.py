"""Llama in PyTorch: grouped-query attention, rotary positions, RMSNorm, SwiGLU and a static KV cache.

Works on token ids and positions. Knows nothing of text, of sampling or of where weights come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody knows it by
from torch import Tensor

from .config import LlamaConfig, Rope


@dataclass(frozen=True)
class Linear:
    """y = x W^T + b in the weights' own type, float32 in and out. `weight` is [outputs, inputs]."""

    weight: Tensor
    bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """[tokens, outputs] for `x` [tokens, inputs]."""
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias).float()


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
    if rope.kind != "llama3":
        return frequencies
    # Long wavelengths are stretched by the factor, short ones kept, those between blended.
    wavelengths = 2 * math.pi / frequencies
    blend = (rope.original_context / wavelengths - rope.low_freq_factor) / (
        rope.high_freq_factor - rope.low_freq_factor
    )
    blend = blend.clamp(0.0, 1.0)
    return (1 - blend) * frequencies / rope.factor + blend * frequencies


class Llama:
    """The weights, the cache of one conversation, and the forward pass over both.

    The cache holds keys and values for positions 0 to `context`; whoever calls `forward` says where
    in it the new tokens go and so decides what is kept.
    """

    def __init__(
        self,
        config: LlamaConfig,
        embedding: Tensor,
        layers: Sequence[Layer],
        norm: Tensor,
        head: Linear,
        *,
        context: int,
        cache_dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = config
        self.context = context
        self._embedding = embedding
        self._layers = tuple(layers)
        self._norm = norm
        self._head = head
        angles = torch.outer(torch.arange(context, dtype=torch.float32), rope_frequencies(config.rope, config.head_dim))
        self._cos, self._sin = angles.cos(), angles.sin()
        shape = (config.layers, config.kv_heads, context, config.head_dim)
        self._keys = torch.zeros(shape, dtype=cache_dtype)
        self._values = torch.zeros(shape, dtype=cache_dtype)

    @property
    def vocab(self) -> int:
        """How many token ids there are."""
        return self.config.vocab

    @torch.inference_mode()
    def forward(self, ids: Sequence[int], start: int, rows: int = 1) -> Tensor:
        """Puts `ids` at positions `start`.. into the cache; logits [rows, vocab] of the last `rows` of them.

        Attends to all positions before each token, so those must be in the cache. Float32.
        """
        c, count = self.config, len(ids)
        x = F.embedding(torch.tensor(ids), self._embedding).float()
        cos, sin = self._cos[start : start + count], self._sin[start : start + count]
        for number, layer in enumerate(self._layers):
            h = F.rms_norm(x, (c.width,), layer.attention_norm, c.norm_eps)
            x = x + layer.out(self._attend(layer.qkv(h), number, start, cos, sin))
            h = F.rms_norm(x, (c.width,), layer.mlp_norm, c.norm_eps)
            gate, up = layer.gate_up(h).chunk(2, dim=-1)
            x = x + layer.down(F.silu(gate) * up)
        x = F.rms_norm(x[count - rows :], (c.width,), self._norm, c.norm_eps)
        return self._head(x) if rows else x

    def _attend(self, qkv: Tensor, number: int, start: int, cos: Tensor, sin: Tensor) -> Tensor:
        c, count = self.config, len(qkv)
        parts = qkv.view(count, -1, c.head_dim)
        q, k, v = parts[:, : c.heads], parts[:, c.heads : -c.kv_heads], parts[:, -c.kv_heads :]
        keys, values = self._keys[number], self._values[number]
        end = start + count
        keys[:, start:end] = turn(k, cos, sin).transpose(0, 1)
        values[:, start:end] = v.transpose(0, 1)
        seen = torch.ones(count, end, dtype=torch.bool).tril(start)
        q = turn(q, cos, sin).transpose(0, 1)
        out = F.scaled_dot_product_attention(
            q[None], keys[None, :, :end].float(), values[None, :, :end].float(), attn_mask=seen, enable_gqa=True
        )
        return out[0].transpose(0, 1).reshape(count, -1)


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates each head's halves against each other: [tokens, heads, head_dim] by [tokens, head_dim / 2]."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def build_dense(
    config: LlamaConfig, tensors: Iterable[tuple[str, Tensor]], *, context: int, dtype: torch.dtype
) -> Llama:
    """A Llama from (name, tensor) pairs under Hugging Face's names, computing in `dtype`."""
    held = dict(tensors)

    def fused(at: str, *names: str) -> Linear:
        weights = [held.pop(f"{at}{name}_proj.weight") for name in names]
        biases = [held.pop(f"{at}{name}_proj.bias") for name in names if f"{at}{name}_proj.bias" in held]
        return Linear(
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
    head = Linear(held.get("lm_head.weight", embedding))
    norm = held["model.norm.weight"].float()
    return Llama(config, embedding, layers, norm, head, context=context, cache_dtype=dtype)
