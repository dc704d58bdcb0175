"""How the wait feels: plays the whole play at several waits, as the terminal client does, and times it.

    python -m bench.wait --waits 0 5 20 50

For each wait: seconds to the first frame, the longest time in which nothing new came on the
visitor's screen before the story (the timed fragments of a beat count when they appear, a countdown
when its number changes), and seconds from "ready" to the first token of the story. It runs the
local stack, so the wait is simulated by pacing the reading of the weights, and a visitor who never
hesitates answers every question after `--think` seconds. Knows the client's library and the local
stack; nothing of the handlers.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from client.session.connection import Play
from client.session.events import BeatCame, Welcomed, Woke
from client.session.story import Ended, Told
from local.checks import find_model
from local.plan import LocalError
from local.play import overture
from local.stack import LocalStack

#: What a visitor of this bench replies to the questions of any world: a choice, or this.
REPLY = "Nim"


@dataclass
class Watch:
    """What came on the screen and when, in seconds since the page was opened; `ticks` are of the countdown."""

    shown: list[tuple[float, str]] = field(default_factory=list)
    ticks: list[tuple[float, str]] = field(default_factory=list)
    first_frame_s: float | None = None
    ready_s: float | None = None
    opening_s: float | None = None
    first_token_s: float | None = None
    end_s: float | None = None

    def longest_gap(self, *, counted: bool = False) -> tuple[float, str]:
        """The longest time with nothing new from the first frame to the first token, and what came before it.

        `counted`: a tick of the countdown is something new.
        """
        until = self.first_token_s if self.first_token_s is not None else float("inf")
        times = sorted((at, what) for at, what in [*self.shown, *(self.ticks if counted else [])] if at <= until)
        gaps = [(later[0] - earlier[0], earlier[1]) for earlier, later in itertools.pairwise(times)]
        return max(gaps, default=(0.0, "nothing"))

    @property
    def ready_to_token_s(self) -> float | None:
        """From the moment the storyteller could begin (awake, and asked for the opening) to its first token."""
        if self.first_token_s is None or self.ready_s is None or self.opening_s is None:
            return None
        return self.first_token_s - max(self.ready_s, self.opening_s)


async def watch(url: str, *, think_s: float = 0.5, patience_s: float = 180.0) -> Watch:
    """Plays from the door to the end of the first reply of the story, and says how it went."""
    seen = Watch()
    began = time.monotonic()

    def now() -> float:
        return time.monotonic() - began

    def note_frame(direction: str, frame: object) -> None:
        if direction == "in" and seen.first_frame_s is None:
            seen.first_frame_s = now()

    play = Play(url, observe=note_frame)
    telling: asyncio.Task[None] | None = None

    async def tell(came: BeatCame) -> None:
        """Shows a beat as a screen does, then goes on."""
        beat, start = came.beat, time.monotonic()
        for line in beat.lines:
            await asyncio.sleep(max(0.0, start + line.at_s - time.monotonic()))
            seen.shown.append((now(), f"beat {beat.id}: {line.text}"))
        if beat.ask is not None:
            seen.shown.append((now(), f"question {beat.ask.key}"))
            await asyncio.sleep(think_s)
            await play.say(beat.ask.choices[0] if beat.ask.choices else REPLY, ask=beat.ask.key)
        else:
            await asyncio.sleep(max(0.0, start + beat.length_s - time.monotonic()))
            await play.next(beat.id)
        if beat.final:
            seen.opening_s = now()

    try:
        async with asyncio.timeout(patience_s), play:
            counted = ""
            async for event in play:
                match event:
                    case Welcomed():
                        seen.shown.append((now(), "welcome"))
                    case BeatCame():
                        telling = asyncio.create_task(tell(event))
                    case Woke():
                        wake = event.wake
                        countdown = f"{wake.state} {round((wake.progress or 0) * 100)}% {round(wake.eta_s or 0)} s"
                        if countdown != counted:
                            counted = countdown
                            seen.ticks.append((now(), countdown))
                        if wake.state == "ready" and seen.ready_s is None:
                            seen.ready_s = now()
                    case Told():
                        if seen.first_token_s is None:
                            seen.first_token_s = now()
                            seen.shown.append((now(), "story"))
                    case Ended():
                        seen.end_s = now()
                        return seen
    finally:
        if telling is not None:
            telling.cancel()
    return seen


async def measure(waits: Sequence[float], *, model: str | None, think_s: float) -> list[dict[str, object]]:
    """One fresh stack and one play a wait. Raises `LocalError` when the stack cannot run."""
    rows: list[dict[str, object]] = []
    folder = None if model is None else await find_model(model)
    for wait_s in waits:
        plan = overture(wait_s=wait_s) if folder is None else overture(wait_s=wait_s, model=folder)
        async with LocalStack(plan) as stack:
            await stack.prestart()
            seen = await watch(stack.url, think_s=think_s, patience_s=180 + wait_s)
        gap, after = seen.longest_gap()
        still, _ = seen.longest_gap(counted=True)
        rows.append(
            {
                "wait_s": wait_s,
                "first_frame_s": _rounded(seen.first_frame_s),
                "longest_gap_s": _rounded(gap),
                "gap_after": after,
                "longest_still_s": _rounded(still),
                "ready_s": _rounded(seen.ready_s),
                "story_asked_s": _rounded(seen.opening_s),
                "first_token_s": _rounded(seen.first_token_s),
                "ready_to_first_token_s": _rounded(seen.ready_to_token_s),
            }
        )
        print(f"  wait {wait_s:g} s: done", file=sys.stderr, flush=True)
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.wait", description="Times how the wait feels to a visitor.")
    parser.add_argument("--waits", type=float, nargs="+", default=[0, 1, 5, 20, 50], metavar="S", help="waits to play")
    parser.add_argument("--think", type=float, default=0.5, metavar="S", help="how long the visitor thinks (0.5)")
    parser.add_argument("--model", help="another than the default: a bundle, folder, GGUF file, hub id or smollm2")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    try:
        rows = asyncio.run(measure(options.waits, model=options.model, think_s=options.think))
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    columns = [name for name in rows[0] if name != "gap_after"]
    print("  ".join(f"{name:>{len(name)}}" for name in columns))
    for row in rows:
        print("  ".join(f"{row[name]!s:>{len(name)}}" for name in columns), f"  (after: {row['gap_after']})")
    return 0


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


if __name__ == "__main__":
    sys.exit(main())
