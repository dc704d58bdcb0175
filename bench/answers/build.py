"""What building large answer indexes costs, and what a writer's first index finds.

    python -m bench.answers.build --answers 5000 --phrasings 3
    python -m bench.answers.build --first

The first builds an index of made-up questions, each about another thing, in a process of its own: seconds and the peak
of its memory. `--first` takes 15 answers of the Emerald City with 3 phrasings each, drawn ten times, and asks the
lines of bench/data that were written blind: recall over the questions of these 15, false answers over the others.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import yaml

from prologue.answers.index import load_answer_index
from prologue.answers.index_build.builder import build_answer_index
from prologue.answers.index_build.measure import Labelled, measure

ROOT = Path(__file__).resolve().parents[2]
EMBEDDER = ROOT / "build" / "embedder"
ANSWERS = ROOT / "prologue" / "worlds" / "emerald_city" / "answers.yaml"
BLIND = Path(__file__).parents[1] / "data" / "emerald_city_blind.jsonl"
DRAWS, FIRST_ANSWERS, FIRST_PHRASINGS = 10, 15, 3

_THINGS = """
lamp clock bridge ladder kettle garden window ticket boat bell coat saddle oven map ribbon barrel mirror cellar wheel
candle basket fence letter pump stove hammer cushion gate carpet spoon anchor curtain drum engine feather glove helmet
iron jacket kite lantern magnet needle organ pillow quilt rope shovel trumpet umbrella valve wagon yoke zipper
"""
_KINDS = """
red old broken wooden silver small heavy borrowed foreign spare electric round painted cheap rusty folding narrow
striped second winter kitchen travel garden school office night summer station harbour village mountain river market
children's royal singing hollow copper paper glass stone woollen leather velvet tin marble bronze amber
"""
_VERBS = "clean repair return open paint order sell measure move lend store replace"
_QUESTIONS = (
    "how do I {verb} the {kind} {thing}",
    "can I {verb} my {kind} {thing} here",
    "where do I go to {verb} a {kind} {thing}",
    "please tell me the way to {verb} this {kind} {thing}",
    "I would like to {verb} the {kind} {thing}",
    "what does it cost to {verb} a {kind} {thing}",
    "who can {verb} our {kind} {thing}",
    "is it possible to {verb} a {kind} {thing}",
    "{verb} {kind} {thing}",
    "help me {verb} the {kind} {thing}",
)


def large_source(answers: int, phrasings: int) -> list[dict[str, object]]:
    """Made-up answers, always the same: each has a verb, a kind and a thing of its own."""
    kinds, things, verbs = _KINDS.split(), _THINGS.split(), _VERBS.split()
    most = len(kinds) * len(things) * len(verbs)
    if not 0 < answers <= most or not 0 < phrasings <= len(_QUESTIONS):
        raise SystemExit(f"--answers must be 1 to {most}, --phrasings 1 to {len(_QUESTIONS)}.")
    entries: list[dict[str, object]] = []
    for number in Random(0).sample(range(most), answers):
        rest, verb = divmod(number, len(verbs))
        kind, thing = divmod(rest, len(things))
        words = {"verb": verbs[verb], "kind": kinds[kind], "thing": things[thing]}
        asked = [question.format(**words) for question in _QUESTIONS[:phrasings]]
        entries.append({"id": f"answer_{number}", "phrasings": asked, "answer": f"Ask about the {words['thing']}."})
    return entries


def build_large(answers: int, phrasings: int) -> dict[str, float]:
    """Seconds and peak memory (MB) of `prologue build` for a large index."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "answers.yaml"
        file.write_text(json.dumps(large_source(answers, phrasings)), encoding="utf-8")  # JSON is YAML
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "prologue", "build", "--answers", str(file), "--out", f"{folder}/index"],
            check=True,
            cwd=ROOT,
        )
        seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{answers} answers, {phrasings} phrasings each: built in {seconds:.0f} s, peak memory {peak:.0f} MB")
    return {"answers": answers, "phrasings": phrasings, "seconds": seconds, "peak_mb": peak}


def first_index() -> list[dict[str, float]]:
    """Recall and false answers of indexes as a writer begins them."""
    answers = yaml.safe_load(ANSWERS.read_text(encoding="utf-8"))
    blind = [json.loads(line) for line in BLIND.read_text(encoding="utf-8").splitlines()]
    ordinary = [raw for raw in blind if raw.get("kind") != "near"]
    found = []
    for draw in range(DRAWS):
        random = Random(draw)
        # The phrasings that were written first are what a writer thinks of first.
        chosen = random.sample(answers, FIRST_ANSWERS)
        entries = [{**one, "phrasings": one["phrasings"][:FIRST_PHRASINGS]} for one in chosen]
        for one in entries:
            one.pop("when", None)
        ids = {one["id"] for one in entries}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "answers.yaml"
            file.write_text(json.dumps(entries), encoding="utf-8")
            build_answer_index(file, Path(folder) / "index", embedder=EMBEDDER)
            index = load_answer_index(Path(folder) / "index")
        ours = [Labelled(raw["text"], raw["answer"]) for raw in ordinary if raw["answer"] in ids]
        # A question that another answer of the whole index covers is a near-miss of these fifteen.
        theirs = [Labelled(raw["text"], None) for raw in ordinary if raw["answer"] not in {*ids, None}]
        nobodys = [Labelled(raw["text"], None) for raw in ordinary if raw["answer"] is None]
        asked = measure(index, ours)
        found.append(
            {
                "recall": float(asked["recall"] or 0.0),
                "wrong": float(asked["wrong_answer_rate"] or 0.0),
                "false, of questions of other answers": float(measure(index, theirs)["false_answer_rate"] or 0.0),
                "false, of lines without an answer": float(measure(index, nobodys)["false_answer_rate"] or 0.0),
            }
        )
        print(f"draw {draw}: " + ", ".join(f"{name} {value:.3f}" for name, value in found[-1].items()), flush=True)
    for name in found[0]:
        values = [one[name] for one in found]
        print(f"{name}: mean {np.mean(values):.3f}, from {min(values):.3f} to {max(values):.3f}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.answers.build", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--answers", type=int, default=0, metavar="N", help="build an index of N answers")
    parser.add_argument("--phrasings", type=int, default=3, help="of each, 1 to 10 (default 3)")
    parser.add_argument("--first", action="store_true", help="ask indexes of 15 answers and 3 phrasings")
    options = parser.parse_args(arguments)
    if not options.answers and not options.first:
        parser.error("say --answers N or --first")
    if options.answers:
        build_large(options.answers, options.phrasings)
    if options.first:
        first_index()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
