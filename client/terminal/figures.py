"""Figures as people read them: two digits that mean something, never an exponent."""

from __future__ import annotations

from decimal import Decimal

from client.session.protocol import Saved, Stats, Used


def figure(value: float) -> str:
    """Two significant digits, or whole numbers from a hundred on."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{Decimal(f'{value:.2g}'):f}"


def dollars(usd: float) -> str:
    """US dollars: cents where there are any, else two significant digits."""
    return f"${usd:,.2f}" if usd >= 0.01 or usd == 0 else f"${figure(usd)}"


def reply_in_brief(stats: Stats) -> str:
    """What a reply took, in one line."""
    return (
        f"{stats.tokens} tokens, first after {figure(stats.ttft_ms / 1000)} s, "
        f"{figure(stats.tokens_per_s)} tokens/s, {dollars(stats.used.usd)}, {figure(stats.used.mwh)} mWh"
    )


def reply_in_full(stats: Stats) -> str:
    """What a reply took, cost and used."""
    return (
        f"{reply_in_brief(stats)}, {figure(stats.total_ms / 1000)} s in all, "
        f"{dollars(stats.usd_per_million)} per million tokens; {used_within(stats.used)}"
    )


def used_within(used: Used) -> str:
    """Energy and carbon with their bounds."""
    low, high = used.mwh_bounds
    least, most = (figure(grams * 1000) for grams in used.gco2e_bounds)
    return (
        f"{figure(used.mwh)} mWh ({figure(low)} to {figure(high)}), "
        f"{figure(used.gco2e * 1000)} mg CO2e ({least} to {most})"
    )


def spared(saved: list[Saved]) -> str:
    """What written answers spared, in all."""
    tokens = sum(one.tokens for one in saved)
    usd, mwh, grams = (sum(getattr(one, name) for one in saved) for name in ("usd", "mwh", "gco2e"))
    return f"{tokens} tokens, {dollars(usd)}, {figure(mwh)} mWh, {figure(grams * 1000)} mg CO2e"
