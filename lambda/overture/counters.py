"""Counters: atomic sums, spread over several items so that many may count at once."""

from __future__ import annotations

import random

import msgspec

from overture.ledger import Ledger
from overture.table import Table

#: An item of DynamoDB takes a thousand writes a second: a limit above this is shared out over several.
_LIMIT_A_SHARD = 1_000
_LEDGER, _LEDGER_SHARDS, _LEDGER_LIFE_S = "LEDGER", 16, 365 * 86_400.0


def within_limit(table: Table, name: str, period: str, limit: int, life_s: float) -> bool:
    """Counts one more use of `name` in a period; False when it has had its `limit`.

    Above a thousand the limit is shared out, and a share may be used up a little before the whole is.
    """
    shards = -(-limit // _LIMIT_A_SHARD)
    shard = random.randrange(shards)
    used = table.add(f"N#{name}#{shard}", period, {"count": 1}, life_s)["count"]
    return used <= -(-limit // shards)


def add_to_ledger(table: Table, used: Ledger) -> None:
    """Adds what a reply, a start or an answer used to the ledger of the deployment."""
    amounts = {name: value for name, value in msgspec.structs.asdict(used).items() if value}
    table.add(_LEDGER, str(random.randrange(_LEDGER_SHARDS)), amounts, _LEDGER_LIFE_S)


def read_ledger(table: Table) -> Ledger:
    """What the deployment has used so far."""
    known = Ledger.__struct_fields__
    ledger = Ledger()
    for shard in table.numbers(_LEDGER):
        ledger = ledger + msgspec.convert({name: shard[name] for name in known if name in shard}, Ledger, strict=False)
    return ledger
