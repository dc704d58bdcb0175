"""One form for what benches measure: a JSON file each in build/bench, which the planner calibrates itself with.

{"bench": …, "date": …, "commit": …, "machine": {"cpu", "threads", "read_gb_s"}, "rows": [{"quantity", "engine",
 "shape", "precision", "unit", "median", "low", "high", …}]}
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path("build/bench")


def row(quantity: str, unit: str, values: Sequence[float], **about: object) -> dict[str, object]:
    """A measured quantity: its median, least and most of several rounds."""
    spread = {"median": statistics.median(values), "low": min(values), "high": max(values), "rounds": len(values)}
    return {"quantity": quantity, "unit": unit, **spread, **about}


def write(
    bench: str, rows: Sequence[Mapping[str, object]], *, threads: int, read_gb_s: float | None = None, **more: object
) -> Path:
    """Keeps the rows in `build/bench/<bench>.json`."""
    machine = {"cpu": _cpu(), "threads": threads, "read_gb_s": read_gb_s}
    found = {"bench": bench, "date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit_of(Path())}
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{bench}.json"
    path.write_text(json.dumps({**found, "machine": machine, **more, "rows": list(rows)}, indent=1) + "\n")
    return path


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit_of(folder: Path) -> str:
    """The commit that is checked out there."""
    command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
