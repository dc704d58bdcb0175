"""How fast the engine is: decode, prefill, load, memory, beside llama.cpp and transformers, in turns.

    python -m bench.engine --shapes 1B 3B 8B [--llama-python PYTHON] [--rounds 5]

Random weights at the real shapes are made under build/bench. llama.cpp plays where a Python with
`llama-cpp-python` and `gguf` is named (`bench/engine/requirements.txt`); transformers in bf16 at 1B and 3B.
The players take turns, each round's ratio is taken, and the median round is told: on a shared machine
absolute figures drift, ratios hardly do. Knows players and tables; `players` knows the engines.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.engine.players import Playing
from bench.engine.random_llama import write_bundle
from model_build.plots import write_bars

ROOT = Path(__file__).resolve().parents[2]
PROMPT, TOLD = 128, 16


def read_bandwidth(threads: int) -> float:
    """Bytes a second that this many threads can read from memory, right now: a gibibyte, which no cache holds."""
    import torch

    torch.set_num_threads(threads)
    block = torch.ones(256 << 20, dtype=torch.float32)
    block.sum()
    began = time.perf_counter()
    for _ in range(3):
        block.sum()
    return 3 * block.numel() * 4 / (time.perf_counter() - began)


def measure(shape: str, threads: int, rounds: int, llama_python: str | None, folder: Path) -> dict[str, Any]:
    """Everything about one shape."""
    bundle = write_bundle(shape, folder / f"{shape}.bundle")
    weights = sum(path.stat().st_size for path in bundle.glob("*.safetensors"))
    players = {"ours": Playing(sys.executable, "ours", str(bundle), threads=threads)}
    if llama_python:
        gguf = folder / f"{shape}.gguf"
        paths = os.pathsep.join([str(ROOT), str(ROOT / "lambda")])
        make = [llama_python, "-m", "bench.engine.random_llama", "gguf", shape, str(gguf)]
        subprocess.run(make, check=True, cwd=ROOT, stdout=sys.stderr, env={**os.environ, "PYTHONPATH": paths})
        players["llama.cpp"] = Playing(llama_python, "llama.cpp", str(gguf), threads=threads)
    if shape in ("1B", "3B"):
        players["transformers"] = Playing(sys.executable, "transformers", shape, threads=threads)
    seen: dict[str, dict[str, list[float]]] = {name: {"prefill": [], "decode": []} for name in players}
    bandwidths = []
    for number in range(rounds + 1):
        bandwidth = read_bandwidth(threads)
        if number:  # the first round warms up
            bandwidths.append(bandwidth)
        for name, player in players.items():
            prefill, decode = player.ask(f"prefill {PROMPT}")["s"], player.ask(f"decode {TOLD}")["s"]
            if number:
                seen[name]["prefill"].append(PROMPT / prefill)
                seen[name]["decode"].append(TOLD / decode)
    loads = {name: player.load_s for name, player in players.items()}
    peaks = {name: player.ask("memory")["bytes"] for name, player in players.items()}
    for player in players.values():
        player.end()
    return summarize(seen, bandwidths, weights, loads, peaks)


def summarize(
    seen: Mapping[str, Mapping[str, Sequence[float]]],
    bandwidths: Sequence[float],
    weights: int,
    loads: Mapping[str, float],
    peaks: Mapping[str, float],
) -> dict[str, Any]:
    """Medians over the rounds, of speeds and of each round's ratio of ours to theirs."""
    ours = seen["ours"]
    results: dict[str, Any] = {"bandwidth": statistics.median(bandwidths), "bytes": weights, "players": {}}
    for name, theirs in seen.items():
        results["players"][name] = {
            "decode": statistics.median(theirs["decode"]),
            "prefill": statistics.median(theirs["prefill"]),
            "first_token_s": PROMPT / statistics.median(theirs["prefill"]),
            "load_s": loads[name],
            "peak_bytes": peaks[name],
            **{
                f"{what}_ratio": statistics.median(a / b for a, b in zip(ours[what], theirs[what], strict=True))
                for what in ("decode", "prefill")
            },
        }
    # Round by round as well: on a shared machine the memory's speed changes between rounds.
    results["share_of_bandwidth"] = statistics.median(
        speed * weights / bandwidth for speed, bandwidth in zip(ours["decode"], bandwidths, strict=True)
    )
    return results


def table(shape: str, found: Mapping[str, Any], threads: int) -> str:
    """One shape's results to be read."""
    lines = [
        f"{shape}, {threads} threads, {found['bytes'] / 1e9:.2f} GB of weights, "
        f"memory read at {found['bandwidth'] / 1e9:.1f} GB/s",
        f"{'':14}{'decode':>12}{'ours is':>9}{'prefill':>12}{'ours is':>9}{'first token':>13}{'load':>8}{'memory':>10}",
    ]
    for name, row in found["players"].items():
        lines.append(
            f"{name:14}{row['decode']:>8.1f} t/s{row['decode_ratio']:>8.2f}x{row['prefill']:>8.1f} t/s"
            f"{row['prefill_ratio']:>8.2f}x{row['first_token_s']:>11.2f} s{row['load_s']:>6.1f} s"
            f"{row['peak_bytes'] / 1e9:>7.2f} GB"
        )
    lines.append(f"Decode uses {found['share_of_bandwidth']:.0%} of the memory's read bandwidth.")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.engine", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--shapes", nargs="+", default=["1B"], choices=["tiny", "1B", "3B", "8B"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--llama-python", help="a Python that has llama-cpp-python and gguf")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    results = {}
    for shape in options.shapes:
        results[shape] = found = measure(shape, options.threads, options.rounds, options.llama_python, options.out)
        print("\n" + table(shape, found, options.threads), flush=True)
    (options.out / "engine.json").write_text(json.dumps(results, indent=1) + "\n")
    for what in ("decode", "prefill"):
        groups = {
            shape: {name: row[what] for name, row in found["players"].items()} for shape, found in results.items()
        }
        write_bars(options.out / f"engine-{what}.svg", f"{what}, tokens a second", groups, "t/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
