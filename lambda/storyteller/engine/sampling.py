"""Chooses the next token from logits."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from torch import Tensor

from .errors import EngineError
from .request import Sampling, TokenLogprob


class Sampler:
    """One reply's choices. The same seed and the same logits give the same tokens, on any machine.

    Each choice but a greedy one draws exactly one random number, so that drafting tokens ahead
    changes nothing; a token that a grammar refuses takes a second choice.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        # Without a seed each reply draws its own from the system: a restored snapshot repeats nothing.
        self._random = random.Random(sampling.seed)

    def sample(self, logits: Tensor, history: Sequence[int]) -> int:
        """The next token's id for `logits` [vocab], after `history`."""
        s = self._sampling
        if not math.isfinite(float(logits.max())):
            raise EngineError("The model's logits are no numbers: its weights are broken; download it again.")
        if s.repetition_penalty != 1.0 and history:
            logits = _penalized(logits, history[-s.repetition_window :], s.repetition_penalty)
        if s.temperature == 0.0:
            return int(logits.argmax())
        logits = logits.double()
        if s.min_p > 0.0:
            # before the temperature, so that a warm story still never takes what the model hardly believes
            logits = logits.masked_fill(logits < logits.max() + math.log(s.min_p), -math.inf)
        if 0 < s.top_k < len(logits):
            logits = logits.masked_fill(logits < logits.topk(s.top_k).values[-1], -math.inf)
        weights = torch.softmax(logits / s.temperature, dim=-1)
        if s.top_p < 1.0:
            weights, ids = _nucleus(weights, s.top_p)
        else:
            ids = None
        sums = weights.cumsum(0)
        drawn = self._random.random() * float(sums[-1])
        place = min(int(torch.searchsorted(sums, drawn, right=True)), len(sums) - 1)
        return place if ids is None else int(ids[place])


def token_logprobs(logits: Tensor, tokens: Sequence[int], top_logprobs: int) -> list[TokenLogprob]:
    """The log-probability of each row's token under plain softmax of `logits` [rows, vocab], and the likeliest ones."""
    logs = torch.log_softmax(logits.double(), dim=-1)
    found = logs.gather(1, torch.tensor(tokens)[:, None])[:, 0].tolist()
    best = logs.topk(min(top_logprobs, logs.shape[1]))
    tops = [
        tuple(zip(ids, values, strict=True))
        for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
    return [TokenLogprob(token, value, top) for token, value, top in zip(tokens, found, tops, strict=True)]


def _penalized(logits: Tensor, history: Sequence[int], penalty: float) -> Tensor:
    seen = torch.tensor(sorted(set(history)))
    scores = logits[seen]
    logits = logits.clone()
    logits[seen] = torch.where(scores < 0, scores * penalty, scores / penalty)
    return logits


def _nucleus(weights: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The fewest likeliest tokens that together reach `top_p`, in falling order."""
    size = 128
    while True:
        # Sorting a vocabulary of 128,000 takes milliseconds, and the nucleus is nearly always small.
        size = min(size, len(weights))
        best = weights.topk(size)
        ahead = best.values.cumsum(0) - best.values
        kept = int((ahead < top_p).sum())
        if kept < size or size == len(weights):
            return best.values[:kept], best.indices[:kept]
        size *= 8
