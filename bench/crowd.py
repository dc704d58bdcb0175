"""A crowd at one machine: visitors who all play at once, on the local stack with its real functions.

    python -m bench.crowd --visitors 100 300 1000 [--over 120]

Each comes at a moment of its own within `--over` seconds: hello, three steps of the prologue, one written answer,
the first scene and one line. A random Llama of two small layers tells, so what is measured is everything but the model.
Prints errors, p50, p95 and p99 of the first frame, of the answer and of a line's first token, and memory; writes
build/bench/crowd.json.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from bench.results import row, write
from client.session.connection import Play
from client.session.events import AnswerCame, BeatCame, Event, Failed
from client.session.story import Change, Ended, Told
from local.play import overture
from local.stack import LocalStack
from tests.tiny_llama import write_tiny_llama

T = TypeVar("T")

STEPS = 3
WAITS = ("first frame", "answer", "first token")
#: How long a visitor waits for anything before it counts as an error, in seconds. Two storytellers serve a thousand
#: visitors in some eleven minutes, and who comes last waits for nearly all of them.
PATIENCE_S = 900.0
_SAMPLE_S = 2.0
#: Open files: a visitor has two sockets here, the client's end and the gateway's, and for a moment those on the way in;
#: beside them the stack has its own.
_FILES_A_VISITOR, _FILES_BESIDE = 5, 500
#: Clients ask for their tickets in threads; with the few that asyncio has by default, they would wait for each other.
_ASKING = 128


@dataclass
class Crowd:
    """What the visitors saw: seconds by what they waited for, errors by their words, memory in MB by function."""

    seconds: dict[str, list[float]] = field(
        default_factory=lambda: {"first frame": [], "answer": [], "first token": []}
    )
    errors: Counter[str] = field(default_factory=Counter)
    memory_mb: dict[str, int] = field(default_factory=dict)
    processes: dict[str, int] = field(default_factory=dict)


async def visit(url: str, crowd: Crowd) -> None:
    """One visitor, from hello to the end of a reply."""
    began = time.monotonic()
    async with Play(url) as play:

        async def seen(kind: type[T], turn_id: str | None = None) -> T:
            def is_it(event: Event | Change) -> bool:
                of = getattr(event, "turn", None)
                return isinstance(event, Failed) or (
                    isinstance(event, kind) and (turn_id is None or (of is not None and of.id == turn_id))
                )

            event = await play.until(is_it, timeout_s=PATIENCE_S)
            if isinstance(event, kind):
                return event
            raise RuntimeError(f"{event.code}: {event.message}" if isinstance(event, Failed) else "nothing came")

        beat = (await seen(BeatCame)).beat
        crowd.seconds["first frame"].append(time.monotonic() - began)
        for _ in range(STEPS):
            if beat.ask:
                play.say((beat.ask.choices or ["Nim"])[0], ask=beat.ask.key)
            else:
                play.next(beat.id)
            beat = (await seen(BeatCame)).beat
        asked = time.monotonic()
        question = play.say("What can you do?")
        await seen(AnswerCame, question.id)
        crowd.seconds["answer"].append(time.monotonic() - asked)
        await play.skip()
        await seen(Ended)
        said = time.monotonic()
        line = play.say("I knock at the green door.")
        await seen(Told, line.id)
        crowd.seconds["first token"].append(time.monotonic() - said)
        await seen(Ended, line.id)


async def play(visitors: int, over_s: float, model: Path, seed: int = 1) -> Crowd:
    """Lets so many visitors in within `over_s` seconds, and waits until the last has left."""
    plan = overture(model=model, wait_s=0).change(
        "storyteller", environment={"OVERTURE_MAX_TOKENS": "24", "OVERTURE_TEMPERATURE": "0"}
    )
    # All come from one address, which would have its share otherwise.
    plan = plan.change("front", environment={"OVERTURE_WAKES_PER_DAY": "0"})
    plan = plan.change("ticket", environment={"OVERTURE_TICKETS_PER_MINUTE": "0"})
    crowd, draw = Crowd(), random.Random(seed)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(min(visitors, _ASKING)))
    with tempfile.TemporaryDirectory() as logs:
        async with LocalStack(plan, logs=Path(logs)) as stack:
            await stack.prestart()
            bar = tqdm(total=visitors, desc=f"{visitors} visitors", unit="visitor")

            async def come(after_s: float) -> None:
                await asyncio.sleep(after_s)
                try:
                    await visit(stack.url, crowd)
                except Exception as error:  # every kind counts
                    crowd.errors[f"{type(error).__name__}: {error}"[:60]] += 1
                bar.update()

            watch = asyncio.create_task(_watch(stack, crowd))
            await asyncio.gather(*(come(draw.uniform(0, over_s)) for _ in range(visitors)))
            watch.cancel()
            bar.close()
    return crowd


async def _watch(stack: LocalStack, crowd: Crowd) -> None:
    """Keeps the most memory that each function's processes had together, without what they share twice."""
    while True:
        for name in ("front", "ticket", "authorizer", "storyteller"):
            sizes = [
                _share_mb(one.describe()["pid"]) for one in stack.environments(name) if not one.describe()["ended"]
            ]
            if sum(sizes) > crowd.memory_mb.get(name, 0):
                crowd.memory_mb[name], crowd.processes[name] = sum(sizes), len(sizes)
        await asyncio.sleep(_SAMPLE_S)


def _share_mb(pid: int) -> int:
    """A process's proportional share of memory (PSS) in MB; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0) // 1024


def allow_files(visitors: int) -> None:
    """Raises the limit of open files to what these visitors need. Raises `SystemExit` if that is not allowed."""
    wanted = visitors * _FILES_A_VISITOR + _FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise SystemExit(
                f"{visitors} visitors need {wanted} open files, and {hard} are allowed; raise `ulimit -Hn`."
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.crowd", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--visitors", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--over", type=float, default=120.0, metavar="SECONDS", help="time in which they come")
    options = parser.parse_args(arguments)
    allow_files(max(options.visitors))
    rows = []
    print("| visitors | errors | | p50 s | p95 s | p99 s |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny_llama(Path(folder) / "llama", context=4096)
        for visitors in options.visitors:
            crowd = asyncio.run(play(visitors, options.over, model))
            for name, seconds in crowd.seconds.items():
                if not seconds:
                    continue
                p50, p95, p99 = np.percentile(seconds, [50, 95, 99])
                print(f"| {visitors} | {sum(crowd.errors.values())} | {name} | {p50:.2f} | {p95:.2f} | {p99:.2f} |")
                rows.append(row(name, "s", seconds, visitors=visitors, p95=float(p95), p99=float(p99)))
            for name, megabytes in crowd.memory_mb.items():
                print(f"  {name}: {megabytes} MB in {crowd.processes[name]} processes")
            rows.append(row("errors", "visitors", [sum(crowd.errors.values())], visitors=visitors, **crowd.memory_mb))
            for words, count in crowd.errors.most_common():
                print(f"  {count} times {words}")
    print(write("crowd", rows, threads=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
