"""The simulation's input and output: a system, and what it counts of it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from planner.simulation.arrivals import HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """What is simulated. Times in seconds; `cap` 0 is without limit."""

    tokens_per_s: float
    prefill_per_s: float
    first_fixed_s: float = 0.0
    #: Tokens of a line's prompt that are computed each time, and those of each earlier turn that a cold cache lacks.
    prompt_tokens: float = 0.0
    turn_tokens: float = 0.0
    context: float = 4_096.0
    #: Stories whose cache an environment keeps for their return.
    cache_slots: int = 2
    start_s: float = 0.0
    cap: int = 0
    keep_s: float = 600.0
    linger_s: float = 0.0
    #: From a lease given back until its slot may go to another: the record of the invocation has to come first.
    handover_s: float = 0.0
    prologue_s: float = 0.0
    #: Environments held ready, which are never reaped.
    provisioned: int = 0
    #: Machines that are always on: nothing starts, and `streams` replies share one. 0: environments come and go.
    machines: int = 0
    streams: int = 1
    batch_cost: float = 1.0
    grace_s: float = 30.0
    memory_gb: float = 10.0
    ceiling_gb_s: float = 0.0
    off_s: float = 24 * HOUR_S
    wakes_per_day: int = 0


@dataclass(slots=True)
class Outcome:
    """What a simulation counts. Waits in seconds, to a first word: from the prologue's end, and from a later line."""

    horizon_s: float = 0.0
    visits: int = 0
    completed: int = 0
    left: int = 0
    refused_wakes: int = 0
    refused_lines: int = 0
    replies: int = 0
    tokens: float = 0.0
    index_lines: int = 0
    invocations: int = 0
    starts: int = 0
    visits_cold: int = 0
    lines: int = 0
    #: Sessions that had to wait in line for a slot, and lines that found theirs waiting there.
    queued: int = 0
    queued_lines: int = 0
    queue_wait_s: float = 0.0
    queue_area: float = 0.0
    longest_queue: int = 0
    start_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    linger_s: float = 0.0
    warm_s: float = 0.0
    held_s: float = 0.0
    busy_s: float = 0.0
    #: Seconds at work in environments that are held ready.
    prepared_s: float = 0.0
    most_at_work: int = 0
    connected_s: float = 0.0
    kills: list[float] = field(default_factory=list)
    opening: array[float] = field(default_factory=lambda: array("d"))
    later: array[float] = field(default_factory=lambda: array("d"))

    @property
    def billed_s(self) -> float:
        """Seconds that an on-demand function is charged for."""
        return self.start_s + self.prefill_s + self.decode_s + self.linger_s
