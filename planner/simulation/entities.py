"""The simulation's entities: sessions, environments, and the kill switch's meter."""

from __future__ import annotations

import math
from collections import deque

from planner.simulation.arrivals import HOUR_S, Visitor
from planner.simulation.system import System


class Session:
    __slots__ = (
        "asked", "cold", "decode_s", "env", "first_s", "gone_at", "handover", "leased", "line", "linger",
        "linger_since", "queued_at", "telling_s", "visitor", "work",
    )  # fmt: skip

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        self.line = 0
        self.asked = -1.0
        self.gone_at = math.inf
        self.leased = False
        self.handover = 0
        self.queued_at = -1.0
        self.env: Environment | None = None
        self.linger = 0
        self.linger_since = 0.0
        self.cold = False
        self.telling_s = 0.0
        # On a machine whose streams share its speed: what the present stage has left to do, and what follows it.
        self.work = 0.0
        self.first_s = 0.0
        self.decode_s = -1.0


class Environment:
    __slots__ = ("idle_since", "prepared", "running", "stories", "updated", "version")

    def __init__(self, prepared: bool = False) -> None:
        self.idle_since = 0.0
        self.stories: list[int] = []
        self.prepared = prepared
        # A machine's streams, which share its speed.
        self.running: list[Session] = []
        self.updated = 0.0
        self.version = 0


class KillSwitch:
    """Counts GB-seconds of the last 24 hours, by the hour, as the alarm's sliding day does by the minute."""

    def __init__(self, system: System, kills: list[float]) -> None:
        self._system = system
        self._kills = kills
        self._bins: deque[tuple[int, float]] = deque()
        self._in_bins = 0.0
        self.off_until = -1.0

    def meter(self, now: float, seconds: float) -> None:
        """Adds seconds of a storyteller; at the ceiling it turns the storyteller off for `off_s` and notes the time."""
        ceiling, bins = self._system.ceiling_gb_s, self._bins
        if not ceiling:
            return
        hour = int(now // HOUR_S)
        used = seconds * self._system.memory_gb
        if bins and bins[-1][0] == hour:
            bins[-1] = (hour, bins[-1][1] + used)
        else:
            bins.append((hour, used))
        self._in_bins += used
        while bins and bins[0][0] <= hour - 24:
            self._in_bins -= bins.popleft()[1]
        if self._in_bins >= ceiling and now >= self.off_until:
            self._kills.append(now)
            self.off_until = now + self._system.off_s
