"""Reads byte ranges with several threads, so that a lazily fetched image, or a bucket, is read at its full rate.

Needs no torch, so that it can begin before torch is imported. Knows bytes and their count, nothing
of what they mean.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import EngineError
from .store import Store

Progress = Callable[[int, int], None]

_BLOCK = 1 << 20
#: What S3's documentation calls a typical range.
_MOST_RANGE = 8 << 20
_REPORT_S = 0.05


@dataclass(frozen=True)
class Part:
    """Bytes `begin` to `end` of `path`, to be put into `into` (or only into the page cache, when None).

    With `sha256`, what was put into `into` is compared with it.
    """

    path: Path
    begin: int
    end: int
    into: memoryview | None
    sha256: str | None = None


class Reading:
    """Reader threads at work from the moment this is made.

    `progress(done, total)` is called from a thread of its own with the true count of bytes read, never
    falling. `pace_s` makes the reading take at least that long by holding back each block until its
    time: the bytes, their order and their count are the same as without. With a `store` the paths are names in
    it, and each thread asks for one range at a time.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        progress: Progress,
        *,
        pace_s: float = 0.0,
        threads: int = 16,
        store: Store | None = None,
    ) -> None:
        self.total = sum(part.end - part.begin for part in parts)
        block = _BLOCK
        if store is not None:
            # Large ranges, but of a small model some for every thread.
            threads = store.parallel
            block = max(_BLOCK, min(_MOST_RANGE, self.total // (2 * threads)))
        elif pace_s > 0:
            # A small model is read in small blocks, so that a paced wait still moves smoothly.
            block = max(4096, min(_BLOCK, self.total // 256))
        self._store = store
        self._parts = parts
        self._blocks = [
            (part, at, min(at + block, part.end)) for part in parts for at in range(part.begin, part.end, block)
        ]
        self._progress = progress
        self._pace_s = pace_s
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._next = 0
        self._issued = 0
        self._done = 0
        self._failed: Exception | None = None
        self._stop = threading.Event()
        self._arrived: set[tuple[Path, int]] = set()
        self._arrival = threading.Condition(self._lock)
        self._readers = [
            threading.Thread(target=self._read, name=f"reader-{number}", daemon=True)
            for number in range(min(threads, len(self._blocks)))
        ]
        if any(part.sha256 for part in parts):
            self._readers.append(threading.Thread(target=self._check, name="reader-check", daemon=True))
        self._reporter = threading.Thread(target=self._report, name="reader-progress", daemon=True)
        for thread in (*self._readers, self._reporter):
            thread.start()

    @property
    def done(self) -> int:
        """Bytes read so far."""
        return self._done

    def wait(self) -> None:
        """Returns when every byte is read and reported; raises EngineError when one could not be."""
        for thread in self._readers:
            thread.join()
        self._stop.set()
        self._reporter.join()
        if self._failed:
            raise self._failed

    def abandon(self) -> None:
        """Stops reading soon; what was read so far is of no use."""
        with self._lock:
            self._stop.set()
            self._arrival.notify_all()

    def _read(self) -> None:
        files: dict[Path, int] = {}
        scratch = memoryview(bytearray(_BLOCK if self._store is None else 0))
        try:
            while (block := self._take()) is not None:
                part, begin, end, due = block
                if due and self._stop.wait(max(0.0, due - time.monotonic())):
                    return
                view = scratch[: end - begin] if part.into is None else part.into[begin - part.begin : end - part.begin]
                if self._store is not None:
                    self._store.fill(str(part.path), begin, view)
                else:
                    if part.path not in files:
                        files[part.path] = os.open(part.path, os.O_RDONLY)
                    self._fill(files[part.path], view, begin, part.path)
                with self._lock:
                    self._done += end - begin
                    self._arrived.add((part.path, begin))
                    self._arrival.notify_all()
        except OSError as error:
            self._fail(EngineError(f"{part.path} cannot be read ({error.strerror}): check the disk and the rights."))
        except Exception as error:  # whatever it is: nobody may wait for a block that never comes
            self._fail(error)
        finally:
            for file in files.values():
                os.close(file)

    def _take(self) -> tuple[Part, int, int, float] | None:
        with self._lock:
            if self._next >= len(self._blocks) or self._stop.is_set():
                return None
            part, begin, end = self._blocks[self._next]
            self._next += 1
            self._issued += end - begin
            due = self._began + self._pace_s * self._issued / self.total if self._pace_s > 0 else 0.0
            return part, begin, end, due

    @staticmethod
    def _fill(file: int, view: memoryview, at: int, path: Path) -> None:
        while view:
            count = os.preadv(file, [view], at)
            if count == 0:
                raise EngineError(f"{path} became shorter while it was read: download it again.")
            view, at = view[count:], at + count

    def _check(self) -> None:
        """Computes the checksums behind the readers, block after block as they arrive."""
        digests = {part.path: hashlib.sha256() for part in self._parts}
        for part, begin, end in self._blocks:
            if part.into is None or part.sha256 is None:
                continue
            with self._lock:
                while (part.path, begin) not in self._arrived:
                    if self._stop.is_set():
                        return
                    self._arrival.wait()
            digests[part.path].update(part.into[begin - part.begin : end - part.begin])
            if end == part.end and digests[part.path].hexdigest() != part.sha256:
                where = f"{self._store.address}/{part.path}" if self._store is not None else str(part.path)
                self._fail(
                    EngineError(f"{where} is not what was packed (sha256 differs): copy the whole bundle again.")
                )
                return

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self._failed = self._failed or error
            self._stop.set()
            self._arrival.notify_all()

    def _report(self) -> None:
        told = -1
        while True:
            ended = self._stop.wait(_REPORT_S)
            done = self._done
            if done != told:
                self._progress(done, self.total)
                told = done
            if ended:
                return
