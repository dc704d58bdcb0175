"""The kernels for i8mm (Graviton3 and later) give the bits of those for dotprod (Graviton2), on a CPU that has both.

Without torch, which takes a minute and a half to import on the CPU that is emulated here.
"""

from __future__ import annotations

import ctypes
import os

import numpy as np
import pytest

COLUMNS, OUTPUTS = 256, 64


@pytest.mark.parametrize("rows", [1, 2, 3, 16, 31])
def test_the_two_instruction_sets_give_the_same_bits(rows: int) -> None:
    library = ctypes.CDLL(os.environ["OVERTURE_KERNEL"])
    address, long = ctypes.c_void_p, ctypes.c_long
    library.overture_matmul.argtypes = [address, long, long, address, address, long, address, ctypes.c_int]
    random = np.random.default_rng(rows)
    x = random.standard_normal((rows, COLUMNS), np.float32)
    slabs = random.integers(0, 256, (OUTPUTS // 8, COLUMNS // 32, 144), np.uint8)
    slabs[..., 129::2] = 0x3C  # each scale's upper byte: numbers of one size, some below nought
    slabs[..., 131::4] = 0xBC
    tails = random.standard_normal((OUTPUTS // 8, 16), np.float32).view(np.uint8)
    packed = np.concatenate([slabs.reshape(OUTPUTS // 8, -1), tails], axis=1)
    found = []
    for name in (b"dotprod", b"i8mm"):
        assert library.overture_choose(name) == 1
        y = np.full((rows, OUTPUTS), np.nan, np.float32)
        library.overture_matmul(x.ctypes.data, rows, COLUMNS, packed.ctypes.data, None, OUTPUTS, y.ctypes.data, 0)
        assert np.isfinite(y).all()
        found.append(y)
    assert np.array_equal(found[0], found[1])
    assert np.abs(found[0]).max() > 1
