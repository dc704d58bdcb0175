"""The subcommand `demo`: corpus, tokenizer, train, pack, eval, or all of them in turn.

Only arguments and order; torch is imported when it is needed, so `--help` is quick.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from model_build.demo.recipe import BOOK, MODEL, WORK, WORLD, Recipe

if TYPE_CHECKING:
    from model_build.demo.corpus import Encoder

STAGES = ("corpus", "tokenizer", "train", "pack", "eval")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `demo`."""
    parser = subparsers.add_parser("demo", help="write a corpus, train the small demo Llama on it and pack it")
    parser.add_argument(
        "stage",
        choices=[*STAGES, "all", "compare"],
        help="what to do; each stage needs the ones before it (compare: two sizes against each other)",
    )
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="optimizer steps in all (default %(default)s)")
    parser.add_argument(
        "--cooling", type=float, default=Recipe.cooling, help="share of the steps that cool (default %(default)s)"
    )
    parser.add_argument("--rate", type=float, default=1.0, help="share of the recipe's rates to train at (default 1)")
    parser.add_argument("--start", type=Path, help="a packed model to go on from where there is no checkpoint")
    parser.add_argument("--unfinished", action="store_true", help="let pack take a run that has not come to its end")
    parser.add_argument(
        "--threads",
        type=int,
        default=0,
        help="CPU threads for train and compare (default: all; eval takes one a precision)",
    )
    parser.add_argument("--work", type=Path, default=WORK, help="corpus and checkpoints (default %(default)s)")
    parser.add_argument("--out", type=Path, default=MODEL, help="the packed model (default %(default)s)")
    parser.add_argument("--world", type=Path, default=WORLD, help="whose prompt is used (default %(default)s)")
    parser.add_argument(
        "--replies", type=int, default=200, help="replies to judge in eval for each row (default %(default)s)"
    )
    parser.add_argument("--book", type=Path, default=BOOK, help="the answer book that eval has notes of (%(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Runs the stage, or all stages. Raises ValueError for numbers that train nothing."""
    for name, least, most in (("steps", 1, 10_000_000), ("rate", 0.001, 10), ("cooling", 0.001, 1)):
        if not least <= getattr(options, name) <= most:
            raise ValueError(f"--{name} is {getattr(options, name)}: give one from {least} to {most}.")
    recipe = Recipe(steps=options.steps, cooling=options.cooling)
    recipe = recipe.but(muon_rate=options.rate * recipe.muon_rate, adam_rate=options.rate * recipe.adam_rate)
    for stage in STAGES if options.stage == "all" else (options.stage,):
        _RUN[stage](recipe, options)


def _corpus(recipe: Recipe, options: argparse.Namespace) -> None:
    from model_build.demo.corpus import write_corpus

    print("corpus sha256", write_corpus(recipe, options.work / "corpus"))


def _tokenizer(recipe: Recipe, options: argparse.Namespace) -> None:
    from model_build.demo.corpus import texts
    from model_build.demo.tokens import train_tokenizer
    from prologue.world import load_world

    tokenizer = train_tokenizer(texts(load_world(options.world), options.work / "corpus", 2), recipe.vocabulary)
    tokenizer.save(str(options.work / "tokenizer.json"))


def _encoder(recipe: Recipe, options: argparse.Namespace) -> Encoder:
    from model_build.demo.corpus import Encoder
    from model_build.demo.tokens import load_tokenizer
    from prologue.world import load_world

    tokenizer = load_tokenizer(options.work / "tokenizer.json")
    return Encoder(load_world(options.world), tokenizer, recipe.context, recipe.copied)


def _train(recipe: Recipe, options: argparse.Namespace) -> None:
    from model_build.demo.plot import plot_loss
    from model_build.demo.training import read_log, train, use_threads

    use_threads(options.threads)
    train(recipe, _encoder(recipe, options), options.work / "corpus", options.work / "run", start=options.start)
    plot_loss(list(read_log(options.work / "run" / "log.jsonl")), options.work / "run" / "loss.svg")


def _pack(recipe: Recipe, options: argparse.Namespace) -> None:
    from model_build.demo.folder import pack

    pack(recipe, options.work, options.out, options.unfinished)


def _eval(recipe: Recipe, options: argparse.Namespace) -> None:
    from model_build.demo.evaluation import evaluate

    evaluate(recipe, _encoder(recipe, options), options.work / "corpus", options.out, options.replies, options.book)


def _compare(recipe: Recipe, options: argparse.Namespace) -> None:
    from model_build.demo.compare import compare
    from model_build.demo.training import use_threads

    use_threads(options.threads)
    compare(recipe, _encoder(recipe, options), options.work / "corpus", options.work / "compare")


_RUN = {
    "corpus": _corpus, "tokenizer": _tokenizer, "train": _train, "pack": _pack, "eval": _eval, "compare": _compare,
}  # fmt: skip
