"""Meters: where the energy of a run comes from, and what each reading is worth.

- `rapl`: Intel's and AMD's counters under /sys/class/powercap: processor packages (and memory, where it is counted), of
  the whole machine. Root may be needed; guests of a cloud have none.
- `file`: a wall meter's log, a CSV of `time,watts` (seconds since the epoch), integrated over the run.
- `cpu`: no meter. CPU seconds of this process times stated watts: a model, and said to be one.
"""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from overture.accounting.energy import CONSTANTS

POWERCAP = Path("/sys/class/powercap")
#: Watts of a busy vCPU when nothing measures (overture/accounting/energy.py, with its bounds).
WATTS = CONSTANTS["busy_w"].value


class MeterError(Exception):
    """A meter that cannot be read; the message is one sentence with the remedy."""


class Reading:
    """What a run took; filled in when it is over."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    joules: float = 0.0


class Domain(NamedTuple):
    """One counter of RAPL, in microjoules, and where it starts again."""

    path: Path
    wraps_at: int

    def read(self) -> int:
        """The counter."""
        return int((self.path / "energy_uj").read_text())


class Meter:
    """A meter of one kind. `kind` says in the results what a reading is."""

    def __init__(self, kind: str, *, domains: list[Domain] | None = None, log: Path | None = None) -> None:
        self.kind = kind
        self._domains = domains or []
        self._log = log

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """Measures what runs inside."""
        reading = Reading()
        before = [domain.read() for domain in self._domains]
        began, wall, cpu = time.perf_counter(), time.time(), time.process_time()
        yield reading
        reading.seconds = time.perf_counter() - began
        reading.cpu_s = time.process_time() - cpu
        if self._domains:
            pairs = zip(self._domains, before, strict=True)
            reading.joules = sum((domain.read() - old) % domain.wraps_at for domain, old in pairs) / 1e6
        elif self._log is not None:
            reading.joules = integrate(self._log, wall, wall + reading.seconds)
        else:
            reading.joules = reading.cpu_s * WATTS.likely


def find(kind: str = "auto", log: Path | None = None) -> Meter:
    """The meter asked for; `auto` takes RAPL where it is readable. Raises `MeterError`."""
    if log is not None:
        if not log.is_file():
            raise MeterError(f"--wall {log}: there is no such file; let the meter write `time,watts` there.")
        return Meter("wall meter", log=log)
    domains = _domains()
    if domains and kind in ("auto", "rapl"):
        return Meter("RAPL", domains=domains)
    if kind == "rapl":
        raise MeterError("--meter rapl: no counter under /sys/class/powercap is readable; run as root, or take cpu.")
    return Meter("no meter: CPU seconds x watts")


def integrate(log: Path, start: float, end: float) -> float:
    """Joules between two times of a log of watts, by trapezoids. Raises `MeterError` for a log that ends too early."""
    with log.open(newline="") as file:
        try:
            points = [(float(row["time"]), float(row["watts"])) for row in csv.DictReader(file)]
        except (KeyError, TypeError, ValueError):
            raise MeterError(f"{log} is no log of watts: write a CSV with the columns time,watts.") from None
    if len(points) < 2 or points[0][0] > start or points[-1][0] < end:
        raise MeterError(
            f"{log} does not span the run from {start:.0f} to {end:.0f}; start the meter before the bench."
        )
    joules = 0.0
    for (t0, w0), (t1, w1) in itertools.pairwise(points):
        left, right = max(t0, start), min(t1, end)
        if left < right:
            slope = (w1 - w0) / (t1 - t0)
            joules += (right - left) * (w0 + slope * ((left + right) / 2 - t0))
    return joules


def _domains() -> list[Domain]:
    found = []
    for path in sorted(POWERCAP.glob("*:*")):
        name = path / "name"
        try:
            if name.read_text().strip().startswith(("package", "dram")):
                domain = Domain(path, int((path / "max_energy_range_uj").read_text()) + 1)
                domain.read()
                found.append(domain)
        except (OSError, ValueError):
            continue
    return found
