"""Weights as INT4 will round them, for the last part of the training.

A model that cools with its weights on INT4's grid loses nothing when it is packed: groups of 32 weights, each a whole
number from -8 to 7 times the group's scale, a bfloat16, as `model_build.quantize` finds them again. Gradients go to the
weights behind the rounding (the straight-through estimator of Bengio et al., 2013). Knows no optimizer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from model_build.quantize import GROUP


def to_grid(weight: Tensor) -> Tensor:
    """A matrix [rows, columns] with every group rounded; its largest weight by size comes to lie at -8."""
    groups = weight.view(len(weight), -1, GROUP)
    largest = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    scale = (largest / -8).bfloat16().float()
    scale = torch.where(scale == 0, 1e-9, scale)
    return (groups / scale).round_().clamp_(-8, 7).mul_(scale).view_as(weight)


@contextmanager
def on_grid(model: nn.Module) -> Iterator[None]:
    """The model with every matrix rounded while the context lasts; the weights behind come back at its end."""
    matrices = [weight for weight in model.parameters() if weight.dim() == 2]
    behind = [weight.data for weight in matrices]
    try:
        for weight in matrices:
            weight.data = to_grid(weight.data)
        yield
    finally:
        for weight, data in zip(matrices, behind, strict=True):
            weight.data = data
