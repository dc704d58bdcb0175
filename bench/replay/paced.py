"""An engine that takes exactly as long as it is told, for `bench.replay`.

A start lasts `OVERTURE_LOAD_S` from the beginning of the process, so that what its imports take on this machine is a
part of it. A reply is as many words as the last "… steps" of its prompt asks for, at `PACED_TOKENS_PER_S`, after
`PACED_FIRST_S`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from storyteller.engine import Completion, Reason, Sampling

_STEPS = re.compile(r"(\d+) steps")


class PacedEngine:
    """What the worker asks of an engine, by the clock."""

    context = 1_000_000
    defaults: Mapping[str, float] = MappingProxyType({})

    def __init__(self, first_s: float, tokens_per_s: float) -> None:
        self._first_s, self._tokens_per_s = first_s, tokens_per_s

    def encode(self, text: str) -> list[int]:
        """A token a word."""
        return [0] * len(text.split())

    def count_chat(self, messages: Sequence[dict[str, str]]) -> int:
        """A token a word."""
        return sum(len(message["content"].split()) for message in messages)

    def encode_chat(self, messages: Sequence[dict[str, str]], go_on: bool = False) -> list[int]:
        """One number: how many tokens the reply is to have."""
        return [int(_STEPS.findall("\n".join(message["content"] for message in messages))[-1])]

    def generate(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        *,
        emit: Callable[[str], None],
        cancelled: Callable[[], bool],
        deadline: float,
    ) -> Completion:
        """Emits the reply's words, each when it is due."""
        began = time.monotonic()
        tokens, reason = 0, "length"
        while tokens < ids[0]:
            due = began + self._first_s + tokens / self._tokens_per_s
            while (left := due - time.monotonic()) > 0 and not cancelled():
                time.sleep(min(left, 0.05))
            if cancelled() or time.monotonic() > deadline:
                reason = "cancelled" if cancelled() else "deadline"
                break
            emit("on " if tokens else "You walk ")
            tokens += 1
        done: Reason = reason  # type: ignore[assignment]
        return Completion("", done, tokens, ids[0], 0, self._first_s, time.monotonic() - began)


def load_paced(_: Path, *, pace_s: float, **__: object) -> PacedEngine:
    """Stands in for `load_engine`."""
    time.sleep(max(0.0, pace_s - _age_s()))
    return PacedEngine(float(os.environ["PACED_FIRST_S"]), float(os.environ["PACED_TOKENS_PER_S"]))


def _age_s() -> float:
    """Seconds since this process began (Linux; elsewhere since this module was imported)."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return time.monotonic() - _IMPORTED
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


_IMPORTED = time.monotonic()
