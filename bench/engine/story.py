"""One line to the storyteller, in 16 bits and then in INT4: first token, speed, total time.

    python -m bench.engine.story <folder, GGUF file or hub id> [--bundle B] [--line "Knock on the gate"] [--tokens 128]

The storyteller's own prompt of the world and one visitor's line. Each model plays several times, in
turns; the median is told. INT4 plays five times over: plainly, drafting ahead, with the prompt's prefix
shipped, for the line that follows, and, once, a whole walk of ten lines, drafting ahead: how many of the
drafted tokens are right depends on how much of a story has been told. Prints a table, and writes a chart
to build/bench.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from model_build.plots import write_bars
from prologue.prompt import Turn, compose, compose_within
from prologue.world import World, load_world
from storyteller.engine import Completion, Engine, EngineError, Sampling, load_engine
from storyteller.engine.loading import usable_cpus

ROOT = Path(__file__).resolve().parents[2]
#: What a visitor says on a walk.
WALK = (
    "I knock on the green gate and wait.",
    "Hello! What is your name?",
    "I go in and look around.",
    "Who lives in this street?",
    "I follow the sound of the bell.",
    "Can you tell me where the palace is?",
    "I take the left way.",
    "Thank you. I ask the guardian about the Wizard.",
    "I show what I have brought.",
    "I knock again, louder.",
)


def tell(engine: Engine, ids: list[int], tokens: int, seed: int) -> Completion:
    """One reply."""
    return engine.generate(ids, Sampling(temperature=0.7, top_p=0.9, seed=seed, max_tokens=tokens))


def row(told: list[Completion]) -> dict[str, float]:
    """Medians of several replies."""
    return {
        "first_token_s": statistics.median(done.ttft_s for done in told),
        "tokens_per_s": statistics.median((done.tokens - 1) / max(done.total_s - done.ttft_s, 1e-9) for done in told),
        "total_s": statistics.median(done.total_s for done in told),
        "prompt_tokens": told[-1].prompt_tokens,
        "reused_tokens": told[-1].reused_tokens,
        "drafted": sum(done.drafted_tokens for done in told),
        "accepted": sum(done.accepted_tokens for done in told),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine.story", description="A line in 16 bits and in INT4.")
    parser.add_argument("checkpoint", help="a checkpoint folder, a GGUF file or a hub id")
    parser.add_argument("--bundle", type=Path, help="its bundle (default: pack it now)")
    parser.add_argument("--world", type=Path, default=ROOT / "prologue" / "worlds" / "emerald_city")
    parser.add_argument("--line", default="I knock on the green gate and wait.")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    try:
        rows = measure(options)
    except (EngineError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{'':22}{'first token':>12}{'speed':>13}{'total':>9}{'prompt':>8}{'reused':>8}{'drafts right':>14}")
    for name, found in rows.items():
        share = f"{found['accepted'] / found['drafted']:.0%}" if found["drafted"] else "-"
        print(f"{name:22}{found['first_token_s']:>10.3f} s{found['tokens_per_s']:>9.1f} t/s{found['total_s']:>7.2f} s"
              f"{found['prompt_tokens']:>8.0f}{found['reused_tokens']:>8.0f}{share:>14}")  # fmt: skip
    out = ROOT / "build" / "bench"
    out.mkdir(parents=True, exist_ok=True)
    (out / "story.json").write_text(json.dumps(rows, indent=1) + "\n")
    for what, unit in [("first_token_s", "s"), ("tokens_per_s", "t/s"), ("total_s", "s")]:
        bars = {what: {name: found[what] for name, found in rows.items()}}
        write_bars(out / f"story-{what}.svg", f"One line of the story: {what}", bars, unit)
    return 0


def measure(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Every way of telling, by name."""
    from model_build.packing.pack import pack
    from model_build.packing.prefix import add_prefix
    from model_build.resolve import model_folder
    from model_build.sources import open_source

    world = load_world(options.world)
    first = [Turn(options.line)]
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle
        if bundle is None:
            bundle = pack(open_source(options.checkpoint), Path(folder) / "bundle", show=True)
            add_prefix(bundle, options.world)
        engines = {
            "16-bit": load_engine(model_folder(options.checkpoint), dtype="bfloat16", cache_slots=1),
            "INT4": load_engine(bundle, cache_slots=1, speculate=False),
            "INT4, drafting": load_engine(bundle, cache_slots=1),
        }
        plain = {name: engine.encode_chat(compose(world, {}, first)) for name, engine in engines.items()}
        told: dict[str, list[Completion]] = {}
        for number in range(options.rounds):
            for name, engine in engines.items():
                forget(engine)
                # As loading sets it: one beside the kernels' own threads.
                torch.set_num_threads(usable_cpus() if name == "16-bit" else 1)
                told.setdefault(name, []).append(tell(engine, plain[name], options.tokens, number))
            shipped = load_engine(bundle, cache_slots=1)
            done = tell(shipped, plain["INT4"], options.tokens, number)
            told.setdefault("INT4, shipped prefix", []).append(done)
            turns = [Turn(options.line, done.text or "The gate opens."), Turn("I go in.")]
            again = tell(shipped, shipped.encode_chat(compose(world, {}, turns)), options.tokens, number)
            told.setdefault("INT4, next line", []).append(again)
        told["INT4, a walk"] = walk(load_engine(bundle, cache_slots=1), world, options.tokens)
    return {name: row(replies) for name, replies in told.items()}


def walk(engine: Engine, world: World, tokens: int) -> list[Completion]:
    """Ten lines and their replies, each prompt with what was told before it, as far as there is room."""
    told: list[Completion] = []
    turns: list[Turn] = []
    for number, line in enumerate(WALK):
        messages = compose_within(world, {}, [*turns, Turn(line)], engine.context - tokens, engine.count_chat)
        told.append(tell(engine, engine.encode_chat(messages), tokens, number))
        turns.append(Turn(line, told[-1].text or "…"))
    return told


def forget(engine: Engine) -> None:
    """Makes an engine begin from nothing."""
    from storyteller.engine.prefix_cache import PrefixCache

    engine._prefix_cache = PrefixCache(engine._model, 1)


if __name__ == "__main__":
    sys.exit(main())
