"""What the functions print: a file each, and the terminal if wanted."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path


class Logs:
    """Appends lines to `folder/NAME.log`, each prefixed by the name and the pid that said it.

    With `echo` the lines go to standard error too. The files are emptied when they are first used.
    """

    def __init__(self, folder: Path, *, echo: bool = False) -> None:
        self.folder = folder
        self._echo = echo
        self._opened: set[str] = set()

    def path(self, name: str) -> Path:
        """The file that holds the lines of `name`."""
        return self.folder / f"{name}.log"

    def write(self, name: str, pid: int, line: str) -> None:
        """Adds one line."""
        text = f"{name}[{pid}] {line}\n"
        mode = "a" if name in self._opened else "w"
        with contextlib.suppress(OSError):  # a full disk is no reason to stop the play
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.path(name).open(mode, encoding="utf-8") as file:
                file.write(text)
            self._opened.add(name)
        if self._echo:
            sys.stderr.write(text)

    def read(self, name: str) -> str:
        """Everything `name` has printed in this run; empty if nothing."""
        return self.path(name).read_text(encoding="utf-8") if name in self._opened else ""


class Lines:
    """Cuts chunks of bytes into lines; what is not UTF-8 is shown escaped."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """Passes on every line that `chunk` completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._give(line)

    def end(self) -> None:
        """Passes on a last line that has no newline."""
        if self._rest:
            self._give(self._rest)
        self._rest = b""

    def _give(self, line: bytes) -> None:
        # awslambdaric joins the lines of a traceback by carriage returns, for CloudWatch's sake.
        for part in line.decode("utf-8", "backslashreplace").rstrip("\r").split("\r"):
            self._take(part)
