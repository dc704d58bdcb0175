"""What visitors are shown: the figures of a reply, of their visit, and of what a written answer saved.

Computed from seconds by `prices` (money) and `energy` (energy and carbon, with bounds): estimates of a bill and of a
meter, not readings.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from overture.accounting import prices
from overture.accounting.energy import Footprint, footprint, lambda_share
from overture.accounting.grid import Grid
from overture.accounting.ledger import Ledger, saved, storyteller_usd, total
from overture.protocol import Saved, Stats, Used


class Deployment(NamedTuple):
    """What the figures depend on: the functions' memory, in MB, and the grid of their region."""

    storyteller_mb: int
    front_mb: int
    grid: Grid


def of_reply(
    *, tokens: int, prompt_tokens: int, reused_tokens: int, ttft_s: float, total_s: float, deployment: Deployment
) -> Stats:
    """The figures of one reply. Tokens per second count from the first token on."""
    usd = prices.of_seconds(total_s, deployment.storyteller_mb)
    decoding = total_s - ttft_s
    return Stats(
        ttft_ms=round(ttft_s * 1000, 1),
        tokens=tokens,
        tokens_per_s=round((tokens - 1) / decoding, 2) if tokens > 1 and decoding > 0 else 0.0,
        total_ms=round(total_s * 1000, 1),
        usd_per_million=round(usd / tokens * 1e6, 3) if tokens else 0.0,
        prompt_tokens=prompt_tokens,
        reused_tokens=reused_tokens,
        used=_used(usd, footprint(lambda_share(deployment.storyteller_mb), "decode", total_s, deployment.grid)),
    )


def of_visit(ledger: Ledger, deployment: Deployment) -> Used:
    """All that is in a ledger, a session's or a day's: starts, replies, lingering, searches."""
    usd = storyteller_usd(ledger, deployment.storyteller_mb) + prices.of_seconds(ledger.search_s, deployment.front_mb)
    return _used(usd, total(ledger, deployment.storyteller_mb, deployment.front_mb, deployment.grid))


def saved_by_answer(ledger: Ledger, *, search_s: float, spared_start: bool, deployment: Deployment) -> Saved:
    """What one more answer saves, by the savings equation of `ledger.saved` and the means of `ledger`.

    `share` and `wakes_spared` are of all lines, this one among them.
    """
    one = msgspec.structs.replace(ledger, answers=1, wakes_spared=int(spared_start), search_s=search_s)
    saving = saved(one, deployment.storyteller_mb, deployment.front_mb, deployment.grid)
    return Saved(
        tokens=round(saving.tokens),
        usd=round(saving.usd, 9),
        mwh=round(saving.wh * 1000, 4),
        gco2e=round(saving.gco2e, 7),
        share=round((ledger + Ledger(answers=1)).share_answered, 4),
        wakes_spared=ledger.wakes_spared + spared_start,
    )


def _used(usd: float, one: Footprint) -> Used:
    mwh = one.wh * 1000
    return Used(
        usd=round(usd, 9),
        mwh=round(mwh.likely, 4),
        mwh_bounds=(round(mwh.low, 4), round(mwh.high, 4)),
        gco2e=round(one.gco2e.likely, 7),
        gco2e_bounds=(round(one.gco2e.low, 7), round(one.gco2e.high, 7)),
    )
