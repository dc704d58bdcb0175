"""The thesis' experiments on our own engine: output length, input length, precision and the prompt's strategy.

    python -m bench.energy MODEL [MODEL …] [--engine ours transformers llama.cpp] [--rounds 3]
        [--meter auto|rapl|cpu] [--wall FILE]

Each MODEL is a bundle, a checkpoint's folder (16 bits) or a GGUF file; transformers reads folders only, llama.cpp GGUF
files only, and ours reads a GGUF file as 16 bits unless llama.cpp plays too. For each: energy of replies of several
lengths and of prompts of several lengths, with a fit beside the thesis' curves; and prompts that grow by a system
prompt, examples, a chain of thought, facts and guidance, each computed in full and with all but the visitor's line in
the cache, as a shipped prefix has it. The claim to test: guidance, which cost the thesis 1.30 to 2.01 times the energy,
costs next to nothing with a prefix. Lengths are what is varied, so words do not matter: prompts are ordinary tokens.

Without a meter the energy is CPU seconds times stated watts, and the table says so: ratios then are those of CPU time.
Quality is `bench.quality`'s to judge.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.energy.engines import LlamaCpp, Player, Transformers
from bench.energy.meter import Meter, MeterError, find
from bench.results import row, write
from model_build.resolve import model_folder, path_of
from overture.accounting.ranges import significant
from planner.explain import GUIDANCE
from planner.report import table
from storyteller.engine import EngineError, Sampling, load_engine
from storyteller.engine.files.bundle import is_bundle, read_manifest

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


def bench(engine: Player, meter: Meter, rounds: int) -> Iterator[tuple[str, str, Run]]:
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


def pairs(models: Sequence[str], engines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each model with the engines that read it."""
    for place, engine in itertools.product(models, engines):
        path = path_of(place)
        is_gguf, bundle = path.suffix == ".gguf", is_bundle(path)
        if engine == "ours" and not (is_gguf and "llama.cpp" in engines):
            yield place, engine
        if (engine == "transformers" and not is_gguf and not bundle) or (engine == "llama.cpp" and is_gguf):
            yield place, engine


def precision_of(place: str, engine: str) -> str:
    """What a model's weights are kept in: bits, or a GGUF file's own kind."""
    path = path_of(place)
    if engine == "llama.cpp":
        return path.stem.rpartition(".")[2].rpartition("-")[2]
    if not is_bundle(path):
        return "16"
    return "8" if read_manifest(path).types.layers == "int4x2" else "4"


def _load(place: str, kind: str, threads: int) -> Player:
    if kind == "llama.cpp":
        return LlamaCpp(path_of(place), threads)
    if kind == "transformers":
        return Transformers(model_folder(place), threads)
    engine = load_engine(model_folder(place), threads=threads, chat=False, context=2_048, speculate=False)
    engine._stop_ids = frozenset()  # every reply has the length that is asked for
    return engine


def main(argv: Sequence[str] | None = None) -> int:
    """Measures every model in turn, prints tables and keeps the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.energy", description=__doc__)
    parser.add_argument("models", nargs="+", help="bundles, or checkpoint folders, GGUF files, hub ids or smollm2")
    parser.add_argument("--engine", nargs="+", choices=["ours", "transformers", "llama.cpp"], default=["ours"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--meter", choices=["auto", "rapl", "cpu"], default="auto")
    parser.add_argument("--wall", type=Path, help="a wall meter's log, a CSV of time,watts")
    options = parser.parse_args(argv)
    rows = []
    try:
        meter = find(options.meter, options.wall)
        print(f"Meter: {meter.kind}.")
        for place, kind in pairs(options.models, options.engine):
            engine, name = _load(place, kind, options.threads), path_of(place).name
            found = list(bench(engine, meter, options.rounds))
            precision = precision_of(place, kind)
            cells = [
                [group, what, significant(run.middle), significant(float(np.median(run.seconds))), str(run.computed)]
                for group, what, run in found
            ]
            print(f"\n{name}, {precision}, {kind}")
            print(*table(["", "", "mWh", "s", "computed"], cells), *findings(found), sep="\n")
            about = {"model": name, "precision": precision, "engine": kind}
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
