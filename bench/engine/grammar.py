"""What holding replies to a form costs: the processor's time for a token with and without it, in turns.

    python -m bench.engine.grammar MODEL [--rounds 20] [--tokens 160]

MODEL is a bundle or a checkpoint folder. One thread tells the same lines of a walk with the form of the world and
without, in turns; each round's ratio is taken, and the median told with its quartiles. It is the process's own time,
which other work on the machine hardly changes. Also told: what the vocabulary and the form take at first, and how many
tokens the form refused. A model that knows the form is refused few.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.engine.story import WALK
from model_build.resolve import add_model, model_folder
from prologue.prompt import Turn, compose
from prologue.world import load_world
from storyteller.engine import Completion, Engine, EngineError, Grammar, Sampling, load_engine
from storyteller.engine.text.grammar import Grammars

ROOT = Path(__file__).resolve().parents[2]


class Told(NamedTuple):
    """A reply and the processor's seconds for each token after the first."""

    done: Completion
    cost_s: float


def tell(engine: Engine, ids: list[int], sampling: Sampling) -> Told:
    """One reply."""
    first = 0.0

    def emit(text: str) -> None:
        nonlocal first
        first = first or time.process_time()

    done = engine.generate(ids, sampling, emit)
    return Told(done, (time.process_time() - first) / max(1, done.tokens - 1))


def measure(options: argparse.Namespace) -> dict[str, float]:
    """The figures of the report."""
    world = load_world(options.world)
    if world.reply is None:
        raise EngineError(f"{options.world} says no form: give its world.yaml a `reply`.")
    form = Grammar("lark", *world.reply.parts())
    engine = load_engine(model_folder(options.model, options.adapter), threads=1, cache_slots=1)
    began = time.process_time()
    grammars = Grammars(engine.tokenizer, len(engine.tokenizer.vocabulary.get_vocab()), engine.stop_ids)
    grammars.prepare()
    read = time.process_time()
    grammars.check(form)
    found = {"vocabulary_s": read - began, "compile_s": time.process_time() - read}
    told: dict[str, list[Told]] = {"free": [], "held": []}
    for number in range(options.rounds + 1):
        ids = engine.encode_chat(compose(world, {}, [Turn(WALK[number % len(WALK)])]))
        for name in sorted(told, reverse=number % 2 == 0):
            grammar = form if name == "held" else None
            sampling = Sampling(0.7, 0.9, 0.05, seed=number, max_tokens=options.tokens, grammar=grammar)
            one = tell(engine, ids, sampling)
            if number:  # the first round warms up
                told[name].append(one)
    for name, replies in told.items():
        found[f"{name}_s"] = statistics.median(one.cost_s for one in replies)
        ended = [one.done.text for one in replies if one.done.reason == "stop"]
        found[f"{name}_kept"] = sum(map(world.reply.kept_by, ended)) / max(1, len(ended))
        found[f"{name}_ended"] = len(ended) / len(replies)
    ratios = [held.cost_s / free.cost_s for held, free in zip(told["held"], told["free"], strict=True)]
    found["ratio_low"], found["ratio"], found["ratio_high"] = statistics.quantiles(ratios, n=4)
    held = [one.done for one in told["held"]]
    found["refused"] = sum(done.refused_tokens for done in held) / sum(done.tokens for done in held)
    return found


def report(found: dict[str, float]) -> str:
    """The figures to be read."""
    lines = [
        f"The vocabulary is read in {found['vocabulary_s']:.2f} s, the form in {found['compile_s'] * 1e3:.1f} ms.",
        f"{'':8}{'a token':>12}{'end by themselves':>20}{'of these in form':>19}",
    ]
    for name in ("free", "held"):
        cost, ended, kept = found[f"{name}_s"] * 1e3, found[f"{name}_ended"], found[f"{name}_kept"]
        lines.append(f"{name:8}{cost:>9.2f} ms{ended:>20.0%}{kept:>19.0%}")
    spread = f"{found['ratio_low']:.3f} to {found['ratio_high']:.3f}"
    lines.append(f"Held takes {found['ratio']:.3f} times as long (quartiles {spread}); {found['refused']:.1%} refused.")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine.grammar", description="What a form of replies costs.")
    add_model(parser)
    parser.add_argument("--world", type=Path, default=ROOT / "prologue" / "worlds" / "emerald_city")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=160)
    options = parser.parse_args(arguments)
    try:
        found = measure(options)
    except (EngineError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(report(found))
    out = ROOT / "build" / "bench"
    out.mkdir(parents=True, exist_ok=True)
    (out / "grammar.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
