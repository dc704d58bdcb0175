"""What visitors are shown: seconds as money, energy and carbon."""

from __future__ import annotations

import pytest

from infra.functions import FRONT
from overture.accounting.costs import Deployment, of_reply, of_visit, saved_by_answer
from overture.accounting.grid import grid
from overture.accounting.ledger import Ledger
from overture.settings import FRONT_MB

DEPLOYMENT = Deployment(10_240, 1_024, grid("us-east-1"))


def test_a_reply_of_ten_seconds() -> None:
    stats = of_reply(tokens=46, prompt_tokens=300, reused_tokens=200, ttft_s=1, total_s=10, deployment=DEPLOYMENT)
    assert stats.tokens_per_s == 5
    assert stats.used.usd == pytest.approx(10 * 10 * 0.0000133334)
    # 5.79 vCPUs of 1.693 W, ten seconds, and the building.
    assert stats.used.mwh == pytest.approx(10_240 / 1_769 * 1.693 * 10 / 3.6 * 1.14, rel=1e-4)
    assert stats.usd_per_million == pytest.approx(stats.used.usd / 46 * 1e6, abs=1e-3)
    low, high = stats.used.gco2e_bounds
    assert low < stats.used.gco2e < high
    assert stats.used.gco2e > stats.used.mwh / 1e6 * 306, "making the server counts"


def test_nothing_told_costs_nothing() -> None:
    stats = of_reply(tokens=0, prompt_tokens=0, reused_tokens=0, ttft_s=0, total_s=0, deployment=DEPLOYMENT)
    assert (stats.used.usd, stats.used.mwh, stats.usd_per_million) == (0, 0, 0)


def test_a_visit_has_its_start_and_its_waiting() -> None:
    reply = Ledger(prefill_s=1, decode_s=9, replies=1, tokens=46)
    whole = of_visit(reply + Ledger(start_s=20, starts=1, linger_s=5, search_s=0.1), DEPLOYMENT)
    assert whole.usd == pytest.approx(35 * 10 * 0.0000133334 + 0.1 * 0.0000133334 + 0.20e-6, rel=1e-4)
    assert whole.mwh > 3 * of_visit(reply, DEPLOYMENT).mwh * 0.99


def test_what_an_answer_saved_is_the_mean_reply_and_a_start_where_none_was_needed() -> None:
    ledger = Ledger(prefill_s=2, decode_s=18, replies=2, tokens=80, start_s=30, starts=3, answers=1)
    awake = saved_by_answer(ledger, search_s=0.01, spared_start=False, deployment=DEPLOYMENT)
    asleep = saved_by_answer(ledger, search_s=0.01, spared_start=True, deployment=DEPLOYMENT)
    assert awake.tokens == 40
    assert awake.usd == pytest.approx(10 * 10 * 0.0000133334, rel=1e-3)
    assert asleep.usd == pytest.approx(2 * awake.usd, rel=1e-3)
    assert asleep.mwh == pytest.approx(2 * awake.mwh, rel=1e-2)
    assert (awake.share, awake.wakes_spared, asleep.wakes_spared) == (0.5, 0, 1)


def test_fronts_memory_is_the_one_that_is_deployed() -> None:
    assert FRONT.memory_mb == FRONT_MB
