"""Tells what a model says to one prompt; only the text goes to standard output.

python -m model_build generate <model> --prompt P --tokens N --temperature T --seed S [--raw]
"""

from __future__ import annotations

import argparse
import sys

from model_build.resolve import add_model, model_folder


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `generate` to the commands of `python -m model_build`."""
    parser = commands.add_parser("generate", help="print what a model says to a prompt")
    add_model(parser)
    parser.add_argument("--prompt", required=True, help="what to say to it; - reads standard input")
    parser.add_argument("--tokens", type=int, default=256, help="the most tokens to print (default 256)")
    own = "default: what the model says"
    parser.add_argument("--temperature", type=float, help=f"0 always takes the likeliest ({own}, else 0.8)")
    parser.add_argument("--top-p", type=float, help=f"{own}, else 0.95")
    parser.add_argument("--top-k", type=int, help=f"{own}, else none")
    parser.add_argument("--min-p", type=float, help=f"{own}, else none")
    parser.add_argument("--repetition-penalty", type=float, help=f"{own}, else none")
    parser.add_argument("--seed", type=int, help="the same seed prints the same text")
    parser.add_argument("--raw", action="store_true", help="go on from the prompt as it is, without a chat template")
    parser.add_argument("--threads", type=int, help="CPU threads (default: as many as there are)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """The command; raises EngineError in a sentence."""
    from storyteller.engine import Sampling, load_engine
    from storyteller.engine.files.defaults import FIELDS

    given = {name: value for name in FIELDS if (value := getattr(options, name)) is not None}
    given |= {"seed": options.seed, "max_tokens": options.tokens}
    Sampling(**given)  # refuses before gigabytes are read
    engine = load_engine(
        model_folder(options.model, options.adapter), chat=not options.raw, threads=options.threads, cache_slots=1
    )
    prompt = sys.stdin.read() if options.prompt == "-" else options.prompt
    ids = engine.encode(prompt) if options.raw else engine.encode_chat([{"role": "user", "content": prompt}])

    def show(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    engine.generate(ids, Sampling(**{**engine.defaults, **given}), emit=show)
    sys.stdout.write("\n")
