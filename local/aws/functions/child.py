"""One child process: its own session and group, its output line by line, never an orphan."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from local.aws.functions.keeper import Keeper
from local.aws.functions.logs import Lines


class Child:
    """A running process that leads its own group, so that signals reach what it starts, too."""

    def __init__(
        self, process: asyncio.subprocess.Process, output: int, keeper: Keeper, take: Callable[[int, str], None]
    ) -> None:
        self.pid = process.pid
        self._process = process
        self._keeper = keeper
        self._reading = asyncio.create_task(self._read(output, take))
        self._ending = asyncio.create_task(self._end())

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        keeper: Keeper,
        take: Callable[[int, str], None],
    ) -> Child:
        """Starts `argv` in `folder`; `take(pid, line)` gets each line of its output."""
        # A pipe of our own: with asyncio's, the news of an end would wait for whoever else holds it.
        output, inside = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env=dict(environment),
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=inside,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(inside)
        keeper.watch(process.pid)
        return cls(process, output, keeper, take)

    @property
    def alive(self) -> bool:
        """Whether it runs or is frozen, asked of the kernel: news of a death takes the loop a while."""
        if self._ending.done():
            return False
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return True
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    def freeze(self) -> None:
        """Stops it, wherever it is, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends it at once, frozen or not."""
        self._signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Waits until it has ended and all it said has been read; gives the exit status (-9: SIGKILL)."""
        return await asyncio.shield(self._ending)

    def _signal(self, number: signal.Signals) -> None:
        if not self._ending.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def _read(self, output: int, take: Callable[[int, str], None]) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb"))
        lines = Lines(lambda line: take(self.pid, line))
        try:
            while chunk := await reader.read(65536):
                lines.feed(chunk)
        finally:
            lines.end()
            pipe.close()

    async def _end(self) -> int:
        status = await self._process.wait()
        # Whatever it started must not hold its pipe, nor live on.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._keeper.forget(self.pid)
        await self._reading
        return status
