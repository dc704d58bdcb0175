"""Actions that wait to be acknowledged, and how long to wait for what."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from client.session.events import RefusedError
from client.session.protocol import LINE_CHARACTERS


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for what, in seconds. The defaults suit API Gateway."""

    acknowledged: float = 15.0  # an `ok` that has not come by then means the connection is dead
    ping_after: float = 300.0  # idle connections are closed after 600
    pong: float = 20.0
    gap: float = 1.0  # a frame may overtake another; only then is the reply asked for again
    answer: float = 1.0  # the answer index answers a line at once, or it is one for the storyteller
    silence: float = 25.0  # a reply is awaited and nothing at all comes: ask how it stands (`patience`)
    retry_first: float = 0.5
    retry_most: float = 20.0
    refused_again: tuple[float, ...] = (0.5, 1.5, 4.0)  # pauses before a retryable refusal is tried again

    def patience(self, asked: int) -> float:
        """The silence to bear after questions that brought nothing new: a thousand in line must not all ask."""
        return self.silence * float(2 ** min(asked, 3))


class Pending:
    """An action on its way. Await it for its acknowledgement; `RefusedError` is raised if it is refused."""

    def __init__(self, frame: dict[str, Any], key: str) -> None:
        self.frame = frame
        self.key = key  # what acknowledges it: an id, or `history:<before>`
        self.tries = 0
        self.mark: tuple[int, ...] | None = None  # how its turn stood when it was asked for
        self.again = asyncio.Event()
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # An action nobody waits for may be refused: the event `Failed` tells.
        self._future.add_done_callback(lambda future: future.cancelled() or future.exception())

    @property
    def id(self) -> str:
        """The id of the action; for `say`, also that of the turn."""
        return str(self.frame.get("id", ""))

    @property
    def done(self) -> bool:
        """Whether it was acknowledged or refused."""
        return self._future.done()

    def is_meant_by(self, code: str, to: str | None) -> bool:
        """Whether an error of this code, about this, refuses it."""
        if self.done:
            return False
        if to is None:  # `history` has no id to be named by, and this is the refusal that only it gets
            return self.frame["action"] == "history" and code == "unknown_turn"
        return to in (self.id, self.frame.get("before"))

    def settle(self, refusal: RefusedError | None = None) -> None:
        """It is acknowledged, or refused for good."""
        if not self._future.done():
            if refusal:
                self._future.set_exception(refusal)
            else:
                self._future.set_result(None)
        self.again.set()

    def __await__(self) -> Generator[Any, None, str]:
        yield from asyncio.shield(self._future).__await__()
        return self.id


def line_problem(text: str) -> RefusedError | None:
    """Why a line cannot be said, if it cannot."""
    if not text.strip():
        return RefusedError("empty", "There is nothing to say in this line.")
    if len(text) > LINE_CHARACTERS:
        return RefusedError(
            "too_long", f"This line has {len(text):,} characters; the storyteller hears {LINE_CHARACTERS:,} at most."
        )
    return None
