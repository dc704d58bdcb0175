"""Kills what we started if we die without a word (SIGKILL, a crash): no orphan may survive us.

A small process reads `+PID` and `-PID` lines from a pipe whose other end only we hold. When the pipe
ends, it kills the process groups still listed, frozen ones included, and leaves. This works where
there is no PR_SET_PDEATHSIG, too. Run as a program it is that process; `Keeper` is our end of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path


class Keeper:
    """Our end of the pipe. Use as a context manager; leaving it kills whatever is still listed."""

    def __enter__(self) -> Keeper:
        # -S and -E: the standard library alone, so that this process is there within milliseconds.
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def watch(self, pid: int) -> None:
        """The process group `pid` shall not outlive us."""
        self._tell(f"+{pid}\n")

    def forget(self, pid: int) -> None:
        """The process group `pid` has ended; its number may soon be another's."""
        self._tell(f"-{pid}\n")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()


def keep() -> None:
    """Runs until standard input ends, then kills."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    pids: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        if line[0] == "+":
            pids.add(pid)
        else:
            pids.discard(pid)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    keep()
