"""`python -m local`: serves the play on one machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from local.checks import check, find_model, look_over
from local.plan import LocalError
from local.play import CONCURRENCY, ENVIRONMENTS, MODEL, WAIT_S, WORLD, overture
from local.stack import ROOT, LocalStack

PORT = 8080


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line. A wrong one is explained on standard error, with exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m local",
        description="Serves the play on this machine, with the real handlers run as Lambda does.",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=os.environ.get("PORT") or str(PORT),
        metavar="N",
        help=f"the port to serve on (default: the variable PORT, else {PORT})",
    )
    parser.add_argument(
        "--wait",
        type=_seconds,
        default=WAIT_S,
        metavar="S",
        help="make the storyteller's loading last at least S seconds, as a large model's does "
        f"(default {WAIT_S:.0f}; 0 is none)",
    )
    parser.add_argument(
        "--model",
        default=ROOT / MODEL,
        metavar="MODEL",
        help=f"a Llama: its folder, a bundle, a GGUF file or a hub id (default {MODEL})",
    )
    parser.add_argument(
        "--world", type=Path, default=ROOT / WORLD, metavar="DIR", help=f"the world to play in (default {WORLD})"
    )
    parser.add_argument(
        "--index", type=Path, metavar="DIR", help="the world's answer index (default build/worlds/NAME/answers)"
    )
    parser.add_argument(
        "--concurrency",
        type=_count,
        default=CONCURRENCY,
        metavar="N",
        help=f"how many storytellers may be at work at once (default {CONCURRENCY})",
    )
    parser.add_argument(
        "--environments",
        type=_count,
        default=ENVIRONMENTS,
        metavar="N",
        help="how many environments Front and the ticket functions may have each for visitors; beyond that events "
        f"queue (default {ENVIRONMENTS}, two for each core)",
    )
    parser.add_argument("--verbose", action="store_true", help="show what the functions print")
    return parser.parse_args(argv)


async def serve(options: argparse.Namespace) -> None:
    """Runs the play until it is cancelled. Raises `LocalError` when it cannot."""
    world = options.world.resolve()
    index = options.index or ROOT / "build" / "worlds" / world.name / "answers"
    origins = tuple(filter(None, os.environ.get("OVERTURE_ORIGINS", "").split(",")))
    model = await find_model(options.model)
    check(model=model, world=world, index=index)
    plan = overture(
        model=model,
        world=world,
        index=index,
        wait_s=options.wait,
        concurrency=options.concurrency,
        environments=options.environments,
        origins=origins,
    )
    say("Starting Lambda, API Gateway and DynamoDB, all on this machine.")
    async with LocalStack(plan, port=options.port, echo=options.verbose) as stack:
        say("Waking Front. The storyteller sleeps until a visitor comes.")
        await stack.prestart()
        await stack.visit()
        await look_over(model)
        if options.wait > 0:
            say(f"The storyteller will take {options.wait:g} s to wake. This wait is simulated; --wait 0 is none.")
        if not options.verbose:
            say(f"What the functions print goes to {stack.logs.folder}; --verbose shows it here.")
        say(f"The play is ready: {stack.url}")
        await asyncio.Event().wait()


async def until_told(options: argparse.Namespace) -> None:
    """`serve`, ended quietly by the first SIGINT or SIGTERM; later ones do not disturb the tidying up."""
    serving = asyncio.create_task(serve(options))
    told: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        if not told:
            told.append(number)
            serving.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        await serving
    except asyncio.CancelledError:
        if not told:
            raise


def say(line: str) -> None:
    """Tells whoever started us."""
    print(line, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Runs the command; gives the exit status."""
    options = parse(sys.argv[1:] if argv is None else argv)
    if sys.platform == "win32":
        print("The local stack freezes processes, which Windows cannot; run it in WSL.", file=sys.stderr)
        return 1
    try:
        asyncio.run(until_told(options))
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give a number from 0 (any free one) to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 3600")
    return number


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
