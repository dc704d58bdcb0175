"""Ledgers: what a reply, a session or a day used, counted where it is caused.

A start and the time an environment is held for a session belong to the session that caused them. A ledger keeps
seconds and counts only; money, energy and carbon are computed from it when they are shown, so a better constant
changes no stored figure. Ledgers add up: replies to a session, sessions to a day.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from overture.accounting import prices
from overture.accounting.energy import Footprint, Phase, footprint, lambda_share
from overture.accounting.grid import Grid


class Ledger(Struct, kw_only=True, omit_defaults=True):
    """Seconds by phase of the storyteller, and counts. `search_s` is Front's time for written answers."""

    start_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    linger_s: float = 0.0
    warm_s: float = 0.0
    search_s: float = 0.0
    starts: int = 0
    replies: int = 0
    tokens: int = 0
    answers: int = 0
    #: Sessions that a written answer spared from waking the storyteller.
    wakes_spared: int = 0
    messages: int = 0

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})

    @property
    def lines(self) -> int:
        """Lines that got a reply or an answer."""
        return self.replies + self.answers

    @property
    def share_answered(self) -> float:
        """The share of lines that were answered without the model."""
        return self.answers / self.lines if self.lines else 0.0


class Saving(NamedTuple):
    """The savings equation: share of lines x (cost of a reply - cost of a search), for all lines of a ledger."""

    share: float
    tokens: float
    usd: float
    wh: float
    gco2e: float


def storyteller_usd(ledger: Ledger, memory_mb: float) -> float:
    """What Lambda charges for the storyteller. Warm time is not charged."""
    seconds = ledger.start_s + ledger.prefill_s + ledger.decode_s + ledger.linger_s
    return prices.of_seconds(seconds, memory_mb) + prices.usd("lambda_request", ledger.replies)


def by_phase(ledger: Ledger, memory_mb: float, front_mb: float, grid: Grid) -> dict[Phase, Footprint]:
    """The footprint of each phase of a ledger."""
    storyteller, front = lambda_share(memory_mb), lambda_share(front_mb)
    seconds: dict[Phase, float] = {
        "start": ledger.start_s,
        "prefill": ledger.prefill_s,
        "decode": ledger.decode_s,
        "linger": ledger.linger_s,
        "warm": ledger.warm_s,
    }
    parts = {phase: footprint(storyteller, phase, value, grid) for phase, value in seconds.items()}
    parts["search"] = footprint(front, "search", ledger.search_s, grid)
    return parts


def total(ledger: Ledger, memory_mb: float, front_mb: float, grid: Grid) -> Footprint:
    """The footprint of a whole ledger."""
    found = Footprint()
    for part in by_phase(ledger, memory_mb, front_mb, grid).values():
        found = found + part
    return found


def saved(ledger: Ledger, memory_mb: float, front_mb: float, grid: Grid) -> Saving:
    """What the written answers of a ledger saved, at the likely values.

    The model's mean reply (its prefill and decode, without starts) less a search, for each answer, and a mean start for
    each wake spared. Nothing before the first reply.
    """
    if not ledger.replies:
        return Saving(ledger.share_answered, 0.0, 0.0, 0.0, 0.0)
    model, search = lambda_share(memory_mb), lambda_share(front_mb)
    reply_s = (ledger.prefill_s + ledger.decode_s) / ledger.replies
    search_s = ledger.search_s / ledger.answers if ledger.answers else 0.0
    start_s = ledger.start_s / ledger.starts if ledger.starts else 0.0
    spared_s = reply_s * ledger.answers + start_s * ledger.wakes_spared
    reply = footprint(model, "decode", spared_s, grid)
    searches = footprint(search, "search", search_s * ledger.answers, grid)
    return Saving(
        ledger.share_answered,
        ledger.tokens / ledger.replies * ledger.answers,
        max(0.0, prices.of_seconds(spared_s, memory_mb) - prices.of_seconds(search_s * ledger.answers, front_mb)),
        max(0.0, reply.wh.likely - searches.wh.likely),
        max(0.0, reply.gco2e.likely - searches.gco2e.likely),
    )
