"""Evens out the inputs of a layer's matrices, so that rounding them and their weights costs less.

The kernels round a matrix' inputs to 8 bits between a row's least and greatest value: a few large inputs leave the
others few steps. Dividing an input by a factor and multiplying its column of weights by the same changes no output. The
division itself costs nothing: it goes into the norm before the matrix, or into the rows of `up` before `down`. The
inputs of the attention's `out` and of the head stay as they are: those hardly suffer, and a tied head is the embedding.

Methods: Xiao et al., "SmoothQuant", 2022; Lin et al., "AWQ", 2023.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: The part of the inputs' differences in size, by their logarithms, that goes over to the weights.
_SHARE = 0.5
#: The layers' matrices whose inputs are divided.
BALANCED = ("qkv", "gate_up", "down")


def divisors(magnitudes: Tensor) -> Tensor:
    """What to divide inputs of these mean magnitudes [columns] by, about 1 on the whole."""
    logs = magnitudes.clamp_min(1e-6).log() * _SHARE
    return torch.exp(logs - logs.mean())


def divide_rows(gate_up: Tensor, by: Tensor) -> Tensor:
    """Gate and up stacked, weights or biases, with the rows of `up` divided: `down`'s inputs come out so."""
    gate, up = gate_up.chunk(2)
    return torch.cat([gate, up / (by[:, None] if up.dim() == 2 else by)])
