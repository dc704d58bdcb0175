"""Engines that can be timed side by side: ours, llama.cpp and transformers, each in a process of its own.

A player reads one order a line and answers one line of JSON, so that a bench can let them play in
turns on a machine whose speed changes from minute to minute:

    prefill N    computes a prompt of N tokens        {"s": seconds}
    decode N     goes on for N tokens after a prompt  {"s": seconds}
    memory       the most memory used so far          {"bytes": bytes}

The first line says how long loading took. Weights are random: what is said has no meaning.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parents[2]


class Player(Protocol):
    """What is timed."""

    def prefill(self, ids: list[int]) -> None:
        """Computes a prompt from nothing."""

    def decode(self, count: int) -> None:
        """Goes on, always with the likeliest token."""


class Ours:
    """Overture's engine on a bundle, without drafting ahead."""

    def __init__(self, path: Path, threads: int, kernel: Any = "auto") -> None:
        from storyteller.engine import load_engine

        engine = load_engine(
            path, threads=threads, chat=False, context=2048, kernel=kernel, cache_slots=1, speculate=False
        )
        self._model: Any = engine._model
        self._cache = self._model.new_cache()
        self._at, self._token = 0, 0

    def prefill(self, ids: list[int]) -> None:
        """In parts of 128, as the engine computes a long prompt on a machine quick enough."""
        for at in range(0, len(ids), 128):
            logits = self._model.forward(ids[at : at + 128], at, self._cache)
        self._at, self._token = len(ids), int(logits[0].argmax())

    def decode(self, count: int) -> None:
        """One forward pass and one argmax a token."""
        for _ in range(count):
            logits = self._model.forward([self._token], self._at, self._cache)
            self._at, self._token = self._at + 1, int(logits[0].argmax())


class LlamaCpp:
    """llama.cpp through its low-level Python binding."""

    def __init__(self, path: Path, threads: int) -> None:
        llama_cpp: Any = importlib.import_module("llama_cpp")

        self._llama = llama_cpp.Llama(
            str(path),
            n_ctx=2048,
            n_batch=512,
            n_threads=threads,
            n_threads_batch=threads,
            logits_all=False,
            verbose=False,
        )
        self._token = 0

    def prefill(self, ids: list[int]) -> None:
        """The whole prompt in one batch."""
        self._llama.reset()
        self._llama._ctx.kv_cache_clear()
        self._llama.eval(ids)

    def decode(self, count: int) -> None:
        """One evaluation and one argmax a token."""
        import numpy as np

        vocab = self._llama.n_vocab()
        for _ in range(count):
            logits = np.ctypeslib.as_array(self._llama._ctx.get_logits(), shape=(vocab,))
            self._llama.eval([int(logits.argmax())])


class Transformers:
    """Hugging Face's own model in bfloat16, random weights."""

    def __init__(self, shape: str, threads: int) -> None:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        from bench.engine.random_llama import SHAPES

        torch.set_num_threads(threads)
        settings = {key: value for key, value in SHAPES[shape].items() if key != "model_type"}
        with torch.device("meta"):
            model = LlamaForCausalLM(LlamaConfig(**settings)).bfloat16()
        model = model.to_empty(device="cpu")
        for parameter in model.parameters():
            parameter.data.normal_(0, 0.02)
        # What is computed and not stored was emptied as well.
        model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
        model.tie_weights()
        model.train(False)
        self._model, self._torch, self._past, self._token = model, torch, None, None

    def prefill(self, ids: list[int]) -> None:
        """The whole prompt in one pass."""
        self._past = None
        self._step(self._torch.tensor([ids]))

    def decode(self, count: int) -> None:
        """One pass and one argmax a token."""
        for _ in range(count):
            self._step(self._token)

    def _step(self, ids: Any) -> None:
        with self._torch.inference_mode():
            out = self._model(ids, past_key_values=self._past, use_cache=True, logits_to_keep=1)
        self._past, self._token = out.past_key_values, out.logits[:, -1].argmax(-1, keepdim=True)


class Playing:
    """A player's process, from the bench's side; it ends the bench with a sentence when it ends itself."""

    def __init__(self, python: str, *arguments: str, threads: int, module: str = "bench.engine.players") -> None:
        paths = os.pathsep.join([str(ROOT), str(ROOT / "lambda"), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments, str(threads)],
            cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.load_s = self._answer()["s"]

    def ask(self, order: str) -> dict[str, float]:
        """One order's answer."""
        assert self._process.stdin
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self.end()
            raise SystemExit("A player ended before its time: see its message above.")
        answer: dict[str, float] = json.loads(line)
        return answer


def play(make: Callable[[], Player]) -> None:
    """Answers orders from standard input until it ends."""
    began = time.perf_counter()
    player = make()
    print(json.dumps({"s": time.perf_counter() - began}), flush=True)
    for line in sys.stdin:
        order, *rest = line.split()
        count = int(rest[0]) if rest else 0
        began = time.perf_counter()
        if order == "prefill":
            player.prefill([(7 * place) % 256 for place in range(count)])
        elif order == "decode":
            player.decode(count)
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({"bytes": peak}), flush=True)
            continue
        print(json.dumps({"s": time.perf_counter() - began}), flush=True)


def main() -> None:
    """`python -m bench.engine.players KIND PATH-OR-SHAPE THREADS`."""
    kind, what, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    makers: dict[str, Callable[[], Player]] = {
        "ours": lambda: Ours(Path(what), threads),
        "stock": lambda: Ours(Path(what), threads, "stock"),
        "llama.cpp": lambda: LlamaCpp(Path(what), threads),
        "transformers": lambda: Transformers(what, threads),
    }
    play(makers[kind])


if __name__ == "__main__":
    main()
