"""The thesis' experiments on our own engine: output length, input length, precision and the prompt's strategy.

    python -m bench.energy MODEL [MODEL …] [--engine ours transformers] [--rounds 3] [--meter auto|rapl|cpu]
        [--wall FILE] [--precision NAME]

Each MODEL is a bundle (INT4, or what --precision says) or a checkpoint's folder (16 bits); transformers reads folders
only. For each: energy of replies of several lengths and of prompts of several lengths, with a fit beside the thesis'
curves; and prompts that grow by a system prompt, examples, a chain of thought, facts and guidance, each computed in
full and with all but the visitor's line in the cache, as a shipped prefix has it. The claim to test: guidance, which
cost the thesis 1.30 to 2.01 times the energy, costs next to nothing with a prefix. Lengths are what is varied, so the
words do not matter: prompts are ordinary tokens.

Without a meter the energy is CPU seconds times stated watts, and the table says so: ratios then are those of CPU time.
Quality is not judged here.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from bench.energy.meter import Meter, MeterError, find
from bench.results import row, write
from model_build.resolve import model_folder
from overture.ranges import significant
from planner.explain import GUIDANCE
from planner.report import table
from storyteller.engine import Completion, EngineError, Sampling, load_engine

OUTPUTS = (16, 64, 128, 256)
INPUTS = (64, 256, 512, 1_024)
#: Tokens that a strategy adds before the visitor's line; guidance is as long as the thesis', 740 (875 against 135).
STRATEGIES = {
    "plain": 0,
    "system prompt": 150,
    "examples": 400,
    "chain of thought": 60,
    "facts": 120,
    "guidance": 740,
}
LINE = 36
REPLY = 64
#: A number for each prompt: two of one number would share a beginning, which the cache then has.
_NONCES = itertools.count(50)


class Run(NamedTuple):
    """One reply's figures, of several rounds."""

    millijoules: list[float]
    seconds: list[float]
    computed: int

    @property
    def middle(self) -> float:
        """The median energy in mWh."""
        return float(np.median(self.millijoules)) / 3_600


class Player(Protocol):
    """What is measured: ours, or `Stock`."""

    def encode(self, text: str) -> list[int]:
        """The text's tokens."""

    def generate(self, ids: list[int], sampling: Sampling) -> Completion:
        """Goes on for `max_tokens`, greedily; what it still has of the prompt is not computed again."""


class Stock:
    """transformers' own Llama in bfloat16. It keeps the cache of its last prompt and reply, as ours does."""

    def __init__(self, path: Path, threads: int) -> None:
        import torch
        from tokenizers import Tokenizer
        from transformers import DynamicCache, LlamaForCausalLM

        torch.set_num_threads(threads)
        self._torch, self._new_cache = torch, DynamicCache
        self._tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        self._model = LlamaForCausalLM.from_pretrained(path, dtype=torch.bfloat16).train(False)
        self._ids: list[int] = []
        self._cache: Any = None

    def encode(self, text: str) -> list[int]:
        """The text's tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def generate(self, ids: list[int], sampling: Sampling) -> Completion:
        """One pass over what the cache lacks, then one pass and one argmax a token."""
        began = time.monotonic()
        pairs = enumerate(zip(ids[:-1], self._ids, strict=False))
        reused = next((place for place, (one, other) in pairs if one != other), min(len(ids) - 1, len(self._ids)))
        if self._cache is None:
            self._cache = self._new_cache(config=self._model.config)
        if reused < len(self._ids):
            self._cache.crop(reused - len(self._ids))  # negative: how many to forget
        token = self._step(ids[reused:])
        ttft_s, told = time.monotonic() - began, [token]
        while len(told) < sampling.max_tokens:
            told.append(self._step(told[-1:]))
        self._ids = [*ids, *told[:-1]]
        return Completion("", "length", len(told), len(ids), reused, ttft_s, time.monotonic() - began, ids=tuple(told))

    def _step(self, ids: list[int]) -> int:
        with self._torch.inference_mode():
            wanted = self._torch.tensor([ids])
            out = self._model(wanted, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        return int(out.logits[0, -1].argmax())


def prompt(engine: Player, count: int, nonce: int) -> list[int]:
    """`count` tokens of prose; another nonce shares no beginning with it, so that no cache is of use."""
    words = engine.encode("the road went down to the river and over the old bridge " * (count // 10 + 2))
    return [words[nonce % len(words)], nonce % 200 + 300, *words][:count]


def reply(engine: Player, meter: Meter, ids: list[int], tokens: int) -> tuple[float, float, int]:
    """Energy in mJ, seconds and prompt tokens that were computed, of one greedy reply of exactly so many tokens."""
    with meter.read() as reading:
        done = engine.generate(ids, Sampling(temperature=0.0, max_tokens=tokens))
    return (
        reading.joules * 1000 * tokens / max(1, done.tokens),
        reading.seconds,
        done.prompt_tokens - done.reused_tokens,
    )


def measure(engine: Player, meter: Meter, shape: tuple[int, int], rounds: int, *, cached: int = 0) -> Run:
    """A prompt and a reply of `shape` tokens. The first `cached` tokens are in the cache beforehand, and no others."""
    found = []
    for _ in range(rounds):
        if cached:
            head = prompt(engine, cached, 1)
            engine.generate(head, Sampling(temperature=0.0, max_tokens=1))
            ids = head + prompt(engine, shape[0] - cached, next(_NONCES))
        else:
            ids = prompt(engine, shape[0], next(_NONCES))
        found.append(reply(engine, meter, ids, shape[1]))
    return Run([one[0] for one in found], [one[1] for one in found], found[-1][2])


def bench(engine: Player, meter: Meter, name: str, rounds: int) -> Iterator[tuple[str, str, Run]]:
    """(group, what, run) of everything for one model."""
    measure(engine, meter, (64, 8), 1)
    for tokens in OUTPUTS:
        yield "output tokens", str(tokens), measure(engine, meter, (LINE, tokens), rounds)
    for tokens in INPUTS:
        yield "input tokens", str(tokens), measure(engine, meter, (tokens, 16), rounds)
    for strategy, added in STRATEGIES.items():
        yield "in full", strategy, measure(engine, meter, (LINE + added, REPLY), rounds)
    for strategy, added in STRATEGIES.items():
        yield "with a prefix", strategy, measure(engine, meter, (LINE + added, REPLY), rounds, cached=added)


def findings(found: Sequence[tuple[str, str, Run]]) -> list[str]:
    """What the curves say beside the thesis'."""

    def group(name: str) -> dict[str, Run]:
        return {what: run for kind, what, run in found if kind == name}

    outputs, inputs = group("output tokens"), group("input tokens")
    slope = np.polyfit([int(x) for x in outputs], [run.middle for run in outputs.values()], 1)
    deep = np.polyfit([int(x) for x in inputs], [run.middle for run in inputs.values()], 1)
    full, cached = group("in full"), group("with a prefix")
    times = full["guidance"].middle / full["plain"].middle
    kept = cached["guidance"].middle / cached["plain"].middle
    return [
        f"an output token takes {significant(slope[0] * 1000)} uWh, an input token {significant(deep[0] * 1000)} uWh "
        "(thesis, LLaMA 8B on L4: 20 and 13 uWh)",
        f"guidance takes {times:.2f} times the energy in full (thesis: {GUIDANCE[0]:.2f} to {GUIDANCE[1]:.2f}) and "
        f"{kept:.2f} times with a prefix",
    ]


def _load(path: Path, kind: str, threads: int) -> Player:
    if kind == "transformers":
        return Stock(path, threads)
    engine = load_engine(path, threads=threads, chat=False, context=2_048, speculate=False)
    engine._stop_ids = frozenset()  # every reply has the length that is asked for
    return engine


def main(argv: Sequence[str] | None = None) -> int:
    """Measures every model in turn, prints tables and keeps the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.energy", description=__doc__)
    parser.add_argument("models", nargs="+", help="bundles, or checkpoint folders, GGUF files, hub ids or smollm2")
    parser.add_argument("--engine", nargs="+", choices=["ours", "transformers"], default=["ours"])
    parser.add_argument("--precision", help="what the table calls a bundle's bits (int4)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--meter", choices=["auto", "rapl", "cpu"], default="auto")
    parser.add_argument("--wall", type=Path, help="a wall meter's log, a CSV of time,watts")
    options = parser.parse_args(argv)
    rows = []
    try:
        meter = find(options.meter, options.wall)
        print(f"Meter: {meter.kind}.")
        for path, kind in itertools.product(map(model_folder, options.models), options.engine):
            packed = path / "bundle.json"
            if kind == "transformers" and packed.exists():
                continue
            engine = _load(path, kind, options.threads)
            found = list(bench(engine, meter, path.name, options.rounds))
            precision = options.precision or ("int4" if packed.exists() else "16")
            cells = [
                [group, what, significant(run.middle), significant(float(np.median(run.seconds))), str(run.computed)]
                for group, what, run in found
            ]
            print(f"\n{path.name}, {precision}, {kind}")
            print(*table(["", "", "mWh", "s", "computed"], cells), *findings(found), sep="\n")
            about = {"model": path.name, "precision": precision, "engine": kind}
            rows += [
                row("reply_mj", "mJ", run.millijoules, group=group, what=what, **about) for group, what, run in found
            ]
    except (MeterError, EngineError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"\nkept in {write('energy', rows, threads=options.threads, meter=meter.kind)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
