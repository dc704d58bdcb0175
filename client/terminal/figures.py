"""Figures as people read them: two digits that mean something, never an exponent."""

from __future__ import annotations

from decimal import Decimal

from client.session.protocol import Saved, Stats


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
        f"{figure(stats.tokens_per_s)} tokens/s, {dollars(stats.usd)}, {figure(stats.mwh)} mWh"
    )


def reply_in_full(stats: Stats) -> str:
    """What a reply took, cost and used."""
    return (
        f"{reply_in_brief(stats)}, {figure(stats.total_ms / 1000)} s in all, "
        f"{dollars(stats.usd_per_million)} per million tokens, {figure(stats.gco2e * 1000)} mg CO2e"
    )


def spared(saved: list[Saved]) -> str:
    """What written answers spared, in all."""
    tokens = sum(one.tokens for one in saved)
    return f"{tokens} tokens, {dollars(sum(one.usd for one in saved))}, {figure(sum(one.mwh for one in saved))} mWh"
