"""Rounds weights to INT4 in groups of 32 with one signed bfloat16 scale a group.

torchao's symmetric rounding is the start. A search over scales of both signs, each rounded to
bfloat16 before it is judged, takes its place in every group where it leaves less error; `Report`
counts how often that was. Error is weighted by how strongly each input is used when that is known.
A second INT4 matrix can hold what the first one leaves: together they are as good as 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

GROUP = 32

#: Where the group's largest weight may come to lie. The range is -8..7, so eight steps one way, seven the other.
_REACHES = (-9.0, -8.5, -8.1, -7.8, -7.5, -7.1, -6.6, 6.6, 7.1, 7.4, 7.8)
#: Weights worked on at a time, so that they stay in the processor's cache.
_PIECE = 1 << 17


@dataclass
class Report:
    """What rounding did, summed over all matrices: groups, those where the search won, squared errors."""

    groups: int = 0
    searched: int = 0
    error: float = 0.0
    plain_error: float = 0.0
    power: float = 0.0

    def add(self, other: Report) -> None:
        """Adds another's sums."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def summary(self) -> dict[str, float]:
        """Shares and relative root-mean-square errors, for the manifest."""
        return {
            "groups": self.groups,
            "groups_where_search_won": round(self.searched / max(self.groups, 1), 4),
            "relative_error": round((self.error / max(self.power, 1e-30)) ** 0.5, 5),
            "relative_error_plain": round((self.plain_error / max(self.power, 1e-30)) ** 0.5, 5),
        }


def round_weights(weight: Tensor, importance: Tensor | None, report: Report) -> tuple[Tensor, Tensor]:
    """Weights -8..7 (int8 [rows, columns]) and scales (float32 [rows, columns / 32], exact in bfloat16).

    `weight` is float32 [rows, columns]; `importance` [columns] is the mean square of each input.
    """
    columns = weight.shape[1]
    relative = None if importance is None else (importance / importance.mean()).clamp_min(1e-6).expand_as(weight)

    def round_piece(at: slice) -> tuple[Tensor, Tensor, Report]:
        part = weight[at]
        shares = None if relative is None else relative[at]
        found, scale, errors, first = search(_groups(part), None if shares is None else _groups(shares))
        power = part.square() if shares is None else part.square() * shares
        won = int((errors < first).sum())
        done = Report(errors.numel(), won, total(errors), total(first), total(power))
        return found.T.reshape(len(part), columns), scale.view(len(part), -1), done

    return in_pieces(weight.shape, _PIECE, round_piece, report)


def in_pieces(
    shape: torch.Size, size: int, round_piece: Callable[[slice], tuple[Tensor, Tensor, Report]], report: Report
) -> tuple[Tensor, Tensor]:
    """Values and scales of a matrix of which `round_piece` rounds some rows, about `size` weights at a time."""
    rows, columns = shape
    values = torch.empty(rows, columns, dtype=torch.int8)
    scales = torch.empty(rows, columns // GROUP)
    step = max(1, size // columns)
    pieces = [slice(at, at + step) for at in range(0, rows, step)]
    # A thread a piece: torch's own threads wait for one another after every small step, which on a
    # machine with other work takes a hundred times as long.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(before) as pool:
            for piece, (found, scale, done) in zip(pieces, pool.map(round_piece, pieces), strict=True):
                values[piece], scales[piece] = found, scale
                report.add(done)
    finally:
        torch.set_num_threads(before)
    return values, scales


def dequantize(values: Tensor, scales: Tensor) -> Tensor:
    """The weights that rounded ones stand for, float32 [rows, columns]."""
    return (values.view(*scales.shape, GROUP) * scales[..., None]).view(values.shape)


def round_embedding(weight: Tensor) -> tuple[Tensor, Tensor]:
    """An embedding to int8 in groups of 32: values [rows, columns] and bfloat16 scales [rows, columns / 32]."""
    groups = weight.float().view(len(weight), -1, GROUP)
    scales = (groups.abs().amax(-1) / 127).clamp_min(1e-12).bfloat16()
    values = (groups / scales.float()[..., None]).round().clamp(-127, 127).to(torch.int8)
    return values.view_as(weight), scales


def _groups(x: Tensor) -> Tensor:
    """[rows, columns] as [32, groups], so that steps over a group's members run along memory."""
    return x.reshape(-1, GROUP).T.contiguous()


def total(x: Tensor) -> float:
    """The sum, added up in float64."""
    return float(x.sum(dtype=torch.float64))


def round_plainly(weights: Tensor) -> tuple[Tensor, Tensor]:
    """torchao's symmetric rounding of groups [32, groups]: whole numbers, as float32, and scales [groups]."""
    reach = torch.maximum(weights.amax(0), -weights.amin(0)).clamp_min(0)
    scale = (reach / 7.5).clamp_min(torch.finfo(torch.float32).eps).bfloat16()
    # Its own order: the scale becomes bfloat16, then its bfloat16 inverse rounds the weights.
    return (weights * (1.0 / scale).float()).round_().clamp_(-8, 7), scale.float()


def search(weights: Tensor, importance: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best of the plain rounding and every candidate's, group by group.

    Values [32, groups] and scales [groups]; the errors that they leave [groups], and those of the plain rounding.
    """
    values, scales = round_plainly(weights)
    rounded, rest = torch.empty_like(weights), torch.empty_like(weights)

    def error(whole: Tensor, scale: Tensor) -> Tensor:
        torch.addcmul(weights, whole, scale, value=-1, out=rest).square_()
        return (rest if importance is None else rest.mul_(importance)).sum(0)

    def round_by(scale: Tensor) -> Tensor:
        return torch.mul(weights, scale.reciprocal(), out=rounded).round_().clamp_(-8, 7)

    first = error(values, scales)
    best, best_scales = first, scales
    low, high = weights.amin(0), weights.amax(0)
    extreme = torch.where(high > -low, high, low)
    for reach in _REACHES:
        scale = storable(extreme / reach)
        found = error(round_by(scale), scale)
        best_scales = torch.where(found < best, scale, best_scales)
        best = torch.minimum(found, best)
    # Then the scale that fits this rounding best, and at last the rounding that fits that scale.
    given = best >= first
    whole = torch.where(given, values, round_by(best_scales))
    weighted = whole if importance is None else whole * importance
    fit = storable((weighted * weights).sum(0) / (weighted * whole).sum(0).clamp_min(1e-30))
    for again in (whole, round_by(fit).clone()):
        found = error(again, fit)
        won = found < best
        best_scales, best = torch.where(won, fit, best_scales), torch.minimum(found, best)
        whole = torch.where(won, again, whole)
    return whole.to(torch.int8), best_scales, best, first


def storable(scale: Tensor) -> Tensor:
    """A scale as bfloat16 keeps it, never 0."""
    scale = scale.bfloat16().float()
    return torch.where(scale == 0, 1e-9, scale)
