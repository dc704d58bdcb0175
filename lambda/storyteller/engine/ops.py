"""What a forward pass does beside its matrices: norms, the gate, and attention over the cache.

Stock torch here; `native` has the same in C++. Whoever makes the operations also makes the cache,
whose inner order is their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody knows it by
from torch import Tensor

from .files.config import LlamaConfig

#: Elements up to which torch computes an elementwise function in one piece, see `swiglu`.
_GRAIN = 32_768


@dataclass(frozen=True)
class Cache:
    """Keys and values of one text, one pair of tensors for all layers."""

    keys: Tensor
    values: Tensor


#: All layers over x [tokens, dim] (changed in place): (x, cache, start, cos, sin) to x.
Pass = Callable[[Tensor, Cache, int, Tensor, Tensor], Tensor]


class Operations(Protocol):
    """Each works on rows [tokens, features] in float32."""

    name: str

    def norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """RMSNorm of each row."""

    def swiglu(self, gate_up: Tensor) -> Tensor:
        """silu(gate) * up, where a row is gate then up."""

    def attend(self, qkv: Tensor, cache: Cache, layer: int, start: int, cos: Tensor, sin: Tensor) -> Tensor:
        """Stores the rows' rotated keys and values at positions `start`.., and lets each row attend up to itself."""

    def fuse(self, layers: Sequence[Any], eps: float) -> Pass | None:
        """All of `model.Layer`s in one call; None where they must be gone through one by one."""

    def new_cache(self, context: int) -> Cache:
        """Room for `context` positions."""

    def copy(self, source: Cache, target: Cache, count: int) -> None:
        """Copies the first `count` positions."""

    def put(self, cache: Cache, keys: Tensor, values: Tensor) -> None:
        """Fills the first positions from plain [layers, kv_heads, positions, head_dim] tensors."""

    def take(self, cache: Cache, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` positions as plain tensors, as `put` takes them."""


class TorchOperations:
    """Stock torch. With `rowwise`, a row's result does not depend on the rows computed beside it."""

    name = "torch"

    def __init__(self, config: LlamaConfig, cache_dtype: torch.dtype, *, rowwise: bool) -> None:
        self._config = config
        self._dtype = cache_dtype
        self._rowwise = rowwise

    def norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """RMSNorm of each row."""
        return F.rms_norm(x, (x.shape[-1],), weight, eps)

    def swiglu(self, gate_up: Tensor) -> Tensor:
        """silu(gate) * up, where a row is gate then up."""
        gate, up = gate_up.chunk(2, dim=-1)
        # Torch cuts long inputs between threads, and computes e^x otherwise at the end of a piece.
        if self._rowwise and gate.numel() > _GRAIN:
            return torch.cat([F.silu(row) for row in gate.split(1)]) * up  # type: ignore[no-untyped-call]
        return F.silu(gate) * up

    def attend(self, qkv: Tensor, cache: Cache, layer: int, start: int, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotary positions, the cache's update and grouped-query attention."""
        c, count = self._config, len(qkv)
        parts = qkv.view(count, -1, c.head_dim)
        q, k, v = parts[:, : c.heads], parts[:, c.heads : -c.kv_heads], parts[:, -c.kv_heads :]
        keys, values = cache.keys[layer], cache.values[layer]
        end = start + count
        keys[:, start:end] = apply_rope(k, cos, sin).transpose(0, 1)
        values[:, start:end] = v.transpose(0, 1)
        q, k, v = apply_rope(q, cos, sin), keys[:, :end].float(), values[:, :end].float()
        if self._rowwise:
            q = q.view(count, c.kv_heads, -1, c.head_dim) * c.head_dim**-0.5
            rows = []
            for row in range(count):
                seen = start + row + 1
                scores = torch.softmax(q[row] @ k[:, :seen].transpose(1, 2), dim=-1)
                rows.append((scores @ v[:, :seen]).reshape(-1))
            return torch.stack(rows)
        mask = torch.ones(count, end, dtype=torch.bool).tril(start)
        out = F.scaled_dot_product_attention(q.transpose(0, 1)[None], k[None], v[None], attn_mask=mask, enable_gqa=True)
        return out[0].transpose(0, 1).reshape(count, -1)

    def fuse(self, layers: Sequence[Any], eps: float) -> Pass | None:
        """Never."""
        return None

    def new_cache(self, context: int) -> Cache:
        """Room for `context` positions; memory is taken as it is used."""
        c = self._config
        shape = (c.layers, c.kv_heads, context, c.head_dim)
        return Cache(torch.empty(shape, dtype=self._dtype), torch.empty(shape, dtype=self._dtype))

    def copy(self, source: Cache, target: Cache, count: int) -> None:
        """Copies the first `count` positions."""
        self.put(target, *self.take(source, count))

    def put(self, cache: Cache, keys: Tensor, values: Tensor) -> None:
        """Fills the first positions from plain tensors."""
        cache.keys[:, :, : keys.shape[2]] = keys
        cache.values[:, :, : values.shape[2]] = values

    def take(self, cache: Cache, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` positions as plain tensors."""
        return cache.keys[:, :, :count], cache.values[:, :, :count]


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates each head's halves against each other: [tokens, heads, head_dim] by [tokens, head_dim / 2]."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
