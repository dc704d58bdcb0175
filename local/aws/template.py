"""The process that the environments of one function are forked from, so that they share what was loaded.

Only where it is safe: on Linux, with one thread. What the handler's module has made is copied as SnapStart copies it: a
client of boto3, say, that has sent nothing yet and so has no socket. `local.aws.fork_server` is the program.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from local.aws.child import Child
from local.aws.fork_server import MESSAGE_BYTES
from local.aws.keeper import Keeper

#: A template that has not imported its handler by then is given up.
READY_S = 60.0


class ForkedChild(Child):
    """A process forked from a template, which tells how it ended."""

    @property
    def alive(self) -> bool:
        """Whether it runs or is frozen."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state not in "ZX" and not self._ending.done()


class Template:
    """A running template. `close` ends it and what it has forked."""

    def __init__(self, process: Child, channel: socket.socket, keeper: Keeper) -> None:
        self.pid = process.pid
        self._process, self._channel, self._keeper = process, channel, keeper
        self._turn = asyncio.Lock()
        self._ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._forked: asyncio.Future[tuple[int, asyncio.Future[int]] | None] | None = None
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls,
        runtime: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        keeper: Keeper,
        take: Callable[[int, str], None],
    ) -> Template | None:
        """Starts one for the runtime's command; None where that is not possible, and its output says why."""
        if sys.platform != "linux" or list(runtime[:2]) != [sys.executable, "-m"]:
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            process = await Child.start(
                [sys.executable, "-m", "local.aws.fork_server", str(theirs.fileno()), *runtime[2:]],
                environment=environment,
                folder=folder,
                keeper=keeper,
                take=take,
                pass_fds=(theirs.fileno(),),
            )
        template = cls(process, ours, keeper)
        ready = False
        try:
            async with asyncio.timeout(READY_S):
                ready = await template._ready
        except TimeoutError:
            pass
        finally:
            if not ready:
                await template.close()
        return template if ready else None

    async def fork(self, environment: Mapping[str, str], take: Callable[[int, str], None]) -> Child | None:
        """A new process with these variables; None if the template is gone."""
        output, inside = os.pipe()
        async with self._turn:  # answers do not say to which order they belong
            self._forked = asyncio.get_running_loop().create_future()
            try:
                socket.send_fds(self._channel, [json.dumps(dict(environment)).encode()], [inside])
                forked = None if self._reading.done() else await self._forked
            except OSError:
                forked = None
            finally:
                os.close(inside)
        if forked is None:
            os.close(output)
            return None
        pid, ended = forked
        self._keeper.watch(pid)
        return ForkedChild(pid, ended, output, self._keeper, take)

    async def close(self) -> None:
        """Ends the template."""
        self._process.kill()
        await self._process.wait()
        await self._reading
        self._channel.close()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while message := await loop.sock_recv(self._channel, MESSAGE_BYTES):
                self._take(json.loads(message))
        # The template is gone, and nobody else can tell how its processes end.
        if not self._ready.done():
            self._ready.set_result(False)
        if self._forked is not None and not self._forked.done():
            self._forked.set_result(None)
        for pid, end in self._ends.items():
            if not end.done():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                end.set_result(-signal.SIGKILL)

    def _take(self, said: dict[str, int]) -> None:
        if (pid := said.get("forked")) is not None:
            self._ends[pid] = ended = asyncio.get_running_loop().create_future()
            if self._forked is not None and not self._forked.done():
                self._forked.set_result((pid, ended))
        elif (pid := said.get("ended")) is not None:
            if not (end := self._ends.pop(pid)).done():
                end.set_result(said["status"])
        else:
            self._ready.set_result(True)
