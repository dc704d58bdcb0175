"""Matrices: a dense one, and one for INT4 weights on each kind of CPU, all from the same packed bytes.

Each is called with `x` [tokens, columns] in float32 and gives [tokens, rows] in float32, added to
`onto` when that is given. `native` has the C++ one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody knows it by
from torch import Tensor

from .errors import EngineError
from .files.layout import GROUP, ROWS, packed_bytes, unpack


class Linear(Protocol):
    """y = x W^T + b."""

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """[tokens, rows] for `x` [tokens, columns]."""


@dataclass(frozen=True)
class Dense:
    """Weights [rows, columns] in 16 or 32 bits, multiplied in their own type."""

    weight: Tensor
    bias: Tensor | None = None

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """[tokens, rows] for `x` [tokens, columns]."""
        y = F.linear(x.to(self.weight.dtype), self.weight, self.bias).float()
        return y if onto is None else onto + y


@dataclass(frozen=True)
class Sum:
    """Two packed matrices, the second of which holds what the first one's rounding left."""

    first: Linear
    second: Linear

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """[tokens, rows] for `x` [tokens, columns]."""
        return self.second(x, onto=self.first(x, onto))


@dataclass(frozen=True)
class FineSum:
    """The same for kernels that round a row of inputs to int8, which costs a head more than its weights' rounding does.

    What that rounding leaves of a row (`rest`) is multiplied as one more row, by the first matrix alone: the other's
    part of it is too small to show. Two rows read the weights once, so they cost little more than one. The first matrix
    has no bias.
    """

    first: Linear
    second: Linear
    rest: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """[tokens, rows] for `x` [tokens, columns]."""
        both = self.first(torch.cat([x, self.rest(x)]))
        y = both[: len(x)] + both[len(x) :]
        return self.second(x, onto=y if onto is None else onto + y)


@dataclass(frozen=True)
class Kleidi:
    """arm64: torch's own operator on the packed bytes, which takes KleidiAI's kernels for them."""

    packed: Tensor
    rows: int
    columns: int

    def __post_init__(self) -> None:
        check_packed(self.packed, self.rows, self.columns)

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """[tokens, rows] for `x` [tokens, columns]; activations stay float32, for Graviton2 has no bfloat16."""
        y: Tensor = torch.ops.aten._dyn_quant_matmul_4bit(x.contiguous(), self.packed, GROUP, self.columns, self.rows)
        return y if onto is None else onto + y


class Stock:
    """x86-64 without our kernel: torch's INT4 operator, its own layout made at load; bfloat16 activations."""

    def __init__(self, packed: Tensor, rows: int, columns: int) -> None:
        check_packed(packed, rows, columns)
        values, scales, biases = unpack(packed.numpy(), rows, columns)
        unsigned = torch.from_numpy(values.astype(np.int32) + 8)
        self._weight = torch.ops.aten._convert_weight_to_int4pack_for_cpu(unsigned, 1)
        wide = torch.from_numpy(scales)
        # [groups, rows, 2]: scale and zero point, where nought is the eighth of sixteen steps.
        self._scales = torch.stack([wide, torch.zeros_like(wide)], dim=-1).transpose(0, 1).contiguous().bfloat16()
        self._bias = torch.from_numpy(biases.copy()) if biases.any() else None

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """[tokens, rows] for `x` [tokens, columns]."""
        y: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(x.bfloat16(), self._weight, GROUP, self._scales)
        y = y.float() if self._bias is None else y.float() + self._bias
        return y if onto is None else onto + y


class Reference:
    """Any CPU: plain arithmetic in float64 on unpacked weights; for tests and for machines of another kind."""

    def __init__(self, packed: Tensor, rows: int, columns: int) -> None:
        check_packed(packed, rows, columns)
        values, scales, biases = unpack(packed.numpy(), rows, columns)
        self._weight = (torch.from_numpy(values).view(rows, -1, GROUP) * torch.from_numpy(scales)[..., None]).flatten(1)
        self._bias = torch.from_numpy(biases.copy())

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """[tokens, rows] for `x` [tokens, columns]."""
        y = (round_rows(x) @ self._weight.double().T + self._bias).float()
        return y if onto is None else onto + y


def round_rows(x: Tensor) -> Tensor:
    """Each row rounded to 256 steps between its least and greatest value, as KleidiAI rounds it; float64."""
    least, most = x.amin(-1, keepdim=True).clamp(max=0), x.amax(-1, keepdim=True).clamp(min=0)
    steps = torch.where(least == most, 1.0, 255 / (most - least))
    low, high = least * steps, most * steps
    zero = torch.where((-128 + low) + (127 + high) > 0, -128 - low, 127 - high).clamp(-128, 127).round()
    rounded = ((x * steps).round() + zero).clamp(-128, 127)
    return (rounded - zero).double() * (1 / steps).double()


def rest(x: Tensor) -> Tensor:
    """What that rounding takes away; float32."""
    return (x - round_rows(x)).float()


def check_packed(packed: Tensor, rows: int, columns: int) -> None:
    """Raises EngineError for a tensor that is not the packed uint8 bytes of a [rows, columns] matrix."""
    if packed.dtype != torch.uint8:
        raise EngineError(
            f"A packed matrix is {packed.dtype}, not uint8, which would be many times slower: pack the model again."
        )
    if packed.numel() != packed_bytes(rows, columns):
        raise EngineError(
            f"A packed matrix has {packed.numel():,} bytes, not {packed_bytes(rows, columns):,}: pack again."
        )


def unpack_rows(parts: Sequence[Tensor], ids: Tensor, columns: int) -> Tensor:
    """Single rows of packed matrices of one shape, added up, float32 [ids, columns]; `parts` are their uint8 bytes."""
    return torch.stack([_unpack_rows(part, ids, columns) for part in parts]).sum(0)


def _unpack_rows(packed: Tensor, ids: Tensor, columns: int) -> Tensor:
    groups = columns // GROUP
    slabs, row = packed.view(-1, packed_bytes(ROWS, columns))[ids // ROWS], ids % ROWS
    slabs = slabs[:, : groups * (ROWS * GROUP // 2 + ROWS * 2)].view(len(ids), groups, -1)
    every = torch.arange(len(ids))
    weights = slabs[:, :, : ROWS * GROUP // 2].reshape(len(ids), groups, 2, ROWS, 8)[every, :, :, row]
    nibbles = torch.stack([weights & 15, weights >> 4], dim=2).reshape(len(ids), groups, GROUP)
    values = (nibbles ^ 8).float() - 8
    stored = slabs[:, :, ROWS * GROUP // 2 :].reshape(len(ids), groups, ROWS, 2)[every, :, row]
    scales = stored.contiguous().view(torch.bfloat16).float()
    return (values * scales).view(len(ids), columns)
