"""The `overture` command: one name for the modules that `python -m` runs.

    overture play --wait 20        python -m local --wait 20
    overture pack smollm2 --out B  python -m model_build pack smollm2 --out B

Each subcommand passes its arguments on as they are; `overture COMMAND --help` is that module's own help.
"""

from __future__ import annotations

import runpy
import sys
from typing import NamedTuple


class Command(NamedTuple):
    """The module behind a subcommand, the arguments that precede the user's, and what it does."""

    module: str
    first: tuple[str, ...]
    help: str


def _of_model_build(name: str, text: str) -> Command:
    return Command("model_build", (name,), text)


COMMANDS = {
    "play": Command("local", (), "serve the play on this machine"),
    "chat": Command("client.terminal", (), "play in this terminal"),
    "world": Command("prologue", (), "new, check, play, build, ask, measure: a world and its answer index"),
    "pack": _of_model_build("pack", "round a Llama to INT4 and pack it into a bundle"),
    "verify": _of_model_build("verify", "compare every byte of a bundle with its checksums"),
    "prefix": _of_model_build("prefix", "compute a world's prompt and ship it with a bundle"),
    "finetune": _of_model_build("finetune", "learn a LoRA adapter from written dialogues"),
    "folder": _of_model_build("folder", "print the folder of a model, a GGUF file written out in 16 bits"),
    "generate": _of_model_build("generate", "print what a model says to a prompt"),
    "serve": _of_model_build("serve", "serve a model with OpenAI's protocol"),
    "deploy": Command("infra.deploy", (), "check, show what it costs, deploy to AWS"),
    "destroy": Command("infra.deploy", ("--destroy",), "take everything on AWS down again"),
}


def usage() -> str:
    """The list of subcommands."""
    lines = [f"  {name:<10} {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: overture COMMAND [argument ...]", "", *lines])


def main() -> None:
    """Runs the subcommand named first; its exit status is ours."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        return
    command = COMMANDS.get(name)
    if command is None:
        sys.exit(f"overture: there is no command {name!r}; `overture --help` lists them.")
    sys.argv = [f"overture {name}", *command.first, *rest]
    runpy.run_module(command.module, run_name="__main__", alter_sys=True)
