"""Counters: atomic sums, spread over several items so that many may count at once."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from msgspec import Struct

from overture.table import Table

if TYPE_CHECKING:
    from overture.protocol import Stats

#: An item of DynamoDB takes a thousand writes a second: a limit above this is shared out over several.
_LIMIT_A_SHARD = 1_000
_TOTALS_SHARDS = 16
_TOTALS_LIFE_S = 365 * 86_400.0


class Totals(Struct):
    """What replies have cost in all: the measure of what a written answer saves."""

    replies: int = 0
    tokens: int = 0
    usd: float = 0.0
    mwh: float = 0.0


def within_limit(table: Table, name: str, period: str, limit: int, life_s: float) -> bool:
    """Counts one more use of `name` in a period; False when it has had its `limit`.

    Above a thousand the limit is shared out, and a share may be used up a little before the whole is.
    """
    shards = -(-limit // _LIMIT_A_SHARD)
    shard = random.randrange(shards)
    used = table.add(f"N#{name}#{shard}", period, {"count": 1}, life_s)["count"]
    return used <= -(-limit // shards)


def add_reply(table: Table, stats: Stats) -> None:
    """Counts one more reply in the totals."""
    amounts = {"replies": 1, "tokens": stats.tokens, "usd": stats.usd, "mwh": stats.mwh}
    table.add("TOTALS", str(random.randrange(_TOTALS_SHARDS)), amounts, _TOTALS_LIFE_S)


def read_totals(table: Table) -> Totals:
    """What replies have cost in all, so far."""
    shards = table.numbers("TOTALS")
    return Totals(
        replies=int(sum(shard["replies"] for shard in shards)),
        tokens=int(sum(shard["tokens"] for shard in shards)),
        usd=sum(shard["usd"] for shard in shards),
        mwh=sum(shard["mwh"] for shard in shards),
    )
