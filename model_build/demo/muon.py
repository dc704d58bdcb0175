"""Muon for the matrices, AdamW for the rest.

Muon makes each matrix's momentum orthogonal (five Newton-Schulz steps) before it is applied; on small
Llamas it needs fewer tokens than AdamW alone. Matrices of one shape are worked on together.
"""

from __future__ import annotations

from collections import defaultdict
from typing import cast

import torch
from torch import Tensor, nn

from model_build.demo.device import BF16


def orthogonal(stack: Tensor, steps: int = 5) -> Tensor:
    """Roughly the nearest orthogonal matrices to a stack of them [n, rows, columns]: singular values near 1."""
    a, b, c = 3.4445, -4.7750, 2.0315  # Keller Jordan's quintic
    x = stack / (stack.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if BF16:  # three times as fast, and near enough
        x = x.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    out: Tensor = (x.mT if tall else x).to(stack.dtype)
    return out


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal, scaled so that its size is like Adam's whatever the shape."""

    def __init__(self, params: list[nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step for every matrix that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for param in group["params"]:
                if param.grad is not None:
                    shapes[param.shape].append(param)
            for shape, params in shapes.items():
                updates = []
                for param in params:
                    state = self.state[param]
                    momentum = state.setdefault("momentum", torch.zeros_like(param))
                    grad = cast(Tensor, param.grad)
                    momentum.lerp_(grad, 1 - group["momentum"])
                    updates.append(grad.lerp(momentum, group["momentum"]))
                scale = group["lr"] * max(1, shape[0] / shape[1]) ** 0.5
                for param, update in zip(params, orthogonal(torch.stack(updates)), strict=True):
                    param.mul_(1 - group["lr"] * group["decay"]).add_(update, alpha=-scale)
