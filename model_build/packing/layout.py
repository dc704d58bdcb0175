"""Writes the one byte layout of INT4 weights (see `storyteller.engine.files.layout`) on any machine.

Pure numpy, and equal byte for byte to what `aten._dyn_quant_pack_4bit_weight` makes with KleidiAI
on arm64 (`tests/arm64` shows it).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from storyteller.engine.files.layout import GROUP, ROWS


def pack(
    values: npt.NDArray[np.int8], scales: npt.NDArray[np.float32], biases: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.uint8]:
    """Packed bytes of weights -8..7 [rows, columns] with one scale a group [rows, columns / 32].

    Scales are rounded to bfloat16. Raises ValueError when rows are no multiple of 8 or columns
    no greater multiple of 32 (torch takes a single group for one scale a row, which is another layout).
    """
    rows, columns = values.shape
    slabs, groups = rows // ROWS, columns // GROUP
    if rows % ROWS or columns % GROUP or columns == GROUP or scales.shape != (rows, groups):
        raise ValueError(f"cannot pack {values.shape} with scales {scales.shape}: rows by 8, columns by 32")
    nibbles = (values & 15).view(np.uint8).reshape(slabs, ROWS, groups, 2, 2, 8)  # slab, row, group, high?, half, byte
    weights = nibbles[:, :, :, 0] | (nibbles[:, :, :, 1] << 4)
    weights = weights.transpose(0, 2, 3, 1, 4).reshape(slabs, groups, -1)
    bits = bfloat16_bits(scales)
    rounded = (bits.astype(np.uint32) << 16).view(np.float32)
    stored = np.ascontiguousarray(bits.reshape(slabs, ROWS, groups).transpose(0, 2, 1)).view(np.uint8)
    body = np.concatenate([weights, stored.reshape(slabs, groups, 2 * ROWS)], axis=-1).reshape(slabs, -1)
    # Each half of a group apart and one after another, as KleidiAI adds them: float32 sums depend on the order.
    counts = values.reshape(rows, groups, 2, 2, 8).sum(axis=(2, 4), dtype=np.int32).astype(np.float32)
    sums = np.zeros(rows, np.float32)
    for group in range(groups):
        for half in range(2):
            sums += counts[:, group, half] * rounded[:, group]
    tail = np.stack([sums, np.zeros(rows, np.float32) if biases is None else biases.astype(np.float32)])
    tail = np.ascontiguousarray(tail.reshape(2, slabs, ROWS).transpose(1, 0, 2)).view(np.uint8).reshape(slabs, -1)
    return np.concatenate([body, tail], axis=1).reshape(-1)


def bfloat16_bits(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The upper halves of float32 numbers, rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
