"""Causal attention for training on a CPU, in blocks of queries.

Each block multiplies only with the keys that it may see, as plain matrix products, which oneDNN runs in
bfloat16; torch's own attention for CPUs does not, and took half of a step. Knows nothing of a model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: Queries in a block.
BLOCK = 128


class _Causal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        groups, tokens = q.shape[2:4]
        shares, out = [], torch.empty_like(q)
        hidden = torch.full((BLOCK, BLOCK), float("-inf"), dtype=q.dtype).triu(1)
        for start in range(0, tokens, BLOCK):
            end = min(tokens, start + BLOCK)
            scores = q[:, :, :, start:end].flatten(2, 3) @ k[:, :, :end].mT
            scores[..., start:] += hidden[: end - start, : end - start].repeat(groups, 1)
            share = torch.softmax(scores, -1)
            out[:, :, :, start:end] = (share @ v[:, :, :end]).view_as(out[:, :, :, start:end])
            shares.append(share)
        ctx.save_for_backward(q, k, v, *shares)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, *shares = ctx.saved_tensors
        grad, tokens = grads[0], q.shape[3]
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for number, share in enumerate(shares):
            start, end = number * BLOCK, min(tokens, (number + 1) * BLOCK)
            told = grad[:, :, :, start:end].flatten(2, 3)
            dv[:, :, :end] += share.mT @ told
            dshare = told @ v[:, :, :end].mT
            dscores = torch._softmax_backward_data(dshare, share, -1, share.dtype)
            dq[:, :, :, start:end] = (dscores @ k[:, :, :end]).view_as(q[:, :, :, start:end])
            dk[:, :, :end] += dscores.mT @ q[:, :, :, start:end].flatten(2, 3)
        return dq, dk, dv


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of `q` [batch, kv heads, groups, tokens, head], scaled already, over `k` and `v`
    [batch, kv heads, tokens, head]; the shape of `q`."""
    out: Tensor = _Causal.apply(q, k, v)  # type: ignore[no-untyped-call]
    return out
