"""Costs: what a second of a function costs in money, energy and carbon, and what an answer saves.

Prices are AWS's for Lambda on arm64; energy follows Cloud Carbon Footprint. Both are estimates of
a bill and of a meter, not readings: `docs/costs.md` gives the assumptions in full.
"""

from __future__ import annotations

from typing import NamedTuple

from overture.counters import Totals
from overture.protocol import Saved, Stats

#: US dollars per GB-second, Lambda arm64, us-east-1, first tier (aws.amazon.com/lambda/pricing, 2026-11).
USD_PER_GB_S = 0.0000133334
#: Memory that comes with one vCPU on Lambda, in MB (docs.aws.amazon.com/lambda, "Configuring memory").
MB_PER_VCPU = 1_769
#: Watts of one busy Graviton vCPU and of one GB of memory (Cloud Carbon Footprint, AWS coefficients).
WATTS_PER_VCPU, WATTS_PER_GB = 1.693, 0.392
#: Power usage effectiveness of AWS's data centres in 2024.
PUE = 1.15


class Cost(NamedTuple):
    """US dollars, milliwatt-hours and grams of CO2e."""

    usd: float
    mwh: float
    gco2e: float


def of_seconds(seconds: float, memory_mb: int, grid_kg_per_kwh: float) -> Cost:
    """What a function of that memory costs while it works for so many seconds."""
    gb = memory_mb / 1024
    watts = (memory_mb / MB_PER_VCPU * WATTS_PER_VCPU + gb * WATTS_PER_GB) * PUE
    mwh = watts * seconds / 3.6
    return Cost(seconds * gb * USD_PER_GB_S, mwh, mwh * 1e-6 * grid_kg_per_kwh * 1000)


def of_reply(
    *,
    tokens: int,
    prompt_tokens: int,
    reused_tokens: int,
    ttft_s: float,
    total_s: float,
    memory_mb: int,
    grid_kg_per_kwh: float,
) -> Stats:
    """The figures of one reply. Tokens per second count from the first token on."""
    cost = of_seconds(total_s, memory_mb, grid_kg_per_kwh)
    decoding = total_s - ttft_s
    return Stats(
        ttft_ms=round(ttft_s * 1000, 1),
        tokens=tokens,
        tokens_per_s=round((tokens - 1) / decoding, 2) if tokens > 1 and decoding > 0 else 0.0,
        total_ms=round(total_s * 1000, 1),
        usd=round(cost.usd, 9),
        usd_per_million=round(cost.usd / tokens * 1e6, 3) if tokens else 0.0,
        mwh=round(cost.mwh, 4),
        gco2e=round(cost.gco2e, 7),
        prompt_tokens=prompt_tokens,
        reused_tokens=reused_tokens,
    )


def saved_by_answer(totals: Totals, *, search_s: float, memory_mb: int, grid_kg_per_kwh: float) -> Saved:
    """The model's mean cost of a reply so far, less what the search cost; nothing before the first reply."""
    if not totals.replies:
        return Saved(0, 0.0, 0.0)
    search = of_seconds(search_s, memory_mb, grid_kg_per_kwh)
    return Saved(
        tokens=round(totals.tokens / totals.replies),
        usd=round(max(0.0, totals.usd / totals.replies - search.usd), 9),
        mwh=round(max(0.0, totals.mwh / totals.replies - search.mwh), 4),
    )
