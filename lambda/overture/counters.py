"""Counters: atomic sums, spread over several items so that many may count at once."""

from __future__ import annotations

import random
import time

import msgspec

from overture.accounting.ledger import Ledger
from overture.table import Table

#: An item of DynamoDB takes a thousand writes a second: a limit above this is shared out over several.
_LIMIT_A_SHARD = 1_000
_LEDGER, _LEDGER_SHARDS, _LEDGER_LIFE_S = "LEDGER", 16, 365 * 86_400.0
#: Days (UTC) whose ledgers are kept, today among them.
DAYS_KEPT = 35
_DAY_S = 86_400.0


def within_limit(table: Table, name: str, period: str, limit: int, life_s: float) -> bool:
    """Counts one more use of `name` in a period; False when it has had its `limit`.

    Above a thousand the limit is shared out, and a share may be used up a little before the whole is.
    """
    shards = -(-limit // _LIMIT_A_SHARD)
    shard = random.randrange(shards)
    used = table.add(f"N#{name}#{shard}", period, {"count": 1}, life_s)["count"]
    return used <= -(-limit // shards)


def add_to_ledger(table: Table, used: Ledger) -> None:
    """Adds what a reply, a start or an answer used to the ledgers of the deployment: the whole and the day's."""
    amounts = {name: value for name, value in msgspec.structs.asdict(used).items() if value}
    shard = str(random.randrange(_LEDGER_SHARDS))
    table.add(_LEDGER, shard, amounts, _LEDGER_LIFE_S)
    table.add(f"{_LEDGER}#{_day(time.time())}", shard, amounts, DAYS_KEPT * _DAY_S)


def read_ledger(table: Table) -> Ledger:
    """What the deployment has used so far."""
    return _sum(table, _LEDGER)


def read_days(table: Table, count: int = DAYS_KEPT) -> dict[str, Ledger]:
    """What the deployment used on each of the last days (UTC, `2026-11-29`) that used anything, newest first."""
    now = time.time()
    days = [_day(now - ago * _DAY_S) for ago in range(count)]
    found = {day: _sum(table, f"{_LEDGER}#{day}") for day in days}
    return {day: ledger for day, ledger in found.items() if ledger != Ledger()}


def _sum(table: Table, pk: str) -> Ledger:
    known = Ledger.__struct_fields__
    ledger = Ledger()
    for shard in table.numbers(pk):
        ledger = ledger + msgspec.convert({name: shard[name] for name in known if name in shard}, Ledger, strict=False)
    return ledger


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))
