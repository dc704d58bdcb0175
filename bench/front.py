"""`python -m bench.front`: how soon Front answers with a part of a processor, and what memory it takes (Linux, root).

Lambda gives CPU by memory: a whole processor at 1,769 MB. The real Front plays in the local stack while a control
group keeps it to a share; for each share the time to the first scene and to a line's acknowledgement are measured.
A Graviton2 core is slower than this machine's: read a smaller share as a slower core.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from client.session.connection import Play
from client.session.events import BeatCame
from local.play import overture
from local.stack import LocalStack

LINES = ("What can you do here?", "how do i save my story please", "who made all this", "Can I be Dorothy?")
#: What Lambda's memory is worth in processors.
PROCESSOR_MB = 1769
_PERIOD_US = 20_000
_ROOTS = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))


@contextlib.contextmanager
def control_group() -> Iterator[Path]:
    """A control group of our own, of either version; its processes go back to the root at the end."""
    root = next(one for one in _ROOTS if (one / "cgroup.procs").is_file())
    group = root / "overture-bench"
    group.mkdir(exist_ok=True)
    # Beside others at work it must not be the group's weight that counts, but its limit.
    if (group / "cpu.shares").exists():
        (group / "cpu.shares").write_text("262144")
    else:
        (group / "cpu.weight").write_text("10000")
    try:
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (root / "cgroup.procs").write_text(pid)
        group.rmdir()


def limit(group: Path, share: float) -> None:
    """Lets the group have so much of one processor."""
    quota = int(_PERIOD_US * share)
    if (group / "cpu.max").exists():
        (group / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(quota))


async def measure(shares: Sequence[float], visits: int) -> list[tuple[float, float, float, float, int]]:
    """For each share: seconds to the first scene, to an acknowledgement (median, most), and Front's peak in MB."""
    rows = []
    with control_group() as group, tempfile.TemporaryDirectory() as logs:
        async with LocalStack(overture(wait_s=3600), logs=Path(logs)) as stack:
            await stack.prestart()
            for share in shares:
                limit(group, share)
                scenes: list[float] = []
                acknowledged: list[float] = []
                for _ in range(visits):
                    for environment in stack.environments("front"):
                        (group / "cgroup.procs").write_text(str(environment.describe()["pid"]))
                    begun = time.monotonic()
                    async with Play(stack.url) as play:
                        await play.until(lambda event: isinstance(event, BeatCame))
                        scenes.append(time.monotonic() - begun)
                        for line in LINES:
                            begun = time.monotonic()
                            await play.say(line)
                            acknowledged.append(time.monotonic() - begun)
                peak = max(_peak_mb(one.describe()["pid"]) for one in stack.environments("front"))
                rows.append(
                    (share, statistics.median(scenes), statistics.median(acknowledged), max(acknowledged), peak)
                )
    return rows


def _peak_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.front", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shares", type=float, nargs="+", default=[1, 0.58, 0.29, 0.23, 0.12])
    parser.add_argument("--visits", type=int, default=5)
    options = parser.parse_args(argv)
    try:
        rows = asyncio.run(measure(options.shares, options.visits))
    except PermissionError:
        print("Control groups want root: run sudo .venv/bin/python -m bench.front.", file=sys.stderr)
        return 1
    print(f"{'share':>6}{'as of MB':>10}{'first scene':>13}{'a line, median':>16}{'most':>8}{'peak MB':>9}")
    for share, scene, line, most, peak in rows:
        print(f"{share:>6.2f}{share * PROCESSOR_MB:>10.0f}{scene:>12.2f}s{line:>15.3f}s{most:>7.2f}s{peak:>9}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
