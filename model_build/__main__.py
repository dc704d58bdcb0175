"""`python -m model_build`: everything that makes a model, one subcommand a module.

Each module of `COMMANDS` has `register(subparsers)`, which adds its own; a user's mistake is one sentence
on standard error and exit status 1.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

#: Modules with a `register(subparsers)`; add a line to add a subcommand.
COMMANDS: tuple[str, ...] = (
    "model_build.kernel",
    "model_build.packing.pack",
    "model_build.packing.prefix",
    "model_build.finetune",
    "model_build.resolve",
    "model_build.generate",
    "model_build.serving.server",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the subcommand named, and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m model_build", description="Make a model for the storyteller.")
    subparsers = parser.add_subparsers(dest="command", required=True)
    for module in COMMANDS:
        importlib.import_module(module).register(subparsers)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"This Python has no {error.name}: run `make setup`, then the same command again.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
