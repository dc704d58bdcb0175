"""Our packer and kernels against torch's own on a CPU that it recognizes: the same bytes, and the same products."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model_build.packing.layout import pack
from storyteller.engine.linears import Kleidi, Reference
from storyteller.engine.native import NativeLinear, find_native

#: Every shape in use: the tests' bundles, and rows of Llama 3.2 1B, 3B and 3.1 8B.
SHAPES = [(8, 64), (256, 512), (512, 128), (128, 256), (64, 2048), (32, 3072), (32, 4096), (16, 8192), (16, 14336)]


def weights(rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows * 7 + columns)
    values = torch.randint(-8, 8, (rows, columns), generator=generator).to(torch.int8)
    return (
        values,
        # Of many sizes, so that float32 sums are rounded and their order shows.
        (torch.randn(rows, columns // 32, generator=generator) * 4).exp().bfloat16().float() * 0.0625,
        torch.randn(rows, generator=generator),
    )


def test_the_processor_is_recognized() -> None:
    assert Path("/sys/devices/system/cpu/possible").exists()


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_packed_bytes_are_torchs_own(rows: int, columns: int, biased: bool) -> None:
    values, scales, biases = weights(rows, columns)
    unsigned = (values + 8).to(torch.uint8)
    pairs = unsigned[:, ::2] | unsigned[:, 1::2] << 4
    theirs = torch.ops.aten._dyn_quant_pack_4bit_weight(
        pairs, scales.bfloat16(), biases if biased else None, 32, columns, rows
    )
    assert theirs.dtype == torch.uint8  # float32 would be the slow fallback
    ours = pack(values.numpy(), scales.numpy(), biases.numpy() if biased else None)
    assert np.array_equal(ours, theirs.numpy().reshape(-1))


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_products_equal_double_precision(rows: int, columns: int, count: int) -> None:
    values, scales, biases = weights(rows, columns)
    packed = torch.from_numpy(pack(values.numpy(), scales.numpy(), biases.numpy()))
    x = torch.randn(count, columns, generator=torch.Generator().manual_seed(9))
    expected = Reference(packed, rows, columns)(x)
    torch.testing.assert_close(
        Kleidi(packed, rows, columns)(x), expected, rtol=2e-5, atol=2e-6 * float(expected.abs().max())
    )


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_our_products_are_kleidiais_and_the_same_bits_in_any_batch(rows: int, columns: int) -> None:
    values, scales, biases = weights(rows, columns)
    packed = torch.from_numpy(pack(values.numpy(), scales.numpy(), biases.numpy()))
    native = find_native(2)
    assert native is not None
    assert native.name == "dotprod"
    ours = NativeLinear(native, packed, rows, columns)
    # In blocks of 16, 8, 4, 2 and 1. Of other numbers an activation may lie so near the middle of two steps that a
    # last bit decides, and one of the two kernels takes the other step.
    x = torch.randn(31, columns, generator=torch.Generator().manual_seed(9))
    expected, found = Kleidi(packed, rows, columns)(x), ours(x)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))
    assert torch.equal(torch.cat([ours(row[None]) for row in x]), found)
