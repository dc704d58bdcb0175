"""Which start fits a model: a cold start or a snapshot, with memory fitted to the model, in seconds and dollars.

Every rate is an assumption with its source; none was measured with this project on AWS. `make deploy` shows the result,
`bench/costs.py` writes it to `docs/costs.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

from infra.deploy.prices import MONTH_S, VISIT, Session, around, dollars, usd, watching
from infra.settings import MOST_MEMORY_MB

#: Decoding reads all weights once for a token. The published reference runs an 8B of 4.23 GB in INT4 at 2.5 tokens a
#: second on a 10 GB function; other models are taken to read as many bytes a second.
BYTES_PER_S = 2.5 * 4.23e9
#: What sampling, posting and Python take at least for a token.
MOST_TOKENS_PER_S = 60.0
#: A visitor reads some 240 words a minute: 6 tokens a second keep ahead of that.
READING_TOKENS_PER_S = 6.0
#: Python, torch, and what a reply needs beside the weights (a cache of 4,096 tokens of an 8B: 0.5 GB).
MEMORY_BESIDE_MODEL_MB = 1024
#: Lambda gives one whole CPU at this memory, and more in proportion.
ONE_CPU_MB = 1769
#: A cold start: Python and torch, then the image, read at the rate of the published reference (4.5 GB in 42 s).
COLD_BASE_S, COLD_BYTES_PER_S = 8.0, 4.5e9 / 42
#: A restore: a public project measured 2.4 s for a function of 4 GB.
RESTORE_S_PER_GB = 0.6


@dataclass(frozen=True)
class Start:
    """One way to start, for one model: its wait, its fixed costs a month and its cost a visit."""

    name: str
    memory_mb: int
    seconds: float
    month_usd: float
    visit_usd: float

    def total(self, visits_per_day: float) -> float:
        """Dollars a month, the visits included."""
        return self.month_usd + self.visit_usd * visits_per_day * 30


def tokens_per_s(model_bytes: int, memory_mb: int) -> float:
    """Assumed speed: memory bandwidth and CPU come in proportion to memory."""
    whole = min(BYTES_PER_S / max(model_bytes, 1), MOST_TOKENS_PER_S)
    return whole * min(memory_mb / MOST_MEMORY_MB, 1.0)


def fit_memory(model_bytes: int) -> int:
    """The least memory, in MB, that holds the model, has a whole CPU, and keeps ahead of a reader if any does."""
    whole = tokens_per_s(model_bytes, MOST_MEMORY_MB)
    fast = MOST_MEMORY_MB * READING_TOKENS_PER_S / whole
    least = max(model_bytes / 1024**2 * 1.1 + MEMORY_BESIDE_MODEL_MB, ONE_CPU_MB, fast)
    return int(min(-(-least // 256) * 256, MOST_MEMORY_MB))


def cold_seconds(model_bytes: int) -> float:
    return COLD_BASE_S + model_bytes / COLD_BYTES_PER_S


def telling_seconds(model_bytes: int, memory_mb: int, visit: Session = VISIT) -> float:
    """How long the storyteller works for a visit, without its start."""
    return visit.turns * (visit.first_token_s + visit.reply_tokens / tokens_per_s(model_bytes, memory_mb))


def starts(model_bytes: int, memory_mb: int) -> list[Start]:
    """A cold start and a snapshot, at this memory."""
    gb = memory_mb / 1024
    telling = telling_seconds(model_bytes, memory_mb)
    work = usd("lambda", gb * telling) + watching(telling) + sum(around().values())
    cold, restored = cold_seconds(model_bytes), RESTORE_S_PER_GB * gb
    return [
        Start("cold", memory_mb, cold, 0.0, work + usd("lambda", gb * cold) + watching(cold)),
        Start(
            "snapstart",
            memory_mb,
            restored,
            usd("snapshot", gb * MONTH_S),
            work + usd("restore", gb) + usd("lambda", gb * restored) + watching(restored),
        ),
    ]


def suggest(model_bytes: int, memory_mb: int, visits_per_day: int) -> tuple[list[Start], Start]:
    """Both starts, and the cheaper one at so many visits a day."""
    both = starts(model_bytes, memory_mb)
    return both, min(both, key=lambda start: start.total(visits_per_day))


def suggestion(model_bytes: int, memory_mb: int, visits_per_day: int) -> str:
    """The comparison as `make deploy` shows it."""
    both, best = suggest(model_bytes, memory_mb, visits_per_day)
    lines = [f"Starts at {memory_mb} MB (assumed rates, docs/costs.md):"]
    lines += [
        f"  start={one.name:9} {one.seconds:5.1f} s to wake, {dollars(one.month_usd)} a month, "
        f"{dollars(one.visit_usd)} a visit: {dollars(one.total(visits_per_day))} a month in all"
        for one in both
    ]
    other = next(one for one in both if one is not best)
    reason = (
        f"{dollars(other.total(visits_per_day) - best.total(visits_per_day))} a month cheaper"
        if best.name == "cold"
        else "cheaper and faster"
    )
    return "\n".join([*lines, f"At {visits_per_day} visits a day start={best.name} fits: {reason}."])
