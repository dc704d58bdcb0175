"""ModelLoader: the model loads in a thread begun at import, and says how far it is.

`ModelLoader` knows when the engine will be there, from the true bytes read; it knows no session and
posts nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from storyteller.engine import Engine

Load = Callable[[Callable[[int, int], None]], "Engine"]


class Progress(NamedTuple):
    """Bytes read of bytes in all, from 0 to 1, and seconds to go if they can be told yet."""

    fraction: float
    eta_s: float | None


class ModelLoader:
    """Loads an engine in a thread. `load` takes a callback for bytes done and bytes in all."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._began = time.monotonic()
        self._done = threading.Event()
        self._fraction = 0.0
        self._ends_at: float | None = None
        self._engine: Engine | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="model-loader", daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        """Waits for the engine that long at most; True when it is there or cannot come."""
        return self._done.wait(timeout_s)

    @property
    def engine(self) -> Engine:
        """The engine, once `wait` said True. Raises what loading raised."""
        if self._error is not None:
            raise self._error
        assert self._engine is not None
        return self._engine

    def progress(self) -> Progress:
        """How far it is. The end it estimates never moves away by more than the clock itself."""
        if self._ends_at is None:
            return Progress(self._fraction, None)
        return Progress(self._fraction, max(0.0, self._ends_at - time.monotonic()))

    def _note(self, done: int, total: int) -> None:
        self._fraction = max(self._fraction, min(1.0, done / total)) if total else self._fraction
        elapsed = time.monotonic() - self._began
        if self._fraction >= 0.02:
            ends_at = self._began + elapsed / self._fraction
            # The first guesses are rough: believe them when they promise less, and half when more.
            if self._ends_at is None or ends_at < self._ends_at:
                self._ends_at = ends_at
            else:
                self._ends_at += (ends_at - self._ends_at) / 2

    def _run(self) -> None:
        try:
            self._engine = self._load(self._note)
            self._fraction = 1.0
        except BaseException as error:  # the handler must raise it where Lambda can see it
            self._error = error
        self._done.set()
