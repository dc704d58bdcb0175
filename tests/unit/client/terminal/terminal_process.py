"""The terminal client as its visitors start it: through pipes, and in a terminal of its own."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pyte

ROOT = Path(__file__).parents[4]
CLIENT = [sys.executable, "-m", "client.terminal"]
#: Makes its input the controlling terminal of its session, so that Ctrl-C is a signal, and goes on as what it is given.
CONTROLLED = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Terminal:
    """A terminal client running on `fd`, and what a terminal of this size has shown of it."""

    def __init__(self, process: asyncio.subprocess.Process, fd: int, size: tuple[int, int]) -> None:
        self.process, self._fd = process, fd
        self._screen = pyte.HistoryScreen(size[1], size[0], history=10_000)
        self._stream = pyte.ByteStream(self._screen)
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the other end is closed
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
        self._stream.feed(data)
        self._news.set()

    @property
    def shown(self) -> str:
        """The lines that scrolled away since `forget`, and those on the screen."""
        columns = range(self._screen.columns)
        gone = ["".join(line[column].data for column in columns) for line in self._screen.history.top]
        return "\n".join(line.rstrip() for line in [*gone, *self._screen.display])

    def forget(self) -> None:
        self._screen.history.top.clear()
        self._screen.erase_in_display(2)

    async def until(self, text: str, times: int = 1) -> None:
        """Waits until this is shown so often."""
        async with asyncio.timeout(60):
            while self.shown.count(text) < times:
                self._news.clear()
                await self._news.wait()

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def resize(self, rows: int, columns: int) -> None:
        """As a window's edge does: the kernel tells the client (SIGWINCH)."""
        self._screen.resize(rows, columns)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@asynccontextmanager
async def terminal(
    address: str, home: Path, *options: str, size: tuple[int, int] = (30, 80)
) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    environment |= {"XDG_STATE_HOME": str(home), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CONTROLLED, *CLIENT, *options, address,
        cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    client = Terminal(process, ours, size)
    try:
        yield client
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


async def piped(address: str, home: Path, said: str, **environment: str) -> tuple[int | None, str, str]:
    """Runs the client with this for its input. Gives its status, what it wrote, and its complaints."""
    process = await asyncio.create_subprocess_exec(
        *CLIENT, address, cwd=ROOT, env=os.environ | {"XDG_STATE_HOME": str(home)} | environment,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, complaints = await process.communicate(said.encode())
    return process.returncode, out.decode(errors="replace"), complaints.decode(errors="replace")
