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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from bench.storyteller_lines import Dialogue, Line, read_dialogues
from bench.storyteller_reading import write_pairs, write_singles
from model_build.resolve import add_model, model_folder
from overture.settings import Settings
from prologue.answers.index import MOST_FACTS, load_answer_index
from prologue.errors import AnswerIndexError, EmbedderError
from prologue.prompt import Turn, compose_within, fit_notes, fixed_messages
from prologue.world import Example, ExampleEntry, World, WorldError, load_world
from prologue.yaml_file import read_yaml
from storyteller.engine import EngineError, Grammar, Sampling, load_engine

if TYPE_CHECKING:
    from bench.storyteller_scores import Figure
    from storyteller.engine import Engine

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "bench"
WORLD = ROOT / "prologue" / "worlds" / "emerald_city"

Played = dict[str, Any]


class BenchError(Exception):
    """What is wrong with a file or an option, in one sentence."""


class Player:
    """A model that tells the replies of a dialogue, as the storyteller does."""

    def __init__(
        self,
        engine: Engine,
        world: World,
        facts: Callable[[str], Sequence[str]],
        settings: Settings,
        *,
        form: bool = True,
    ) -> None:
        self._engine, self._world, self._facts, self._settings = engine, world, facts, settings
        self._sampling = Sampling(
            **settings.sampling(engine.defaults),
            max_tokens=settings.max_tokens,
            grammar=form_of(world) if form else None,
        )

    def play(self, dialogue: Dialogue) -> list[dict[str, Any]]:
        """Every turn of a dialogue: the line, the reply, and what telling it took."""
        turns: list[Turn] = []
        played = []
        for place, line in enumerate(dialogue.lines):
            turns.append(Turn(line.said, "", self._notes(dialogue, line)))
            room = self._engine.context - self._settings.max_tokens
            messages = compose_within(self._world, dialogue.profile, turns, room, self._engine.count_chat)
            seed = 100 * dialogue.number + place
            done = self._engine.generate(self._engine.encode_chat(messages), replace(self._sampling, seed=seed))
            turns[-1] = turns[-1]._replace(reply=done.text)
            played.append(
                {
                    **{key: value for key, value in line._asdict().items() if value or key == "said"},
                    "notes": list(turns[-1].notes),
                    "reply": done.text,
                    "reason": done.reason,
                    "tokens": done.tokens,
                    "ttft_s": round(done.ttft_s, 4),
                    "total_s": round(done.total_s, 4),
                    "prompt_tokens": done.prompt_tokens,
                    "reused_tokens": done.reused_tokens,
                }
            )
        return played

    def _notes(self, dialogue: Dialogue, line: Line) -> list[str]:
        """What Front finds for a line; for the opening, for what the world recalls of the visitor."""
        about = (
            [line.said] if line.said else [dialogue.profile.get(f.key, "") for f in self._world.profile if f.recalls]
        )
        found = dict.fromkeys(fact for text in about if text for fact in self._facts(text))
        count = self._engine.encode
        return fit_notes([*found][:MOST_FACTS], self._settings.knowledge_tokens, lambda text: len(count(text)))


def form_of(world: World) -> Grammar | None:
    """The grammar that replies are held to; None where the world says no form."""
    form = world.reply
    return None if form is None else Grammar("lark", form.first_part(), form.next_part)


def read_played(path: Path) -> list[Played]:
    """The dialogues of a file, without a last line that was cut. Raises BenchError for anything else."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeError) as error:
        raise BenchError(f"{path} cannot be read ({error}): give a file that `play` has written.") from None
    if lines.pop():
        print(f"{path}: the last line was cut off; it is left out.", file=sys.stderr)
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise BenchError(f"{path} is no file that `play` has written ({error}).") from None


def read_examples(path: Path) -> tuple[Example, ...]:
    """The turns of a YAML file, a list of {said, reply}. Raises WorldError."""
    found: list[ExampleEntry] = read_yaml(path, list[ExampleEntry])
    return tuple(one.read() for one in found)


def resume(path: Path, name: str, dialogues: Sequence[Dialogue]) -> list[Dialogue]:
    """The dialogues that are not yet in the file, whose cut last line is removed."""
    if not path.exists():
        return list(dialogues)
    there = read_played(path)
    said = {one.number: [line.said for line in one.lines] for one in dialogues}
    for row in there:
        if row["run"] != name:
            raise BenchError(f"{path} holds replies of {row['run']!r}, not of {name!r}: give another --out.")
        if row["dialogue"] in said and said[row["dialogue"]] != [turn["said"] for turn in row["turns"]]:
            raise BenchError(f"{path} was played with other lines: remove it, or give another --out.")
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in there), encoding="utf-8")
    done = {row["dialogue"] for row in there}
    return [one for one in dialogues if one.number not in done]


def play(options: argparse.Namespace) -> None:
    """The command `play`."""
    out: Path = options.out or OUT / f"storyteller-{options.name}.jsonl"
    out.parent.mkdir(parents=True, exist_ok=True)
    left = resume(out, options.name, read_dialogues()[: options.dialogues])
    world = load_world(options.world)
    if options.examples:
        world = replace(world, examples=read_examples(options.examples))
    settings, book = Settings.read(), load_answer_index(options.book)
    if left:
        folder = model_folder(options.model, options.adapter)
        engine = load_engine(folder, threads=options.threads, context=settings.context, dtype=options.dtype)
        player = Player(engine, world, book.facts, settings, form=options.form)
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
    from bench import storyteller_scores as scores
    from prologue.answers.embedder import Embedder
    from prologue.answers.embedder_build import build_embedder

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
    player.add_argument("--book", type=Path, default=ROOT / "build" / "worlds" / "emerald_city" / "book")
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
