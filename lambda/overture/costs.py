"""What visitors are shown: the figures of a reply, of their visit, and of what a written answer saved.

Computed from seconds by `prices` (money) and `energy` (energy and carbon, with bounds): estimates of a bill and of a
meter, not readings.
"""

from __future__ import annotations

from typing import NamedTuple

from overture import prices
from overture.energy import Footprint, footprint, lambda_share
from overture.grid import Grid
from overture.ledger import Ledger, storyteller_usd, total
from overture.protocol import Saved, Stats, Used


class House(NamedTuple):
    """What the figures depend on: the functions' memory, in MB, and the grid of their region."""

    storyteller_mb: int
    front_mb: int
    grid: Grid


def of_reply(
    *, tokens: int, prompt_tokens: int, reused_tokens: int, ttft_s: float, total_s: float, house: House
) -> Stats:
    """The figures of one reply. Tokens per second count from the first token on."""
    usd = prices.of_seconds(total_s, house.storyteller_mb)
    decoding = total_s - ttft_s
    return Stats(
        ttft_ms=round(ttft_s * 1000, 1),
        tokens=tokens,
        tokens_per_s=round((tokens - 1) / decoding, 2) if tokens > 1 and decoding > 0 else 0.0,
        total_ms=round(total_s * 1000, 1),
        usd_per_million=round(usd / tokens * 1e6, 3) if tokens else 0.0,
        prompt_tokens=prompt_tokens,
        reused_tokens=reused_tokens,
        used=_used(usd, footprint(lambda_share(house.storyteller_mb), "decode", total_s, house.grid)),
    )


def of_visit(ledger: Ledger, house: House) -> Used:
    """All that a session used so far: starts, replies, lingering, searches."""
    usd = storyteller_usd(ledger, house.storyteller_mb) + prices.of_seconds(ledger.search_s, house.front_mb)
    return _used(usd, total(ledger, house.storyteller_mb, house.front_mb, house.grid))


def saved_by_answer(ledger: Ledger, *, search_s: float, spared_start: bool, house: House) -> Saved:
    """The mean reply of the house so far, and a mean start where none was needed, less what the search took.

    Nothing before the first reply but the share of lines that were answered, this one among them.
    """
    replies, starts = max(1, ledger.replies), max(1, ledger.starts)
    seconds = (ledger.prefill_s + ledger.decode_s) / replies
    if spared_start:
        seconds += ledger.start_s / starts
    front = lambda_share(house.front_mb)
    model = footprint(lambda_share(house.storyteller_mb), "decode", seconds, house.grid)
    search = footprint(front, "search", search_s, house.grid)
    known = ledger.replies > 0
    usd = prices.of_seconds(seconds, house.storyteller_mb) - prices.of_seconds(search_s, house.front_mb)
    return Saved(
        tokens=round(ledger.tokens / replies) if known else 0,
        usd=round(max(0.0, usd), 9) if known else 0.0,
        mwh=round(max(0.0, (model.wh.likely - search.wh.likely) * 1000), 4) if known else 0.0,
        gco2e=round(max(0.0, model.gco2e.likely - search.gco2e.likely), 7) if known else 0.0,
        share=round((ledger.answers + 1) / (ledger.lines + 1), 4),
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
