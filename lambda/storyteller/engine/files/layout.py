"""The one byte layout of INT4 weights: KleidiAI's `qsi4c32p` with 8 rows, 16 deep, groups of 32.

`aten._dyn_quant_pack_4bit_weight` makes it on arm64, `model_build` makes it anywhere, and every
kernel reads it as it lies in the file. This module knows sizes and how to read weights back out; it
needs numpy only.

A matrix [rows, columns] is cut into slabs of 8 rows, one after another, so that stacking matrices
by rows is concatenating their bytes. A slab holds, for each group of 32 columns, 128 bytes of
weights and 16 bytes of scales, then 8 sums and 8 biases:

    weights  for half h of 2, row r of 8, byte b of 8: column 8h + b in the low four bits,
             column 16 + 8h + b in the high four, both two's complement
    scales   bfloat16, one a row
    sums     float32, one a row: the sum of all weights times their scales, in order of columns
    biases   float32, one a row
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Names the layout in a bundle's manifest; another name is another layout.
LAYOUT = "kleidiai-qsi4c32p-nr8-kr16-sr2-group32-bf16"

#: Columns that share a scale, and rows that lie together.
GROUP, ROWS = 32, 8

_GROUP_BYTES = ROWS * GROUP // 2 + ROWS * 2
_TAIL_BYTES = ROWS * 4 * 2


def packed_bytes(rows: int, columns: int) -> int:
    """Bytes of a packed [rows, columns] matrix; rows a multiple of 8, columns of 32."""
    return rows // ROWS * (columns // GROUP * _GROUP_BYTES + _TAIL_BYTES)


def split(
    packed: npt.NDArray[np.uint8], rows: int, columns: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The four parts of packed bytes: weights [slabs, groups, 2, 8, 8], scales [slabs, groups, 16], sums, biases."""
    slabs, groups = rows // ROWS, columns // GROUP
    body = packed.reshape(slabs, -1)
    inner = body[:, : groups * _GROUP_BYTES].reshape(slabs, groups, _GROUP_BYTES)
    weights = inner[:, :, : ROWS * GROUP // 2].reshape(slabs, groups, 2, ROWS, 8)
    scales = inner[:, :, ROWS * GROUP // 2 :]
    tail = np.ascontiguousarray(body[:, groups * _GROUP_BYTES :]).view(np.float32)
    return weights, scales, tail[:, :ROWS].reshape(-1), tail[:, ROWS:].reshape(-1)


def unpack(
    packed: npt.NDArray[np.uint8], rows: int, columns: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Weights -8..7 [rows, columns], scales [rows, columns / 32] and biases [rows] out of packed bytes."""
    weights, scales, _, biases = split(packed, rows, columns)
    slabs, groups = rows // ROWS, columns // GROUP
    halves = np.stack([weights & 15, weights >> 4], axis=2)  # slab, group, low or high, half, row, byte
    nibbles = halves.transpose(0, 4, 1, 2, 3, 5).reshape(rows, columns)
    values = ((nibbles ^ 8).astype(np.int8) - 8).astype(np.int8)
    bits = np.ascontiguousarray(scales).view(np.uint16).reshape(slabs, groups, ROWS)
    wide = np.ascontiguousarray(bits.transpose(0, 2, 1)).astype(np.uint32) << 16
    return values, wide.view(np.float32).reshape(rows, groups), biases
