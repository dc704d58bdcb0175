"""Rounding with the gram matrix of the inputs: less error in what a matrix puts out."""

from __future__ import annotations

import pytest
import torch

from model_build.packing.gptq import round_by_gram
from model_build.packing.quantize import Report, dequantize, round_weights

ROWS, COLUMNS = 64, 256


def numbers(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs(seed: int) -> torch.Tensor:
    """Inputs that go together: a few causes move all of them."""
    causes = numbers(16, COLUMNS, seed=7)
    return numbers(4000, 16, seed=seed) @ causes + numbers(4000, COLUMNS, seed=seed + 1)


def test_the_outputs_err_less_on_inputs_that_go_together() -> None:
    weight, known, other = numbers(ROWS, COLUMNS, seed=1), inputs(2), inputs(4)
    gram, report = known.T @ known / len(known), Report()

    def left(values: torch.Tensor, scales: torch.Tensor) -> float:
        assert values.dtype == torch.int8
        assert int(values.min()) >= -8
        assert int(values.max()) <= 7
        assert torch.equal(scales, scales.bfloat16().float())
        return float((other @ (weight - dequantize(values, scales)).T).norm())

    ours = left(*round_by_gram(weight, gram, report))
    assert ours < 0.8 * left(*round_weights(weight, gram.diagonal(), Report()))
    summary = report.summary()
    assert summary["groups"] == ROWS * COLUMNS // 32
    assert summary["relative_error"] < summary["relative_error_plain"]


def test_weights_that_can_be_stored_stay_as_they_are() -> None:
    values = torch.randint(-8, 8, (ROWS, COLUMNS), generator=torch.Generator().manual_seed(1))
    values[:, ::32] = -8
    scales = (0.01 + numbers(ROWS, COLUMNS // 32, seed=2).abs()).bfloat16().float()
    weight, known = dequantize(values, scales), inputs(3)
    assert torch.equal(dequantize(*round_by_gram(weight, known.T @ known, Report())), weight)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_changes_nothing(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weight, known = numbers(ROWS, COLUMNS, seed=1), inputs(2)
    gram = known.T @ known
    whole = round_by_gram(weight, gram, Report())
    monkeypatch.setattr("model_build.packing.gptq._PIECE", 16 * COLUMNS)  # rows in four pieces
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    values, scales = round_by_gram(weight, gram, Report())
    assert torch.equal(values, whole[0])
    assert torch.equal(scales, whole[1])


def test_inputs_that_were_never_used_do_no_harm() -> None:
    weight, known = numbers(ROWS, COLUMNS, seed=1), inputs(2)
    known[:, 40:90] = 0
    values, scales = round_by_gram(weight, known.T @ known, Report())
    assert (weight - dequantize(values, scales)).norm() < 0.15 * weight.norm()
    silent = round_by_gram(weight, torch.zeros(COLUMNS, COLUMNS), Report())
    assert (weight - dequantize(*silent)).norm() < 0.15 * weight.norm()
