"""Other engines that `bench.energy` measures beside ours: transformers, and llama.cpp where its package is.

Each computes what its cache lacks of a prompt and then a token at a time, as ours does.
"""

from __future__ import annotations

import importlib
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from storyteller.engine import Completion, EngineError, Sampling


class Player(Protocol):
    """What is measured: ours, `Transformers` or `LlamaCpp`."""

    def encode(self, text: str) -> list[int]:
        """The text's tokens."""

    def generate(self, ids: list[int], sampling: Sampling) -> Completion:
        """Goes on for `max_tokens`, greedily; what it still has of the prompt is not computed again."""


class Cached(ABC):
    """An engine that keeps the cache of its last prompt and reply."""

    _ids: list[int]

    def generate(self, ids: list[int], sampling: Sampling) -> Completion:
        """One pass over what the cache lacks, then one pass and one argmax a token."""
        began, reused = time.monotonic(), common(ids, self._ids)
        self._keep(reused)
        token = self._step(ids[reused:])
        ttft_s, told = time.monotonic() - began, [token]
        while len(told) < sampling.max_tokens:
            told.append(self._step(told[-1:]))
        self._ids = [*ids, *told[:-1]]
        return Completion("", "length", len(told), len(ids), reused, ttft_s, time.monotonic() - began, ids=tuple(told))

    @abstractmethod
    def _keep(self, count: int) -> None:
        """Leaves the first tokens in the cache, and no others."""

    @abstractmethod
    def _step(self, ids: list[int]) -> int:
        """Computes these tokens behind those in the cache; the likeliest next one."""


class Transformers(Cached):
    """Its own Llama in bfloat16. It keeps the cache of its last prompt and reply, as ours does."""

    def __init__(self, path: Path, threads: int) -> None:
        import torch
        from tokenizers import Tokenizer
        from transformers import DynamicCache, LlamaForCausalLM

        torch.set_num_threads(threads)
        self._torch, self._new_cache = torch, DynamicCache
        self._tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        self._model = LlamaForCausalLM.from_pretrained(path, dtype=torch.bfloat16).train(False)
        self._ids = []
        self._cache: Any = None

    def encode(self, text: str) -> list[int]:
        """The text's tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _keep(self, count: int) -> None:
        if self._cache is None:
            self._cache = self._new_cache(config=self._model.config)
        if count < len(self._ids):
            self._cache.crop(count - len(self._ids))  # negative: how many to forget

    def _step(self, ids: list[int]) -> int:
        with self._torch.inference_mode():
            wanted = self._torch.tensor([ids])
            out = self._model(wanted, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        return int(out.logits[0, -1].argmax())


class LlamaCpp(Cached):
    """llama.cpp on a GGUF file as it is. Raises EngineError where llama-cpp-python is not installed."""

    def __init__(self, path: Path, threads: int) -> None:
        try:
            llama_cpp: Any = importlib.import_module("llama_cpp")
        except ImportError as error:
            raise EngineError(
                f"llama.cpp cannot be measured ({error}): install llama-cpp-python (bench/engine/requirements.txt) and "
                "give its folder in PYTHONPATH, or leave --engine llama.cpp out."
            ) from None
        self._llama = llama_cpp.Llama(
            str(path), n_ctx=2048, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False
        )
        self._ids = []

    def encode(self, text: str) -> list[int]:
        """The text's tokens."""
        return list(self._llama.tokenize(text.encode(), add_bos=False))

    def _keep(self, count: int) -> None:
        self._llama.n_tokens = count  # `eval` forgets what is beyond

    def _step(self, ids: list[int]) -> int:
        self._llama.eval(ids)
        logits = np.ctypeslib.as_array(self._llama._ctx.get_logits(), shape=(self._llama.n_vocab(),))
        return int(logits.argmax())


def common(ids: Sequence[int], cached: Sequence[int]) -> int:
    """How many tokens of a prompt are in the cache; its last one is always computed."""
    pairs = enumerate(zip(ids[:-1], cached, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(ids) - 1, len(cached)))
