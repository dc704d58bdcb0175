"""Plays a world's prologue in a terminal, with a storyteller that only pretends to wake. No server."""

from __future__ import annotations

import time
from collections.abc import Callable

from prologue.script.player import Beat, ReplyError, reading_s
from prologue.world import World


def play(
    world: World,
    wait_s: float,
    *,
    show: Callable[[str], None] = print,
    ask: Callable[[str], str] = input,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, str]:
    """Tells the prologue to its final beat as if the storyteller woke after `wait_s`; gives the profile."""
    script, state = world.script, world.script.begin()
    profile: dict[str, str] = {}
    begun = clock()
    show(f"— {world.title} —")
    while True:
        left = wait_s - (clock() - begun)
        beat, state = script.next(state, left <= 0, max(left, 0.0), profile)
        _tell(beat, show, sleep)
        if beat.ask is not None:
            choices = f" [{' / '.join(beat.ask.choices)}]" if beat.ask.choices else ""
            while said := ask(f"{beat.ask.text}{choices} ").strip():
                try:
                    profile[beat.ask.key], state = script.reply(state, beat.ask.key, said)
                    break
                except ReplyError as error:
                    show(str(error))
        if beat.final:
            woke = wait_s - (clock() - begun)
            show(f"[the storyteller is awake: {world.opening}]" if woke <= 0 else "[the storyteller still sleeps]")
            return profile


def _tell(beat: Beat, show: Callable[[str], None], sleep: Callable[[float], None]) -> None:
    if beat.speaker and beat.lines:
        show(f"\n{beat.speaker}:")
    for place, line in enumerate(beat.lines):
        show(f"  {line.text}")
        following = beat.lines[place + 1 : place + 2]
        sleep(following[0].at_s - line.at_s if following else reading_s(line.text))
