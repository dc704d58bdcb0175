from __future__ import annotations

import msgspec
import pytest

from overture.accounting.grid import grid
from overture.accounting.ledger import Ledger, by_phase, saved, storyteller_usd, total
from overture.accounting.prices import of_seconds, usd

HOME = grid("eu-north-1")


def ledger() -> Ledger:
    return Ledger(
        start_s=50, prefill_s=20, decode_s=300, warm_s=600, search_s=0.2, starts=1, replies=10, tokens=1_200, answers=5,
        wakes_spared=1,
    )  # fmt: skip


def test_ledgers_add_up() -> None:
    both = ledger() + ledger()
    assert (both.start_s, both.replies, both.answers) == (100, 20, 10)
    assert both.share_answered == pytest.approx(1 / 3)


def test_an_empty_ledger_costs_and_saves_nothing() -> None:
    empty = Ledger()
    assert empty.share_answered == 0
    assert storyteller_usd(empty, 10_240) == 0
    assert total(empty, 10_240, 512, HOME).gco2e.high == 0
    assert saved(empty, 10_240, 512, HOME) == (0, 0, 0, 0, 0)
    assert msgspec.json.encode(empty) == b"{}"


def test_warm_time_costs_energy_and_no_money() -> None:
    held = Ledger(warm_s=600)
    assert storyteller_usd(held, 10_240) == 0
    assert total(held, 10_240, 512, HOME).wh.likely > 0.5


def test_a_start_costs_more_than_a_reply() -> None:
    parts = by_phase(ledger(), 10_240, 512, HOME)
    assert parts["start"].wh.likely > (parts["prefill"] + parts["decode"]).wh.likely / 10


def test_the_savings_equation() -> None:
    found = saved(ledger(), 10_240, 512, HOME)
    assert found.share == pytest.approx(1 / 3)
    assert found.tokens == 5 * 120
    assert found.usd == pytest.approx(of_seconds(5 * 32 + 50, 10_240) - of_seconds(0.2, 512))
    assert found.gco2e > 0


def test_money_is_seconds_and_requests() -> None:
    assert storyteller_usd(ledger(), 10_240) == pytest.approx(of_seconds(370, 10_240) + usd("lambda_request", 10))
