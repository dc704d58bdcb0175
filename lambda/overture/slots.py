"""Slots: the right to run one storyteller, each an item of its own.

With `concurrency` N there are slots 0 to N-1. A slot is taken by a conditional write and belongs to one
reservation, named by its token; no item means that it is free. `leases` decides who takes one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from msgspec import Struct

from overture.table import Delete, Document, Put, Table

#: So many slots share a partition: one query finds the free ones among them.
SLOTS_A_PARTITION = 125
#: How long a slot is kept unless it is freed. The lease tells whether its holder is gone; this only clears the table,
#: and must outlast the longest run (15 min) although the clock that wrote it is an hour behind.
_LIFE_S = 86_400.0


class Holder(Struct):
    """Who has a slot: a session, by the reservation `token`."""

    session: str
    token: str


class Slot(NamedTuple):
    """A slot as it was read; `version` is its document's."""

    number: int
    holder: Holder | None
    version: int


class Slots:
    """The slots in a table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def read(self, number: int) -> Slot:
        """One slot."""
        return _slot(number, self._table.get(*_place(number)))

    def read_all(self, concurrency: int) -> Iterator[list[Slot]]:
        """Every slot, a partition at a time, beginning with any of them."""
        partitions = list(range(-(-concurrency // SLOTS_A_PARTITION)))
        random.shuffle(partitions)
        for partition in partitions:
            held = {int(document.sk): document for document in self._table.query(f"SLOTS#{partition}")}
            first = partition * SLOTS_A_PARTITION
            numbers = range(first, min(concurrency, first + SLOTS_A_PARTITION))
            yield [_slot(number, held.get(number)) for number in numbers]

    def find_free(self, concurrency: int) -> Slot | None:
        """A free slot, if there is one: any, so that two who look take different ones."""
        for partition in self.read_all(concurrency):
            if free := [slot for slot in partition if slot.holder is None]:
                return random.choice(free)
        return None

    def put(self, slot: Slot, session: str, token: str) -> Put:
        """The write that gives a slot, as it was read, to a reservation."""
        return Put(*_place(slot.number), msgspec.json.encode(Holder(session, token)), slot.version, _LIFE_S)

    def free(self, slot: Slot) -> None:
        """Frees a slot. Raises `Conflict` when it has another holder by now."""
        self._table.write(Delete(*_place(slot.number), slot.version))


def _slot(number: int, document: Document | None) -> Slot:
    if document is None:
        return Slot(number, None, 0)
    return Slot(number, msgspec.json.decode(document.body, type=Holder), document.version)


def _place(number: int) -> tuple[str, str]:
    return f"SLOTS#{number // SLOTS_A_PARTITION}", f"{number:06d}"
