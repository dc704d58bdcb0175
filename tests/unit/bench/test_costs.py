"""Costs: what is computed agrees with itself, and the page with it."""

from __future__ import annotations

import pytest

from bench.costs import BIG, MODELS, PAGE, break_even, rewritten, session, snapshot_break_even, start, telling
from infra.deploy.prices import MONTH_H, usd
from infra.deploy.starts import starts


def test_a_visit_is_a_start_the_telling_and_what_is_around_it() -> None:
    for model in MODELS:
        assert session(model) > start(model) + telling(model)
    assert [telling(model) for model in MODELS] == sorted(telling(model) for model in MODELS)


def test_at_the_break_even_both_cost_the_same() -> None:
    machine = usd("r8g.4xlarge", MONTH_H)
    assert 30 * break_even(BIG, machine) * session(BIG) == pytest.approx(machine)


def test_a_snapshot_pays_from_where_it_says() -> None:
    for model in MODELS:
        cold, snapshot = starts(model.weights_bytes, model.memory_mb)
        assert snapshot.seconds < cold.seconds
        at = snapshot_break_even(model)
        if at is None:
            assert snapshot.visit_usd >= cold.visit_usd
        else:
            assert cold.total(at) == pytest.approx(snapshot.total(at))
    assert snapshot_break_even(BIG) is not None


def test_the_page_is_what_the_prices_give() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert rewritten(text) == text, "run make docs"
