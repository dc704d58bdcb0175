# ruff: noqa: E402
"""`python -m bench.answers.guards`: what a guard of the answer index is worth on lines that it did not learn from.

A guard is a figure of words that similarity cannot see (`prologue.answers.guards`): disagreement in negation. The
Emerald City's index is calibrated with and without it on the same held-out phrasings and negatives. Both ask the lines
of bench/data, of which emerald_city_guards.jsonl has those written for guards: with a negation, an opposite or
quotation marks, some with an answer and some without. A guard for opposites and one for speech were measured so too,
changed nothing, and went.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# One thread, and it must be said before numpy is imported.
for _library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import msgspec
import numpy as np
from tqdm import tqdm

from prologue.answers.acceptance import CENTRE, FIGURES, SCALE
from prologue.answers.answer import STATES, State
from prologue.answers.embedder import Embedder
from prologue.answers.index import (
    CONTENT,
    EMBEDDER,
    AnswerIndex,
    AnswerIndexError,
    Calibration,
    Content,
    load_answer_index,
)
from prologue.answers.index_build.builder import AnswerIndexBuilder, HeldOut, calibrate, read_sources
from prologue.answers.index_build.measure import Labelled, measure, read_labelled

ROOT = Path(__file__).resolve().parents[2]
WORLD = ROOT / "prologue" / "worlds" / "emerald_city"
DATA = ROOT / "bench" / "data"
VARIANTS: dict[str, tuple[str, ...]] = {"as shipped": (), "without negation": ("negation",)}


def without(held: HeldOut, guards: Sequence[str]) -> HeldOut:
    """Held-out lines as if these figures never disagreed."""
    rows = held.rows.copy()
    rows[:, [FIGURES.index(guard) for guard in guards]] = 0.0
    return held._replace(rows=rows)


def ignore(calibration: Calibration, guards: Sequence[str]) -> Calibration:
    """A calibration of lines `without` these figures, for lines that have them: they weigh nothing."""
    weights = calibration.weights.copy()
    for place in map(FIGURES.index, guards):
        weights[-1] -= CENTRE[place] / SCALE[place] * weights[place]
        weights[place] = 0.0
    return Calibration(weights, calibration.count, calibration.scores)


def recalibrated(folder: Path, content: Content) -> AnswerIndex:
    """The index of a folder with another content."""
    with tempfile.TemporaryDirectory() as aside:
        copy = Path(shutil.copytree(folder, Path(aside) / "index"))
        (copy / CONTENT).write_bytes(msgspec.json.encode(content))
        return load_answer_index(copy)


def lines_of(state: State, allowed: set[str]) -> dict[str, list[Labelled]]:
    """The lines of bench/data that may be said in a state, by their kind."""
    hard = [json.loads(raw) for raw in (DATA / "emerald_city_guards.jsonl").read_text(encoding="utf-8").splitlines()]
    hard = [raw for raw in hard if raw["answer"] in allowed or (raw["answer"] is None and raw["state"] == state)]
    blind = [json.loads(raw) for raw in (DATA / "emerald_city_blind.jsonl").read_text(encoding="utf-8").splitlines()]
    blind = [raw for raw in blind if raw["answer"] in allowed or (raw["answer"] is None and raw["state"] == state)]
    other = [line for line in read_labelled(DATA / "emerald_city.jsonl") if line.answer in {None, *allowed}]
    return {
        "blind": [Labelled(raw["text"], raw["answer"], state) for raw in blind if raw.get("kind") != "near"],
        "near-misses": [Labelled(raw["text"], None, state) for raw in blind if raw.get("kind") == "near"],
        "paraphrases and story lines": [line._replace(state=state) for line in other],
        **{
            f"lines with {kind}": [Labelled(raw["text"], raw["answer"], state) for raw in hard if raw["kind"] == kind]
            for kind in ("negation", "opposite", "speech")
        },
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.answers.guards", description=(__doc__ or "").split(": ", 1)[1].splitlines()[0]
    )
    parser.add_argument(
        "--index", type=Path, default=Path("build/worlds/emerald_city/answers"), help="the shipped index"
    )
    folder: Path = parser.parse_args(arguments).index
    try:
        load_answer_index(folder)  # so that what is wrong with it is said before the minutes of work
    except AnswerIndexError as error:
        print(error, file=sys.stderr)
        return 1
    content = msgspec.json.decode((folder / CONTENT).read_bytes(), type=Content)
    builder = AnswerIndexBuilder.embedded(*read_sources(WORLD / "answers.yaml"), Embedder(folder / EMBEDDER))
    asked, negative = builder.hold_out_phrasings(), builder.hold_out_negatives()
    may = {state: np.array([state in answer.when for answer in builder.answers]) for state in STATES}
    print("| state, lines | guards | recall | wrong answer | false answer | lines |\n|---|---|---|---|---|---|")
    rows: list[str] = []
    for name, guards in tqdm(VARIANTS.items(), desc="guards", disable=None):
        held = without(asked, guards), without(negative, guards)
        calibration = {state: ignore(calibrate(*held, may[state], len(builder.negatives)), guards) for state in STATES}
        index = recalibrated(folder, msgspec.structs.replace(content, calibration=calibration))
        for state in STATES:
            for kind, lines in lines_of(state, {one.id for one in index.answers if state in one.when}).items():
                found = measure(index, lines)
                cells = [
                    "" if found[key] is None else f"{found[key]:.1%}"
                    for key in ("recall", "wrong_answer_rate", "false_answer_rate")
                ]
                rows.append(f"| {state}, {kind} | {name} | {' | '.join(cells)} | {found['lines']} |")
    print("\n".join(sorted(rows, key=lambda row: row.split("|")[1])))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
