"""`python -m prologue`: build an answer index, ask it, rate it; check and play a world's prologue."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from prologue.errors import AnswerIndexError, EmbedderError, WorldError


class CommandError(Exception):
    """What a command cannot do: one sentence with the remedy."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; gives the exit status: 0, or 1 after one sentence on stderr."""
    # The matrices are small: on a busy machine several threads wait for each other far longer than one works.
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    # Only what a command needs is imported, and in it: FAISS takes long, and none is there before `make setup`.
    try:
        options = _parser().parse_args(arguments)
        status: int = options.run(options)
    except (WorldError, AnswerIndexError, EmbedderError, CommandError) as error:
        print(error, file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(
            f"This Python has no {error.name}: run `make setup`, then `.venv/bin/python -m prologue` with the same"
            " arguments.",
            file=sys.stderr,
        )
        return 1
    except OSError as error:
        print(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    from prologue.answers.answer import STATES

    parser = argparse.ArgumentParser(prog="python -m prologue", description="Worlds: prologues and written answers.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    build = commands.add_parser("build", help="make an answer index")
    build.add_argument("--answers", type=Path, required=True, metavar="FILE", help="the answers (YAML)")
    build.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of the index")
    build.add_argument(
        "--negatives", type=Path, metavar="FILE", help="lines without an answer, beside the general ones"
    )
    build.add_argument("--budget", type=_share, default=0.01, help="share of false answers allowed (default 0.01)")
    build.add_argument("--embedder", type=Path, default=Path("build/embedder"), metavar="DIR", help="made if missing")
    build.add_argument("--quiet", action="store_true", help="print nothing but faults")
    build.set_defaults(run=_build)

    ask = commands.add_parser("ask", help="ask an index one line")
    ask.add_argument("index", type=Path, metavar="DIR")
    ask.add_argument("text")
    ask.add_argument("--state", choices=STATES, default="prologue")
    ask.add_argument("--budget", type=_share, default=None, help="another share of false answers")
    ask.set_defaults(run=_ask)

    measure = commands.add_parser("measure", help="rate an index on labelled lines")
    measure.add_argument("index", type=Path, metavar="DIR")
    measure.add_argument("lines", type=Path, metavar="FILE.jsonl", help="lines {text, answer: id or null, state?}")
    measure.add_argument("--budget", type=_share, default=None, help="another share of false answers")
    measure.add_argument("--json", action="store_true", help="print JSON")
    measure.set_defaults(run=_measure)

    check = commands.add_parser("check", help="look a world over for faults")
    check.add_argument("world", type=Path, metavar="WORLD")
    check.add_argument("--embedder", type=Path, default=Path("build/embedder"), metavar="DIR", help="made if missing")
    check.set_defaults(run=_check)

    play = commands.add_parser("play", help="play a world's prologue in the terminal")
    play.add_argument("world", type=Path, metavar="WORLD")
    play.add_argument("--wait", type=_seconds, default=30.0, help="seconds until the storyteller wakes (default 30)")
    play.set_defaults(run=_play)

    new = commands.add_parser("new", help="make a small world from a template")
    new.add_argument("name", metavar="NAME")
    new.add_argument("--worlds", type=Path, default=Path(__file__).with_name("worlds"), metavar="DIR")
    new.set_defaults(run=_new)
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 86400")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _build(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from prologue.answers.index_build.builder import build_answer_index
    from prologue.answers.index_build.report import print_report

    # Shown on a terminal alone (`disable=None`).
    with tqdm(unit="line", leave=False, disable=True if options.quiet else None) as bar:

        def progress(step: str, done: int, total: int) -> None:
            bar.set_description_str(step, refresh=False)
            bar.total, bar.n = total, done
            bar.refresh()

        report = build_answer_index(
            options.answers,
            options.out,
            negatives_file=options.negatives,
            budget=options.budget,
            embedder=options.embedder,
            progress=progress,
        )
    for phrasing, one, other in report.shared:
        print(f"Shared: {phrasing!r} is a phrasing of {one} and of {other}; only {one} answers to it.", file=sys.stderr)
    if not options.quiet:
        print_report(report, options.out)
    return 0


def _ask(options: argparse.Namespace) -> int:
    from prologue.answers.index import load_answer_index

    index = load_answer_index(options.index, options.budget)
    decision = index.decide([options.text], options.state)[0]
    if decision.match is None:
        near = f", score {decision.score:.3f}" if decision.why == "too far" else ""
        print(f"(silent: {decision.why}{near})")
        for fact in index.facts(options.text):
            print(f"The storyteller would be told: {fact}")
        return 0
    match = decision.match
    print(match.text)
    print(f"[{match.id}: {match.matched!r}, score {match.score:.3f}]")
    return 0


def _measure(options: argparse.Namespace) -> int:
    from prologue.answers.index import load_answer_index
    from prologue.answers.index_build.measure import measure, read_labelled

    figures = measure(load_answer_index(options.index, options.budget), read_labelled(options.lines))
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<20} {value if isinstance(value, int) or value is None else format(value, '.4f')}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from prologue.check import check_world, find_near

    faults = check_world(options.world)
    for fault in faults:
        print(fault)
    for warning in find_near(options.world, options.embedder):
        print(f"warning: {warning}")
    print(f"{options.world}: {len(faults) or 'no'} fault{'' if len(faults) == 1 else 's'}")
    return 1 if faults else 0


def _play(options: argparse.Namespace) -> int:
    from prologue.play import play
    from prologue.world import load_world

    try:
        play(load_world(options.world), options.wait)
    except (KeyboardInterrupt, EOFError):
        print()
    return 0


def _new(options: argparse.Namespace) -> int:
    from prologue.new_world import make_world

    folder = make_world(options.name, options.worlds)
    print(f"{folder} is a small world of its own: change its files, then `python -m prologue check {folder}`.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
