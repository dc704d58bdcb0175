"""The waiting line: sessions that wait for a slot, each an item under a time-ordered key.

The line is spread over partitions, since one takes a thousand writes a second. Who joins goes to the
partition that the session's key names; who looks for the head reads the first few of every partition.
The order does not rest on clocks: who joins comes after everybody who is in the line already.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import time
from typing import NamedTuple

from overture.table import Conflict, Delete, Put, Table

PARTITIONS = 4
#: Heads read of each partition.
_HEADS = 16
#: A partition is counted up to here; where it has more, a count of all that is a few seconds old will do.
_COUNTED, _COUNT_LIFE_S = 200, 5.0
#: Below this in its own partition, a place is counted exactly.
_EXACT = 16
_LIFE_S = 86_400.0


class Waiting(NamedTuple):
    """A session in the line. `place` is its sort key: when it joined (Unix time, milliseconds), and its key."""

    place: str
    session: str


class WaitingLine:
    """The line in a table."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._counted_at, self._counted = float("-inf"), 0

    def join(self, session: str, now: float) -> tuple[str, Put]:
        """The place at the end of the line, and the write that takes it.

        By its clock alone, a machine that is an hour ahead would have its visitor passed by all who join in that hour,
        and one that is behind would let its visitor pass those who wait. So a place is later than the last one taken.
        """
        last = max((_joined_ms(place) for place in self._last_places()), default=0)
        place = place_of(session, max(int(now * 1000), last + 1))
        return place, self.put(session, place)

    def put(self, session: str, place: str) -> Put:
        """The write that takes a place."""
        return Put(_pk(session), place, session.encode(), None, _LIFE_S)

    def leave(self, session: str, place: str) -> Delete:
        """The write that gives a place up."""
        return Delete(_pk(session), place)

    def remove(self, waiting: Waiting) -> None:
        """Takes a session that waits no more out of the line."""
        with contextlib.suppress(Conflict):  # somebody else is at it
            self._table.write(Delete(_pk(waiting.session), waiting.place))

    def somebody_waits(self) -> bool:
        """Whether the line is not empty; a long line shows in the first partition looked at."""
        partitions = random.sample(range(PARTITIONS), PARTITIONS)
        return any(self._table.count_documents(f"LINE#{partition}", limit=1) for partition in partitions)

    def somebody_waits_beside(self, session: str) -> bool:
        """Whether somebody waits in the session's own partition: one look tells of any but a very short line."""
        return self._table.count_documents(_pk(session), limit=1) > 0

    def heads(self) -> list[Waiting]:
        """Those who waited longest, in order; never all of a long line."""
        found = [
            Waiting(document.sk, document.body.decode())
            for partition in range(PARTITIONS)
            for document in self._table.query(f"LINE#{partition}", limit=_HEADS, newest_first=False)
        ]
        return sorted(found)

    def choose(self, heads: list[Waiting], misses: int) -> Waiting:
        """The next to be served: the first; one of the first few, the more often somebody else was faster."""
        return heads[random.randrange(min(len(heads), 2**misses))]

    def length(self) -> int:
        """How many wait: exact in a short line, a few seconds old in a long one."""
        if time.monotonic() - self._counted_at < _COUNT_LIFE_S and self._counted > _COUNTED * PARTITIONS // 2:
            return self._counted
        self._counted = sum(self._table.count_documents(f"LINE#{partition}") for partition in range(PARTITIONS))
        self._counted_at = time.monotonic()
        return self._counted

    def position(self, session: str, place: str) -> int:
        """Which place, from 1, a session has: counted near the head, estimated from its partition behind."""
        ahead = self._table.count_documents(_pk(session), before=place, limit=_COUNTED)
        if ahead >= _COUNTED:
            return max(self.length(), ahead * PARTITIONS)
        if ahead >= _EXACT:
            return ahead * PARTITIONS + 1
        others = (f"LINE#{number}" for number in range(PARTITIONS) if f"LINE#{number}" != _pk(session))
        return 1 + ahead + sum(self._table.count_documents(pk, before=place) for pk in others)

    def _last_places(self) -> list[str]:
        return [
            document.sk
            for partition in range(PARTITIONS)
            for document in self._table.query(f"LINE#{partition}", limit=1, consistent=False)
        ]


def place_of(session: str, joined_ms: int) -> str:
    """The place of who joins at that time."""
    return f"{joined_ms:013d}.{session}"


def _joined_ms(place: str) -> int:
    return int(place.partition(".")[0])


def _pk(session: str) -> str:
    return f"LINE#{hashlib.sha256(session.encode()).digest()[0] % PARTITIONS}"
