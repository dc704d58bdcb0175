"""What arm64's kernels are worth: the same INT4 Llama with ours, with KleidiAI's and without either.

    python -m bench.kleidiai --shapes 1B 8B

On an arm64 Linux machine (a Graviton, say) it times tokens and prompts, the ways taking turns. Anywhere else it
counts the instructions of a token on emulated arm64 (a Neoverse N1, which is Graviton2's core), which needs
Linux and root; `scripts/arm64` installs the rest. A token is counted with one layer and with two, each layer is
the same work, and so the whole model's token is known without running all of it. Random weights; knows
tables and plots, `player` knows the engine.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.engine.players import Playing
from bench.engine.random_llama import SHAPES
from model_build.plots import write_bars
from storyteller.engine.loading import usable_cpus

ROOT = Path(__file__).resolve().parents[2]
WAYS = ("ours", "KleidiAI", "fallback", "float32")

PROMPT, TOLD = 64, 8
#: Each line of the report: a way, and what it is compared with.
COMPARED = (("ours", "KleidiAI"), ("KleidiAI", "fallback"))
#: Where a counted token stands in its text.
AT = 512
#: Tokens of a counted prompt. The slow ways' cost grows with every token alike, and takes minutes to emulate.
ROWS = {"ours": 64, "KleidiAI": 64, "fallback": 8, "float32": 8}


#: Figures by shape and way.
Results = dict[str, dict[str, dict[str, float]]]


class BenchError(Exception):
    """Why nothing can be measured, in one sentence."""


class Counted(NamedTuple):
    """Instructions: of a token, of a token checked together with a draft, and of a prompt of `ROWS` tokens."""

    token: float
    draft: float
    prompt: float


def whole(one: Counted, two: Counted, layers: int) -> Counted:
    """A model's instructions from those with one layer and with two."""
    return Counted(*(a + (layers - 1) * (b - a) for a, b in zip(one, two, strict=True)))


def read_counts(text: str) -> Counted:
    """What the plugin wrote: a line for each. Raises BenchError for anything else."""
    lines = text.split()
    if len(lines) != len(Counted._fields) or not all(line.isdigit() for line in lines):
        raise BenchError("The counting plugin wrote no three counts: see what the player said above.")
    return Counted(*map(float, lines))


def count(shape: str, way: str, folder: Path) -> Counted:
    """The instructions of the whole model. Raises BenchError where it cannot be emulated."""
    found = []
    for layers in (1, 2):
        file = folder / "counts"
        player = ["-m", "bench.kleidiai.player", "count", shape, way, str(layers), str(AT), str(ROWS[way])]
        done = subprocess.run(["scripts/arm64", "count", str(file), *player], cwd=ROOT, stdout=sys.stderr)
        if done.returncode:
            raise BenchError(f"{way} could not be counted at {shape}: see above.")
        found.append(read_counts(file.read_text()))
    return whole(found[0], found[1], int(SHAPES[shape]["num_hidden_layers"]))


def count_all(shapes: Sequence[str], ways: Sequence[str]) -> Results:
    """Every shape's and way's counts."""
    results: Results = {}
    with tempfile.TemporaryDirectory() as folder:
        for shape in shapes:
            for way in ways:
                token, draft, prompt = count(shape, way, Path(folder))
                found = {"token": token, "draft": draft, "prompt_token": prompt / ROWS[way]}
                results.setdefault(shape, {})[way] = found
    return results


def time_all(shapes: Sequence[str], ways: Sequence[str], threads: int, rounds: int) -> Results:
    """Every shape's and way's tokens a second and seconds to the first token, in turns, on this machine."""
    results: Results = {}
    for shape in shapes:
        module = "bench.kleidiai.player"
        players = {way: Playing(sys.executable, "play", shape, way, threads=threads, module=module) for way in ways}
        seen: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for number in range(rounds + 1):
            for way, player in players.items():
                prompt, told = player.ask(f"prefill {PROMPT}")["s"], player.ask(f"decode {TOLD}")["s"]
                if number:  # the first round warms up
                    seen[way].append((prompt, TOLD / told))
        for way, player in players.items():
            player.end()
            first, speed = zip(*seen[way], strict=True)
            results.setdefault(shape, {})[way] = {
                "first_token_s": statistics.median(first),
                "tokens_per_s": statistics.median(speed),
            }
    return results


def compare(rows: Mapping[str, Mapping[str, float]], figures: Mapping[str, str]) -> list[str]:
    """A sentence for each two ways of `COMPARED` that were measured: what share of the other's figures one has."""
    found = []
    for way, other in COMPARED:
        if way in rows and other in rows:
            shares = [f"{name} {rows[way][key] / rows[other][key]:.3g}x" for key, name in figures.items()]
            found.append(f"  {way} against {other}: {', '.join(shares)}")
    return found


def table(results: Mapping[str, Mapping[str, Mapping[str, float]]], *, counted: bool) -> str:
    """The results to be read."""
    lines = []
    for shape, rows in results.items():
        if counted:
            figures = {"token": "a token", "draft": "a token and a draft", "prompt_token": "a prompt token"}
            lines.append(f"{shape:12}" + "".join(f"{name:>24}" for name in figures.values()))
            lines += [
                f"  {way:10}" + "".join(f"{row[key] / 1e6:>16,.0f} million" for key in figures)
                for way, row in rows.items()
            ]
        else:
            lines.append(f"{shape:6}{'speed':>18}{f'first of {PROMPT} tokens':>26}")
            lines += [
                f"  {way:10}{row['tokens_per_s']:>8.2f} tokens/s{row['first_token_s']:>18.2f} s"
                for way, row in rows.items()
            ]
            figures = {"tokens_per_s": "speed", "first_token_s": "time to the first token"}
        lines += compare(rows, figures)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.kleidiai", description="What arm64's kernels are worth.")
    parser.add_argument("--shapes", nargs="+", default=["1B"], choices=list(SHAPES))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), metavar="WAY", help="of " + ", ".join(WAYS))
    parser.add_argument(
        "--threads", type=int, default=usable_cpus(), help="when timing (default: as many as there are)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="when timing")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args(arguments)
    native = platform.system() == "Linux" and platform.machine() in ("aarch64", "arm64")
    try:
        if native:
            results = time_all(options.shapes, options.ways, options.threads, options.rounds)
        else:
            results = count_all(options.shapes, options.ways)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    print(table(results, counted=not native))
    name = "kleidiai-times" if native else "kleidiai-instructions"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    for figure, title, unit, scale in (
        [("tokens_per_s", "tokens a second", "t/s", 1.0), ("first_token_s", f"first of {PROMPT} tokens", "s", 1.0)]
        if native
        else [("token", "instructions a token", "million", 1e-6)]
    ):
        groups = {shape: {way: row[figure] * scale for way, row in rows.items()} for shape, rows in results.items()}
        path = options.out / f"{name}-{figure}.svg"
        write_bars(path, f"arm64's kernels: {title}", groups, unit)
        print(f"The plot is {path}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
