"""One line to the storyteller, in 16 bits and then in INT4: first token, speed, total time.

    python -m bench.story <checkpoint folder> [--bundle B] [--line "Knock on the gate"] [--tokens 128]

The storyteller's own prompt of the world and one visitor's line. Each model plays several times, in
turns; the median is told. INT4 plays four times over: plainly, drafting ahead, with the prompt's prefix
shipped, and for the line that follows. Prints a table, and writes a chart to build/bench.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.bars import write_bars
from prologue.prompt import Turn, compose
from prologue.world import load_world
from storyteller.engine import Completion, Engine, EngineError, Sampling, load_engine

ROOT = Path(__file__).resolve().parents[1]


def tell(engine: Engine, ids: list[int], tokens: int, seed: int) -> Completion:
    """One reply."""
    return engine.generate(ids, Sampling(temperature=0.8, top_p=0.95, seed=seed, max_tokens=tokens))


def row(told: list[Completion]) -> dict[str, float]:
    """Medians of several replies."""
    return {
        "first_token_s": statistics.median(done.ttft_s for done in told),
        "tokens_per_s": statistics.median((done.tokens - 1) / max(done.total_s - done.ttft_s, 1e-9) for done in told),
        "total_s": statistics.median(done.total_s for done in told),
        "prompt_tokens": told[0].prompt_tokens,
        "reused_tokens": told[0].reused_tokens,
        "drafted": sum(done.drafted_tokens for done in told),
        "accepted": sum(done.accepted_tokens for done in told),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.story", description="A story's line in 16 bits and in INT4.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--bundle", type=Path, help="its bundle (default: pack it now)")
    parser.add_argument("--world", type=Path, default=ROOT / "prologue" / "worlds" / "emerald_city")
    parser.add_argument("--line", default="I knock on the green gate and wait.")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    try:
        rows = measure(options)
    except (EngineError, OSError) as error:
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
    from model_build.pack import pack
    from model_build.pack_prefix import add_prefix
    from model_build.pack_source import open_source

    world = load_world(options.world)
    first = [Turn(options.line)]
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle
        if bundle is None:
            bundle = pack(open_source(str(options.checkpoint), None), Path(folder) / "bundle", show=True)
            add_prefix(bundle, options.world)
        engines = {
            "16-bit": load_engine(options.checkpoint, dtype="bfloat16", texts=1),
            "INT4": load_engine(bundle, texts=1, speculate=False),
            "INT4, drafting": load_engine(bundle, texts=1),
        }
        plain = {name: engine.encode_chat(compose(world, {}, first)) for name, engine in engines.items()}
        told: dict[str, list[Completion]] = {}
        for number in range(options.rounds):
            for name, engine in engines.items():
                forget(engine)
                told.setdefault(name, []).append(tell(engine, plain[name], options.tokens, number))
            shipped = load_engine(bundle, texts=1)
            done = tell(shipped, plain["INT4"], options.tokens, number)
            told.setdefault("INT4, shipped prefix", []).append(done)
            turns = [Turn(options.line, done.text or "The gate opens."), Turn("I go in.")]
            again = tell(shipped, shipped.encode_chat(compose(world, {}, turns)), options.tokens, number)
            told.setdefault("INT4, next line", []).append(again)
    return {name: row(replies) for name, replies in told.items()}


def forget(engine: Engine) -> None:
    """Makes an engine begin from nothing."""
    from storyteller.engine.texts import Texts

    engine._texts = Texts(engine._model, 1)


if __name__ == "__main__":
    sys.exit(main())
