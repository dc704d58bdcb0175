"""Rounding weights: as torchao does, better by a search, to 8 bits by a second matrix."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from model_build.packing.quantize import GROUP, Report, dequantize, round_embedding, round_plainly, round_weights


def numbers(rows: int, columns: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows))


def error(weight: torch.Tensor, values: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    return weight - dequantize(values, scales)


def plain(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    values, scales = round_plainly(weight.view(-1, GROUP).T)
    return values.T.reshape(weight.shape), scales.view(len(weight), -1)


def test_plain_rounding_is_torchaos_own() -> None:
    with warnings.catch_warnings():  # theirs
        warnings.simplefilter("ignore")
        from torchao.quantization import Int8DynamicActivationIntxWeightConfig, quantize_
        from torchao.quantization.granularity import PerGroup
        from torchao.quantization.quant_primitives import MappingType
    linear = torch.nn.Linear(128, 64, bias=False)
    weight = linear.weight.detach().clone()
    scheme = Int8DynamicActivationIntxWeightConfig(
        weight_dtype=vars(torch)["int4"], weight_granularity=PerGroup(32), weight_mapping_type=MappingType.SYMMETRIC,
        weight_scale_dtype=torch.bfloat16,
    )  # fmt: skip
    quantize_(linear, scheme)
    theirs: Any = linear.weight
    inner = getattr(theirs, "original_weight_tensor", theirs)
    values, scales = plain(weight)
    assert torch.equal(scales, inner.scale.float().view(64, 4))
    assert torch.equal(values.to(torch.int8), inner.qdata)


def test_the_search_leaves_less_error_and_says_where() -> None:
    weight, report = numbers(64, 256), Report()
    values, scales = round_weights(weight, None, report)
    assert values.dtype == torch.int8
    assert int(values.min()) >= -8
    assert int(values.max()) <= 7
    assert torch.equal(scales, scales.bfloat16().float())
    assert (scales < 0).any()  # signed
    ours = error(weight, values, scales).square().sum()
    assert ours < 0.8 * error(weight, *plain(weight)).square().sum()
    summary = report.summary()
    assert summary["groups"] == 64 * 8
    assert summary["groups_where_search_won"] > 0.9
    assert summary["relative_error"] == pytest.approx(float((ours / weight.square().sum()).sqrt()), abs=1e-4)
    assert summary["relative_error"] < summary["relative_error_plain"]


def test_known_inputs_are_spared() -> None:
    weight, importance = numbers(64, 256), torch.ones(256)
    importance[::16] = 400.0
    inputs = numbers(500, 256) * importance.sqrt()

    def left(known: torch.Tensor | None) -> float:
        return float((inputs @ error(weight, *round_weights(weight, known, Report())).T).norm())

    assert left(importance) < 0.85 * left(None)


@pytest.mark.parametrize("odd", [torch.zeros(8, 32), torch.full((8, 32), 3.0), torch.full((8, 32), -1e-20)])
def test_odd_groups_stay_finite(odd: torch.Tensor) -> None:
    values, scales = round_weights(odd, None, Report())
    assert torch.isfinite(scales).all()
    assert error(odd, values, scales).abs().max() <= 1e-2 * odd.abs().max() + 1e-12


def test_an_int8_embedding_is_near() -> None:
    weight = numbers(64, 128)
    values, scales = round_embedding(weight)
    assert error(weight, values, scales.float()).norm() / weight.norm() < 0.01


def test_a_second_matrix_makes_int4_as_good_as_eight_bits() -> None:
    weight = numbers(64, 256)
    first = round_weights(weight, None, Report())
    rest = error(weight, *first)
    second = round_weights(rest, None, Report())
    whole = round_embedding(weight)  # int8, scales of bfloat16
    left = (rest - dequantize(*second)).norm()
    assert left < 1.2 * error(weight, whole[0], whole[1].float()).norm() < 0.1 * rest.norm()
