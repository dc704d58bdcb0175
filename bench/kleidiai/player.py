"""One Llama of random weights on arm64, its matrices multiplied in one of several ways: what `bench.kleidiai` runs.

    python -m bench.kleidiai.player count SHAPE WAY LAYERS AT ROWS    marks what is counted for the plugin
    python -m bench.kleidiai.player play SHAPE WAY THREADS            takes orders as `players` do, on a real machine

The ways: `ours`, the C++ kernels as the engine runs them, all layers in one call; `KleidiAI`, torch's INT4 operator
on the same bytes; `fallback`, that operator on what torch packs where KleidiAI is not to be had; `float32`, weights
that were never rounded. All have the same attention and norms. Imports nothing that `scripts/arm64` does not install.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.engine.players import play
from bench.engine.random_llama import random_packed, shape_config
from storyteller.engine.files.bundle import head_rows, matrices
from storyteller.engine.files.config import LlamaConfig
from storyteller.engine.files.layout import GROUP, packed_bytes
from storyteller.engine.kernels import Kernel, choose_kernel
from storyteller.engine.linears import Dense, Kleidi, Linear
from storyteller.engine.model import Layer, Llama
from storyteller.engine.native import NativeLinear
from storyteller.engine.ops import Operations, TorchOperations

WAYS = ("ours", "KleidiAI", "fallback", "float32")
#: KleidiAI with stock torch's attention, which is what the engine does without its C++ library.
TORCH_ATTENTION = "KleidiAI, torch's attention"

#: Tokens that prompt lookup drafts, which are checked together with the one that is sure.
DRAFTED = 3
_MARK = 4242
_CONTEXT = 1024


class Fallback:
    """torch's INT4 operator where KleidiAI is not to be had: packed to float32, multiplied one by one."""

    def __init__(self, rows: int, columns: int) -> None:
        block = torch.randint(0, 256, (256, columns // 2), dtype=torch.uint8)
        pairs = block.repeat(-(-rows // 256), 1)[:rows]
        scales = torch.full((rows, columns // GROUP), 0.25 / columns**0.5)
        # Scales that are not bfloat16 take the same way as a processor that is not recognized.
        self._packed = torch.ops.aten._dyn_quant_pack_4bit_weight(pairs, scales, None, GROUP, columns, rows)
        if self._packed.dtype != torch.float32:
            raise SystemExit(f"torch {torch.__version__} packs these weights as {self._packed.dtype}: no fallback.")
        self._rows, self._columns = rows, columns

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """[tokens, rows] for `x` [tokens, columns]."""
        y: Tensor = torch.ops.aten._dyn_quant_matmul_4bit(x, self._packed, GROUP, self._columns, self._rows)
        return y if onto is None else onto + y


def make_linear(way: str, kernel: Kernel, rows: int, columns: int) -> Linear:
    """A matrix of random weights, with memory of its own."""
    if way == "float32":
        return Dense(torch.full((rows, columns), 0.25 / columns**0.5))
    if way == "fallback":
        return Fallback(rows, columns)
    packed = torch.from_numpy(np.concatenate([*random_packed(columns, packed_bytes(rows, columns))]))
    return kernel.linear(packed, rows, columns)


def build(config: LlamaConfig, way: str, threads: int) -> Llama:
    """The model, every layer with weights of its own. Raises EngineError where there is no KleidiAI."""
    torch.set_num_threads(threads)
    chosen = choose_kernel("native" if way == "ours" else "kleidi", config, threads)
    operations: Operations = chosen.operations
    if way == TORCH_ATTENTION:
        operations = TorchOperations(config, torch.float16, rowwise=True)
    row = torch.ones(config.dim)
    layers = [
        Layer(
            attention_norm=row,
            mlp_norm=row,
            **{name: make_linear(way, chosen, *shape) for name, shape in matrices(config).items()},
        )
        for _ in range(config.layers)
    ]
    table = torch.randn(256, config.dim, generator=torch.Generator().manual_seed(1))
    embed: Callable[[Tensor], Tensor] = lambda ids: table[ids % 256]  # noqa: E731 - as `build_dense` has it
    head = make_linear(way, chosen, head_rows(config), config.dim)
    return Llama(
        config,
        embed,
        layers,
        row,
        head,
        operations,
        name=way,
        context=_CONTEXT,
        batch_invariant=True,
        cheap_batches=False,
    )


class Random:
    """A player, as `players` has them."""

    def __init__(self, shape: str, way: str, threads: int) -> None:
        self._model = build(shape_config(shape), way, threads)
        self._cache: Any = None
        self._at = self._token = 0

    def prefill(self, ids: list[int]) -> None:
        """The whole prompt, in the parts in which the engine computes it."""
        self._cache, self._at = self._model.new_cache(), len(ids)
        for at in range(0, len(ids), 64):
            logits = self._model.forward(ids[at : at + 64], at, self._cache)
        self._token = int(logits[0].argmax())

    def decode(self, count: int) -> None:
        """One forward pass and one argmax a token."""
        for _ in range(count):
            logits = self._model.forward([self._token], self._at, self._cache)
            self._at, self._token = self._at + 1, int(logits[0].argmax())


def count(shape: str, way: str, layers: int, at: int, rows: int) -> None:
    """Marks one token after `at` others, then a token and a draft of three, then a prompt of `rows` tokens."""
    mark = functools.partial(ctypes.CDLL(None).syscall, _MARK)
    model = build(dataclasses.replace(shape_config(shape), layers=layers), way, 1)
    cache = model.new_cache()
    cache.keys.zero_()
    cache.values.zero_()
    model.forward([1], at, cache)  # what is done once is done now
    for ids, wanted in (([2], 1), (list(range(DRAFTED + 1)), DRAFTED + 1), (list(range(rows)), 1)):
        mark(0)
        logits = model.forward(ids, at, cache, rows=wanted)
        mark(1)
        assert len(logits) == wanted
    kinds = {NativeLinear: "uint8", Kleidi: "uint8", Fallback: "float32", Dense: "dense"}
    print(f"{way}: {kinds[type(model._layers[0].qkv)]}, {model.operations.name}", file=sys.stderr)


def main() -> None:
    """The command: `count` or `play`, and what each takes."""
    what, shape, way, *numbers = sys.argv[1:]
    if what == "count":
        count(shape, way, *map(int, numbers))
    else:
        play(lambda: Random(shape, way, int(numbers[0])))


if __name__ == "__main__":
    main()
