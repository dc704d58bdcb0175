"""INT4 matrices and what stands beside them: each kernel against plain arithmetic, and bit by bit against itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from model_build.packing.layout import bfloat16_bits, pack
from storyteller.engine import EngineError
from storyteller.engine.files.config import LlamaConfig, Rope
from storyteller.engine.files.layout import packed_bytes, split, unpack
from storyteller.engine.kernels import choose_kernel
from storyteller.engine.linears import FineSum, Kleidi, Reference, Stock, Sum, rest, unpack_rows
from storyteller.engine.model import rope_frequencies
from storyteller.engine.native import Native, NativeLinear, NativeOperations
from storyteller.engine.ops import Operations, TorchOperations

SHAPES = [(8, 64), (48, 96), (256, 512), (72, 2048)]
VARIANTS = ["avx512", "avx2", "i8mm", "dotprod", "plain"]


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


def weights(rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows + columns)
    values = torch.randint(-8, 8, (rows, columns), generator=generator).to(torch.int8)
    return values, numbers(rows, columns // 32, seed=1, scale=0.02), numbers(rows, seed=2)


def packed(rows: int, columns: int) -> torch.Tensor:
    values, scales, biases = weights(rows, columns)
    return torch.from_numpy(pack(values.numpy(), scales.numpy(), biases.numpy()))


def config(head_dim: int = 32, heads: int = 4, kv_heads: int = 2, layers: int = 2) -> LlamaConfig:
    return LlamaConfig(
        vocab=64, dim=heads * head_dim, intermediate=96, layers=layers, heads=heads, kv_heads=kv_heads,
        head_dim=head_dim, context=128, norm_eps=1e-5, rope=Rope(), tied=False,
        qkv_bias=False, out_bias=False, mlp_bias=False, eos_ids=(),
    )  # fmt: skip


# --- the layout


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_what_is_packed_comes_out_again(rows: int, columns: int) -> None:
    values, scales, biases = weights(rows, columns)
    stored = packed(rows, columns).numpy()
    assert stored.dtype == np.uint8
    assert stored.size == packed_bytes(rows, columns)
    out_values, out_scales, out_biases = unpack(stored, rows, columns)
    assert np.array_equal(out_values, values.numpy())
    assert np.array_equal(out_scales, scales.bfloat16().float().numpy())
    assert np.array_equal(out_biases, biases.numpy())
    sums = (values.view(rows, -1, 32).sum(-1) * scales.bfloat16().double()).sum(-1)
    torch.testing.assert_close(
        torch.from_numpy(split(stored, rows, columns)[2].copy()).double(), sums, rtol=0, atol=1e-2
    )


def test_a_weight_lies_where_kleidiai_looks_for_it() -> None:
    values = torch.zeros(16, 64, dtype=torch.int8)
    values[8 + 3, 32 + 16 + 8 + 5] = -3  # slab 1, row 3, group 1, high four bits of half 1, byte 5
    stored = pack(values.numpy(), np.ones((16, 2), np.float32))
    slab = 2 * 144 + 64
    assert np.flatnonzero(stored[slab : slab + 2 * 144].reshape(2, 144)[:, :128]).tolist() == [128 + 64 + 3 * 8 + 5]
    assert stored[slab + 144 + 64 + 3 * 8 + 5] == (-3 & 15) << 4
    assert stored[slab + 2 * 144 :].view(np.float32)[3] == -3.0


def test_stacking_by_rows_is_concatenating_bytes() -> None:
    values, scales, biases = weights(48, 64)
    parts = [pack(values[a:b].numpy(), scales[a:b].numpy(), biases[a:b].numpy()) for a, b in [(0, 16), (16, 48)]]
    assert np.array_equal(np.concatenate(parts), packed(48, 64).numpy())


def test_bfloat16_is_rounded_as_torch_rounds_it() -> None:
    x = torch.cat([numbers(1000), torch.tensor([1.00390625, 1.01171875, 0.0, -0.0])])
    assert np.array_equal(bfloat16_bits(x.numpy()), x.bfloat16().view(torch.uint16).numpy())


def test_sizes_off_the_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="rows by 8, columns by 32"):
        pack(np.zeros((9, 64), np.int8), np.zeros((9, 2), np.float32))
    with pytest.raises(ValueError, match="columns by 32"):
        pack(np.zeros((8, 32), np.int8), np.zeros((8, 1), np.float32))


def test_single_rows_are_read_out_of_packed_bytes(native: Native) -> None:
    values, scales, _ = weights(72, 64)
    whole = (values.view(72, 2, 32) * scales.bfloat16().float()[..., None]).flatten(1)
    ids = torch.tensor([0, 71, 13, 8, 13])
    for read in (unpack_rows, native.unpack_rows):
        assert torch.equal(read([packed(72, 64)], ids, 64), whole[ids])
        assert torch.equal(read([packed(72, 64), packed(72, 64)], ids, 64), 2 * whole[ids])
        for wrong in (72, -73):
            with pytest.raises(IndexError):
                read([packed(72, 64)], torch.tensor([0, wrong]), 64)


# --- matrices


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_the_reference_is_near_the_true_product(rows: int, columns: int) -> None:
    values, scales, biases = weights(rows, columns)
    x = numbers(20, columns, seed=3)
    true = x @ (values.view(rows, -1, 32) * scales.bfloat16().float()[..., None]).flatten(1).T + biases
    assert (Reference(packed(rows, columns), rows, columns)(x) - true).norm() / true.norm() < 0.02


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_the_native_kernel_equals_the_reference(native: Native, variant: str, rows: int, columns: int) -> None:
    if not native.choose(variant):
        assert variant != "plain"  # only an instruction set that this CPU lacks may be missing
        return
    linear = NativeLinear(native, packed(rows, columns), rows, columns)
    x = torch.cat([numbers(13, columns, seed=3), torch.zeros(1, columns), numbers(1, columns, seed=4).abs() * 1e3])
    expected = Reference(packed(rows, columns), rows, columns)(x)
    torch.testing.assert_close(linear(x), expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
    base = numbers(15, rows, seed=5)
    torch.testing.assert_close(linear(x, onto=base.clone()), base + linear(x), rtol=1e-6, atol=1e-6)
    both = replace(linear, residual=packed(rows, columns))
    assert torch.equal(both(x), Sum(linear, linear)(x))
    assert torch.equal(both(x, onto=base.clone()), Sum(linear, linear)(x, onto=base.clone()))


def test_a_fine_sum_loses_little_to_its_inputs_rounding() -> None:
    """One large input among small ones, as real models have them, leaves the others few of a row's steps."""
    values, scales, _ = weights(256, 512)
    first, second = (
        Reference(torch.from_numpy(pack(values.numpy(), (scales * size).numpy())), 256, 512) for size in (1, 1 / 16)
    )
    x = numbers(5, 512, seed=3)
    x[:, 7] = 60
    true = (x.double() @ (first._weight + second._weight).double().T).float()
    rounded, fine = Sum(first, second)(x), FineSum(first, second, rest)(x)
    assert (fine - true).norm() < 0.1 * (rounded - true).norm()
    base = numbers(5, 256, seed=5)
    torch.testing.assert_close(FineSum(first, second, rest)(x, onto=base), base + fine)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_native_rest_equals_the_references(native: Native, variant: str) -> None:
    native.choose(variant)
    x = torch.cat([numbers(3, 512, seed=3), torch.zeros(1, 512), numbers(1, 512, seed=4).abs() * 1e3])
    # A value in the middle of two steps may go to either: then the rests differ by a whole step.
    steps = (x.amax(-1).clamp(min=0) - x.amin(-1).clamp(max=0))[:, None] / 255
    apart = (native.rest(x) - rest(x)).abs()
    assert (torch.minimum(apart, (apart - steps).abs()) <= 1e-4 * steps).all()
    assert (apart > 0.5 * steps).sum() <= 2


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_row_is_the_same_bits_among_any_others_and_on_any_threads(kernel_file: Path, variant: str) -> None:
    x, results = numbers(21, 512, seed=3), []
    for threads in (1, 2, 5):
        native = Native(kernel_file, threads)
        if native.choose(variant):
            linear = NativeLinear(native, packed(256, 512), 256, 512)
            results += [
                linear(x),
                torch.cat([linear(row[None]) for row in x]),
                torch.cat([linear(x[:6]), linear(x[6:])]),
            ]
        native.choose("")
    assert all(torch.equal(result, results[0]) for result in results)


def test_stock_torch_is_near_the_reference() -> None:
    x = numbers(5, 512)
    expected = Reference(packed(256, 512), 256, 512)(x)
    assert (Stock(packed(256, 512), 256, 512)(x) - expected).norm() / expected.norm() < 0.02


@pytest.mark.parametrize("kind", [Stock, Reference, Kleidi])
def test_packed_bytes_that_are_not_uint8_are_an_error(kind: type) -> None:
    with pytest.raises(EngineError, match="not uint8"):
        kind(packed(8, 64).float(), 8, 64)
    with pytest.raises(EngineError, match="bytes, not"):
        kind(packed(8, 64)[:-1], 8, 64)


def test_native_checks_the_bytes_too(native: Native) -> None:
    with pytest.raises(EngineError, match="float32, not uint8"):
        NativeLinear(native, packed(8, 64).float(), 8, 64)
    with pytest.raises(EngineError, match="has 352 bytes, not 704"):
        NativeLinear(native, packed(16, 64), 16, 64, packed(8, 64))


# --- operations


@pytest.mark.parametrize("variant", VARIANTS)
def test_norm_and_gate_equal_torch(native: Native, variant: str) -> None:
    native.choose(variant)
    ops = NativeOperations(native, config())
    x, weight = numbers(9, 128, scale=3.0), numbers(128, seed=1)
    torch.testing.assert_close(ops.norm(x, weight, 1e-5), F.rms_norm(x, (128,), weight, 1e-5), rtol=1e-5, atol=1e-6)
    gate_up = torch.cat([numbers(9, 96, scale=4.0), numbers(9, 96, seed=7)], dim=1)
    gate_up[0, :4] = torch.tensor([-200.0, 200.0, 0.0, -88.0])
    expected = F.silu(gate_up[:, :96]) * gate_up[:, 96:]
    torch.testing.assert_close(ops.swiglu(gate_up), expected, rtol=2e-6, atol=1e-6)


def angles(c: LlamaConfig, start: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    table = torch.outer(torch.arange(128.0), rope_frequencies(c.rope, c.head_dim))[start : start + count]
    return table.cos(), table.sin()


def attend(ops: Operations, c: LlamaConfig, qkv: torch.Tensor, chunk: int) -> torch.Tensor:
    cache, parts = ops.new_cache(128), []
    for at in range(0, len(qkv), chunk):
        part = qkv[at : at + chunk].contiguous()
        parts.append(ops.attend(part, cache, 1, at, *angles(c, at, len(part))))
    return torch.cat(parts)


FORMS = [(32, 4, 2), (64, 8, 1), (128, 3, 3), (16, 14, 2), (64, 12, 4)]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("head_dim", "heads", "kv_heads"), FORMS)
def test_native_attention_equals_torch(native: Native, variant: str, head_dim: int, heads: int, kv_heads: int) -> None:
    native.choose(variant)
    c = config(head_dim, heads, kv_heads)
    qkv = numbers(77, (heads + 2 * kv_heads) * head_dim, scale=1.5)
    expected = attend(TorchOperations(c, torch.float16, rowwise=False), c, qkv, 77)
    # Both round keys to float16, and where their last bits differ, one step of that apart.
    torch.testing.assert_close(attend(NativeOperations(native, c), c, qkv, 77), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("form", FORMS)
def test_attention_is_the_same_bits_in_any_parts(kernel_file: Path, form: tuple[int, int, int]) -> None:
    c = config(*form)
    qkv = numbers(77, (c.heads + 2 * c.kv_heads) * c.head_dim)
    before = torch.get_num_threads()
    try:
        for make in (
            lambda: NativeOperations(Native(kernel_file, torch.get_num_threads()), c),
            lambda: TorchOperations(c, torch.float16, rowwise=True),
        ):
            results = []
            for threads in (1, 2):
                torch.set_num_threads(threads)
                results += [attend(make(), c, qkv, chunk) for chunk in (77, 1, 10)]
            assert all(torch.equal(result, results[0]) for result in results)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 40])
def test_torchs_rowwise_gate_and_norm_are_the_same_bits_in_any_parts(rows: int) -> None:
    c = config()
    ops = TorchOperations(c, torch.float16, rowwise=True)
    x, gate_up = numbers(rows, 128), numbers(rows, 2 * 5600)
    weight = numbers(128, seed=1)
    assert torch.equal(ops.norm(x, weight, 1e-5), torch.cat([ops.norm(row[None], weight, 1e-5) for row in x]))
    assert torch.equal(ops.swiglu(gate_up), torch.cat([ops.swiglu(row[None]) for row in gate_up]))


@pytest.mark.parametrize("count", [1, 15, 16, 33])
def test_caches_are_copied_taken_and_filled(native: Native, count: int) -> None:
    c = config()
    qkv = numbers(60, 8 * 32)
    for ops in (NativeOperations(native, c), TorchOperations(c, torch.float16, rowwise=True)):
        source, copied, filled = (ops.new_cache(100) for _ in range(3))
        for layer in range(2):
            ops.attend(qkv, source, layer, 0, *angles(c, 0, 60))
        ops.copy(source, copied, count)
        ops.put(filled, *ops.take(source, count))
        rest = qkv[count:].contiguous()
        expected = ops.attend(rest, source, 1, count, *angles(c, count, len(rest)))
        for cache in (copied, filled):
            assert torch.equal(ops.attend(rest, cache, 1, count, *angles(c, count, len(rest))), expected)


# --- the choice


def test_the_kernel_is_chosen_by_what_is_there(kernel_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERTURE_KERNEL", str(kernel_file))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert choose_kernel("auto", config(), 1).name.startswith("native")
    assert choose_kernel("auto", config(head_dim=24), 1).name == "stock torch INT4"  # sizes that the kernels lack
    monkeypatch.setattr("storyteller.engine.native.library_places", list)
    assert choose_kernel("auto", config(), 1).name == "stock torch INT4"
    with pytest.raises(EngineError, match="have not been built: run python -m model_build kernel"):
        choose_kernel("native", config(), 1)
    with pytest.raises(EngineError, match="for arm64"):
        choose_kernel("kleidi", config(), 1)
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert choose_kernel("auto", config(), 1).name == "plain reference"
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    arm = choose_kernel("auto", config(), 1)
    assert arm.linear is Kleidi
    assert (arm.batch_invariant, arm.cheap_batches) == (True, False)


def test_arm64_takes_torchs_operator_where_ours_is_plain(
    kernel_file: Path, native: Native, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERTURE_KERNEL", str(kernel_file))
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    if native.name != "plain":
        assert choose_kernel("auto", config(), 1).name == f"native {native.name}"
    native.choose("plain")
    assert choose_kernel("auto", config(), 1).linear is Kleidi


def test_a_broken_library_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "x.so"
    broken.write_text("no library")
    with pytest.raises(EngineError, match="build it again"):
        Native(broken, 1)
