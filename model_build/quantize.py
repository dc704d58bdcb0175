"""Rounds weights to INT4 in groups of 32 with one signed bfloat16 scale a group.

torchao's symmetric rounding is the start. A search over scales of both signs, each rounded to
bfloat16 before it is judged, takes its place in every group where it leaves less error; `Report`
counts how often that was. Error is weighted by how strongly each input is used when that is known.

Knows nothing of files or layouts.
"""

from __future__ import annotations

import functools
import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

GROUP = 32

#: Where the group's largest weight may come to lie. The range is -8..7, so eight steps one way, seven the other.
_REACHES = (-9.0, -8.5, -8.1, -7.8, -7.5, -7.1, -6.6, 6.6, 7.1, 7.4, 7.8)
#: Weights worked on at a time, so that they stay in the processor's cache.
_PIECE = 1 << 18


@dataclass
class Report:
    """What rounding did, summed over all matrices: groups, those where the search won, squared errors."""

    groups: int = 0
    searched: int = 0
    error: float = 0.0
    torchao_error: float = 0.0
    power: float = 0.0
    notes: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """Shares and relative root-mean-square errors, for the manifest."""
        return {
            "groups": self.groups,
            "groups_where_search_won": round(self.searched / max(self.groups, 1), 4),
            "relative_error": round((self.error / max(self.power, 1e-30)) ** 0.5, 5),
            "relative_error_torchao": round((self.torchao_error / max(self.power, 1e-30)) ** 0.5, 5),
        }


def round_weights(weight: Tensor, importance: Tensor | None, report: Report) -> tuple[Tensor, Tensor]:
    """Weights -8..7 (int8 [rows, columns]) and scales (float32 [rows, columns / 32], exact in bfloat16).

    `weight` is float32 [rows, columns]; `importance` [columns] is the mean square of each input.
    """
    rows, columns = weight.shape
    values = torch.empty(rows, columns, dtype=torch.int8)
    scales = torch.empty(rows, columns // GROUP)
    weights = None if importance is None else (importance / importance.mean()).clamp_min(1e-6).view(1, -1, GROUP)
    step = max(1, _PIECE // columns)

    def round_piece(at: int) -> tuple[int, int, float, float, float]:
        part = weight[at : at + step]
        groups = part.reshape(len(part), -1, GROUP)
        importances = torch.ones_like(groups) if weights is None else weights.expand_as(groups)
        found_values, found_scales, errors, first = _search(groups, importances, *_torchao(part))
        values[at : at + step] = found_values.view(len(part), columns)
        scales[at : at + step] = found_scales.squeeze(-1)
        power = float((groups.square() * importances).double().sum())
        return (
            errors.numel(),
            int((errors < first).sum()),
            float(errors.double().sum()),
            float(first.double().sum()),
            power,
        )

    _primitives()  # imported once, before there are threads
    # A thread a piece: torch's own threads wait for one another after every small step, which on a
    # machine with other work takes a hundred times as long.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(before) as pool:
            for count, searched, error, first_error, power in pool.map(round_piece, range(0, rows, step)):
                report.groups += count
                report.searched += searched
                report.error += error
                report.torchao_error += first_error
                report.power += power
    finally:
        torch.set_num_threads(before)
    return values, scales


def round_embedding(weight: Tensor) -> tuple[Tensor, Tensor]:
    """An embedding to int8 in groups of 32: values [rows, columns] and bfloat16 scales [rows, columns / 32]."""
    groups = weight.float().view(len(weight), -1, GROUP)
    scales = (groups.abs().amax(-1) / 127).clamp_min(1e-12).bfloat16()
    values = (groups / scales.float()[..., None]).round().clamp(-127, 127).to(torch.int8)
    return values.view_as(weight), scales


def _torchao(part: Tensor) -> tuple[Tensor, Tensor]:
    """torchao's own rounding, as when it packs for KleidiAI."""
    mapping, choose, quantize = _primitives()
    block = (1, GROUP)
    scale, zero = choose(part, mapping, block, torch.int8, -8, 7, zero_point_dtype=torch.int8)
    # Its own order: the scale becomes bfloat16, then its bfloat16 inverse rounds the weights.
    scale = scale.view(len(part), -1).bfloat16()
    values = quantize(part, block, scale, zero, torch.int8, -8, 7)
    return values.view(len(part), -1, GROUP), scale.float()[..., None]


@functools.cache
def _primitives() -> tuple[Any, Any, Any]:
    logging.getLogger("torchao").setLevel(logging.ERROR)  # it warns that its compiled parts are not in use
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchao.quantization.quant_primitives import MappingType, choose_qparams_affine, quantize_affine
    return MappingType.SYMMETRIC, choose_qparams_affine, quantize_affine


def _search(
    groups: Tensor, importance: Tensor, values: Tensor, scales: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The better of the given rounding and every candidate's, group by group; its errors and the given one's."""
    best_values, best_scales = values.clone(), scales.clone()
    first = best = _error(groups, importance, values, scales)
    extreme = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    candidates = [extreme / reach for reach in _REACHES]
    for number in range(len(candidates) + 1):
        if number < len(candidates):
            scale = candidates[number]
        else:  # last, the scale that fits the best rounding so far
            whole = best_values.float()
            fit = (importance * groups * whole).sum(-1, keepdim=True)
            scale = fit / (importance * whole * whole).sum(-1, keepdim=True).clamp_min(1e-30)
        scale = scale.bfloat16().float()
        scale = torch.where(scale == 0, 1e-9, scale)
        rounded = (groups / scale).round_().clamp_(-8, 7)
        error = _error(groups, importance, rounded, scale)
        won = error < best
        best = torch.where(won, error, best)
        best_scales = torch.where(won[..., None], scale, best_scales)
        best_values = torch.where(won[..., None], rounded.to(torch.int8), best_values)
    return best_values, best_scales, best, first


def _error(groups: Tensor, importance: Tensor, values: Tensor, scales: Tensor) -> Tensor:
    return (importance * (groups - values * scales).square_()).sum(-1)
