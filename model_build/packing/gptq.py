"""Rounds a matrix group by group, so that later columns make up for the errors of earlier ones: GPTQ.

What is kept small is the error of a row's outputs, (w - q) G (w - q)', where G, the gram matrix of the inputs,
says how they go together; the search in `quantize` sees only its diagonal. G is measured on some thousand tokens, and
on another text much of what it says beside the diagonal does not hold. So that part counts for a share, `TRUST`: taken
at its word, it makes GPTQ worse than the search (docs/benchmarks.md, "What does rounding cost?").

Method: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model_build.packing.quantize import GROUP, Report, in_pieces, round_plainly, search, storable, total

#: How much of the gram matrix beside its diagonal is believed.
TRUST = 0.5
#: Added to the diagonal, whose mean is 1: some inputs were never used.
_DAMPING = 1e-3
#: Weights of the rows that are worked on at a time.
_PIECE = 1 << 20


def round_by_gram(weight: Tensor, gram: Tensor, report: Report) -> tuple[Tensor, Tensor]:
    """Weights -8..7 (int8 [rows, columns]) and scales (float32 [rows, columns / 32], exact in bfloat16).

    `weight` is float32 [rows, columns]; `gram` [columns, columns] is the mean outer product of its inputs.
    """
    factor = _factor(gram / gram.diagonal().mean().clamp_min(1e-12))
    groups = [_Group(factor, at) for at in range(0, len(gram), GROUP)]

    def round_piece(rows: slice) -> tuple[Tensor, Tensor, Report]:
        left = weight[rows].T.contiguous()  # [columns, rows]: what is yet to be rounded, earlier errors made up for
        values, scales, done = torch.empty_like(left), torch.empty(len(groups), left.shape[1]), Report()
        for number, group in enumerate(groups):
            at = slice(number * GROUP, (number + 1) * GROUP)
            values[at], scales[number] = group.round(left[at], done)
            rest = group.inverse.T @ torch.addcmul(left[at], values[at], scales[number], value=-1)
            left[at.stop :].addmm_(factor[at, at.stop :].T, rest, alpha=-1)
        return values.T, scales.T, done

    return in_pieces(weight.shape, _PIECE, round_piece, report)


def _factor(gram: Tensor) -> Tensor:
    """The upper triangle U with U' U = G^-1, whose rows say what a column's error does to the later ones."""
    blended = TRUST * gram
    blended.diagonal().copy_(gram.diagonal() + _DAMPING)
    factor: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(blended)), upper=True)
    return factor


class _Group:
    """A group's 32 columns: how an error in one is made up for in the next, and what all of them cost."""

    def __init__(self, factor: Tensor, at: int) -> None:
        own = factor[at : at + GROUP, at : at + GROUP]
        self.inverse = torch.linalg.solve_triangular(own, torch.eye(GROUP), upper=True)
        #: The outputs' error for an error e in this group, when all later columns make up for it: e' cost e.
        self._cost = self.inverse @ self.inverse.T
        self._following = own / own.diagonal()[:, None]
        importance = own.diagonal() ** -2
        self._importance = (importance / importance.mean()).clamp_min(1e-6)[:, None]

    def round(self, weights: Tensor, report: Report) -> tuple[Tensor, Tensor]:
        """Whole numbers, as float32, and scales [rows] for weights [32, rows]; what they cost goes into `report`."""
        scale = search(weights, self._importance.expand_as(weights))[1]
        values = self._in_turn(weights, scale)
        # Then the scale that fits this rounding best, with it or with the rounding that fits that scale.
        pushed = self._cost @ values
        fit = storable((pushed * weights).sum(0) / (pushed * values).sum(0).clamp_min(1e-30))
        best, least = scale, self._error(weights, values, scale)
        for again in (values, self._in_turn(weights, fit)):
            error = self._error(weights, again, fit)
            won = error < least
            values, best, least = torch.where(won, again, values), torch.where(won, fit, best), error.minimum(least)
        plain, power = self._error(weights, *round_plainly(weights)), (weights * (self._cost @ weights)).sum(0)
        report.add(Report(least.numel(), int((least < plain).sum()), total(least), total(plain), total(power)))
        return values, best

    def _in_turn(self, weights: Tensor, scale: Tensor) -> Tensor:
        """The weights rounded one column after another, each error made up for in the columns after it."""
        left, values, inverse = weights.clone(), torch.empty_like(weights), scale.reciprocal()
        for place in range(GROUP):
            torch.mul(left[place], inverse, out=values[place]).round_().clamp_(-8, 7)
            error = torch.addcmul(left[place], values[place], scale, value=-1)
            left[place + 1 :].addr_(self._following[place, place + 1 :], error, alpha=-1)
        return values

    def _error(self, weights: Tensor, values: Tensor, scale: Tensor) -> Tensor:
        rest = torch.addcmul(weights, values, scale, value=-1)
        error: Tensor = (rest * (self._cost @ rest)).sum(0)
        return error
