"""How well a model tells the story: sixty visitors say 300 lines that were written by hand, and replies are scored.

    python -m bench.storyteller play MODEL --name NAME [--adapter A] [--examples FILE] [--free] [--out NAME.jsonl]
    python -m bench.storyteller score NAME.jsonl OTHER.jsonl [--pairs 50] [--blind 100]

`play` tells every reply as the play does: its prompt, its facts, its sampling, its history; the seeds are fixed. It
writes a dialogue a line and, called again, goes on where it was stopped. `score` prints a table with 95% intervals
and writes it to build/bench; `--pairs` writes replies of two files to the same line in shuffled order, `--blind`
single replies of the first file, to be read by somebody who does not know which is whose.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from bench.storyteller.lines import read_dialogues
from bench.storyteller.player import BenchError, Played, Player, read_examples, read_played, resume
from bench.storyteller.reading import write_pairs, write_singles
from model_build.resolve import add_model, model_folder
from overture.settings import Settings
from prologue.answers.index import load_answer_index
from prologue.errors import AnswerIndexError, EmbedderError
from prologue.prompt import fixed_messages
from prologue.world import WorldError, load_world
from storyteller.engine import EngineError, load_engine

if TYPE_CHECKING:
    from bench.storyteller.scores import Figure

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "bench"
WORLD = ROOT / "prologue" / "worlds" / "emerald_city"


def play(options: argparse.Namespace) -> None:
    """The command `play`."""
    out: Path = options.out or OUT / f"storyteller-{options.name}.jsonl"
    out.parent.mkdir(parents=True, exist_ok=True)
    left = resume(out, options.name, read_dialogues()[: options.dialogues])
    world = load_world(options.world)
    if options.examples:
        world = replace(world, examples=read_examples(options.examples))
    settings, index = Settings.read(), load_answer_index(options.index)
    if left:
        folder = model_folder(options.model, options.adapter)
        engine = load_engine(folder, threads=options.threads, context=settings.context, dtype=options.dtype)
        player = Player(engine, world, index.facts, settings, form=options.form)
        how = {"model": folder.name, "dtype": options.dtype, "examples": len(world.examples), "form": options.form}
        with out.open("a", encoding="utf-8") as file:
            for dialogue in tqdm(left, desc=options.name, unit="dialogue"):
                turns = player.play(dialogue)
                row = {"run": options.name, "dialogue": dialogue.number, **how,
                       "profile": dialogue.profile, "turns": turns}  # fmt: skip
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
    print(out)


def score(options: argparse.Namespace) -> None:
    """The command `score`."""
    from bench.storyteller import scores
    from prologue.answers.embedder import Embedder
    from prologue.answers.index_build.embedder_build import build_embedder

    runs: dict[str, list[Played]] = {}
    for path in options.files:
        rows = read_played(path)
        if not rows:
            raise BenchError(f"{path} holds no dialogue yet: play some first.")
        runs.setdefault(rows[0]["run"], []).extend(rows)
    world = load_world(options.world)
    prompt = " ".join([message["content"] for message in fixed_messages(world)] + [world.opening, *world.visitor])
    embed = Embedder(build_embedder(ROOT / "build" / "embedder")).embed
    table = {name: scores.score(rows, prompt, embed) for name, rows in runs.items()}
    print(markdown(table))
    for name, rows in runs.items():
        common = scores.commonest_strange_words(rows, prompt).most_common(30)
        print(f"Strange words of {name}: {', '.join(f'{word} {count}' for word, count in common) or 'none'}.")
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "storyteller.json").write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.pairs:
        if len(runs) < 2:
            raise BenchError("--pairs needs the files of two runs or more.")
        out = OUT / "storyteller-pairs.md"
        print(f"{write_pairs([*runs.values()], options.pairs, out)} pairs to read: {out}")
    if options.blind:
        out = OUT / "storyteller-blind.md"
        print(f"{write_singles(next(iter(runs.values())), options.blind, out)} replies to read: {out}")


def markdown(table: Mapping[str, Mapping[str, Figure]]) -> str:
    """A row a figure and a column a run: the figure, its 95% interval, and of how many."""
    lines = [f"| | {' | '.join(table)} |", "|---" * (len(table) + 1) + "|"]
    for row in next(iter(table.values())):
        cells = (_cell(row, figures[row]) for figures in table.values())
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: str, figure: Figure) -> str:
    if not figure.of:
        return "-"
    value, low, high, of = figure
    if row.endswith(("(mean)", "(median)")):
        return f"{value:.1f} ({low:.1f} to {high:.1f})"
    digits = 2 if row.startswith("strange") else 1
    return f"{100 * value:.{digits}f}% ({100 * low:.{digits}f} to {100 * high:.{digits}f}; of {of:,})"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.storyteller", description="How well a model tells the story."
    )
    commands = parser.add_subparsers(required=True)
    player = commands.add_parser("play", help="let a model tell the replies")
    add_model(player)
    player.add_argument("--name", required=True, help="what the run is called in the table")
    player.add_argument("--out", type=Path, help="default: build/bench/storyteller-NAME.jsonl")
    player.add_argument("--world", type=Path, default=WORLD)
    player.add_argument("--index", type=Path, default=ROOT / "build" / "worlds" / "emerald_city" / "answers")
    player.add_argument("--examples", type=Path, metavar="FILE", help="turns to show first, in place of the world's")
    player.add_argument("--form", action="store_true", default=True, help="hold the world's form of a reply (default)")
    player.add_argument("--free", action="store_false", dest="form", help="hold no form")
    player.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of a checkpoint folder")
    player.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    player.add_argument("--dialogues", type=int, default=60, help="the first so many (default 60)")
    player.set_defaults(run=play)
    scorer = commands.add_parser("score", help="score what was played")
    scorer.add_argument("files", type=Path, nargs="+", help="files that `play` has written")
    scorer.add_argument("--world", type=Path, default=WORLD)
    scorer.add_argument("--pairs", type=int, default=0, metavar="N", help="write N pairs of replies to read blind")
    scorer.add_argument("--blind", type=int, default=0, metavar="N", help="write N replies of the first file to read")
    scorer.set_defaults(run=score)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (BenchError, AnswerIndexError, EmbedderError, EngineError, WorldError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
