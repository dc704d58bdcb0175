"""The storyteller's waking as a countdown that is true: what the server reports, smoothed only so far
that it never goes back. Knows no screen and no clock of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from client.session.protocol import Wake


@dataclass(frozen=True, slots=True)
class Reading:
    """What to show at a moment. `left_s`: None where nothing is known; it only ever falls within one waking."""

    state: str
    progress: float
    left_s: float | None
    elapsed_s: float
    position: int | None = None

    @property
    def words(self) -> str:
        """What it comes to."""
        match self.state:
            case "ready":
                return "The storyteller is awake"
            case "queued":
                return (
                    f"Place {self.position} in line for a storyteller" if self.position else "In line for a storyteller"
                )
            case "failed":
                return "The storyteller could not be woken"
            case "waking" if self.left_s is None:
                return "The storyteller is waking"
            case "waking" if self.left_s is not None and self.left_s >= 1.5:
                return f"Awake in about {self.left_s:.0f} s"
            case "waking":
                return "Awake any moment now"
            case _:
                return "Connecting"

    @property
    def figures(self) -> str:
        """What is behind it, changing every second for as long as there is something to wait for."""
        match self.state:
            case "ready" | "failed":
                return ""
            case "waking":
                return f"{self.progress:.0%} read, {self.elapsed_s:.0f} s so far"
            case _:
                return f"{self.elapsed_s:.0f} s so far"


class Countdown:
    """Hears reports and can be read at any time. `now` is in seconds, of any steady clock."""

    def __init__(self, now: float) -> None:
        self._wake: Wake | None = None
        self._heard_at = self._began = self._read_at = now
        self._left: float | None = None
        self._progress = 0.0

    def hear(self, wake: Wake, now: float) -> None:
        """A report has come."""
        if wake.state != "ready" and (self._wake is None or self._wake.state != wake.state):
            # A new waking: only here may the figures begin again.
            self._began = self._read_at = now
            self._left, self._progress = None, 0.0
        self._wake, self._heard_at = wake, now
        self._progress = max(self._progress, wake.progress or 0.0)

    def read(self, now: float) -> Reading:
        """What to show now."""
        wake = self._wake
        if wake is None:
            return Reading("unknown", 0.0, None, now - self._began)
        if wake.state == "waking" and wake.eta_s is not None:
            expected = max(0.0, wake.eta_s - (now - self._heard_at))
            if self._left is None or expected <= self._left:
                self._left = expected
            else:
                # It takes longer than was thought: count more slowly, so that both reach zero together.
                self._left = max(0.0, self._left - (now - self._read_at) * self._left / expected)
        self._read_at = now
        ready = wake.state == "ready"
        left = self._left if wake.state == "waking" else None
        return Reading(wake.state, 1.0 if ready else self._progress, left, now - self._began, wake.position)
