# ruff: noqa: E402
"""`python -m bench.answers`: how good and how fast the written answers are, beside other projects' rules.

    --index DIR    the Emerald City's index, default build/worlds/emerald_city/answers
    --clinc PATH   CLINC150 as an answer index (a folder with data_full.json); left out without it
    --banking PATH BANKING77-OOS likewise (a folder with train, valid, test, id-oos and ood-oos)
    --seeds N      draws of phrasings for these, default 3
    --front DIR    what Front ships for arm64, to be weighed
    --arm64        ask the index on emulated arm64 as well, with what --front names (Linux, root)
    --out DIR      plots and results.json, default build/bench/answers

The lines of bench/data/emerald_city_blind.jsonl were written before the phrasings that are there now, and no
phrasing was chosen by them; `near` are lines that a written answer almost fits.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# One thread, and it must be said before numpy is imported.
for _library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

from bench.answers.arm64 import Arm64Error, bench_arm64
from bench.answers.intents import bench_intents, read_banking, read_clinc
from bench.answers.speed import bench_speed
from prologue.answers.answer import STATES
from prologue.answers.embedder import Embedder
from prologue.answers.index import CONTENT, EMBEDDER, AnswerIndex, load_answer_index
from prologue.answers.index_build.measure import Labelled, measure, read_labelled

DATA = Path(__file__).parents[1] / "data"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the measurements and prints them."""
    parser = argparse.ArgumentParser(prog="python -m bench.answers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--index", type=Path, default=Path("build/worlds/emerald_city/answers"))
    parser.add_argument("--clinc", type=Path)
    parser.add_argument("--banking", type=Path)
    parser.add_argument("--front", type=Path)
    parser.add_argument("--arm64", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/bench/answers"))
    options = parser.parse_args(arguments)
    needed = [options.index / CONTENT]
    needed += [options.clinc / "data_full.json"] if options.clinc else []
    needed += [options.banking / "train" / "seq.in"] if options.banking else []
    for need in needed:
        if not need.is_file():
            print(f"{need} is missing: build the index with `make setup`, or give another folder.", file=sys.stderr)
            return 1
    model = Embedder(options.index / EMBEDDER)
    options.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"embedder": model.id}
    results["emerald_city"] = bench_emerald(load_answer_index(options.index))
    results["speed"] = bench_speed(options.index)
    if options.front:
        results["front_mb"] = size = (
            sum(file.stat().st_size for file in options.front.rglob("*") if file.is_file()) / 1e6
        )
        print(f"Front ships {size:.0f} MB, unpacked ({options.front})")
    if options.arm64:
        try:
            results["arm64"] = bench_arm64(options.index, options.front or Path("build/front/package"), options.out)
        except Arm64Error as error:
            print(error, file=sys.stderr)
            return 1
        print("Emulated arm64:", ", ".join(f"{name} {value}" for name, value in results["arm64"].items()))
    for folder, read in ((options.clinc, read_clinc), (options.banking, read_banking)):
        if folder:
            data = read(folder)
            results[data.name] = bench_intents(model, data, options.seeds, options.out)
    (options.out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(f"\nPlots and results.json are in {options.out}.")
    return 0


def bench_emerald(index: AnswerIndex) -> dict[str, Any]:
    """The shipped index in each state of the play: on paraphrases of its phrasings, and on lines written blind."""
    blind = [json.loads(line) for line in (DATA / "emerald_city_blind.jsonl").read_text(encoding="utf-8").splitlines()]
    figures: dict[str, Any] = {"promised": index.about}
    print(f"\n{'The Emerald City':<32}{'recall':>9}{'wrong':>9}{'false':>9}{'lines':>7}")
    for state in STATES:
        allowed = {answer.id for answer in index.answers if state in answer.when}
        sets = {
            "blind, ordinary": [raw for raw in blind if raw["answer"] is None or raw["answer"] in allowed],
            "paraphrases, story lines": [line._asdict() for line in read_labelled(DATA / "emerald_city.jsonl")],
        }
        for name, rows in sets.items():
            near = [raw for raw in rows if raw.get("kind") == "near" and raw["state"] == state]
            rest = [raw for raw in rows if raw.get("kind") != "near"]
            asked = [Labelled(raw["text"], raw["answer"], state) for raw in rest if raw["answer"] in allowed]
            silent = [
                Labelled(raw["text"], None, state)
                for raw in rest
                if raw["answer"] is None and ("kind" not in raw or raw["state"] == state)
            ]
            figures[f"{state}, {name}"] = found = measure(index, [*asked, *silent])
            print(
                f"{state + ': ' + name:<32}{found['recall']:>9.3f}{found['wrong_answer_rate']:>9.4f}"
                f"{found['false_answer_rate']:>9.4f}{found['lines']:>7}"
            )
            if near:
                missed = measure(index, [Labelled(raw["text"], None, state) for raw in near])
                figures[f"{state}, near-misses"] = missed
                print(f"{state + ': near-misses':<32}{'':>18}{missed['false_answer_rate']:>9.4f}{len(near):>7}")
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
