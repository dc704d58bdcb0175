from __future__ import annotations

from typing import Any

import boto3
import pytest

from overture.accounting.ledger import Ledger
from overture.counters import add_to_ledger
from overture.table import Table
from planner.__main__ import main
from planner.deployment import days
from planner.scenario import Place, ScenarioError


@pytest.fixture
def aws(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto3, "client", lambda *_, **__: client)


@pytest.mark.usefixtures("aws")
def test_a_day_is_shown_with_money_energy_and_carbon(table: Table, capsys: pytest.CaptureFixture[str]) -> None:
    add_to_ledger(table, Ledger(start_s=50, starts=1, decode_s=480, replies=10, tokens=1_200))
    add_to_ledger(table, Ledger(search_s=0.05, answers=30))
    ((day, starts, replies, tokens, share, usd, wh, grams),) = days.rows(days.read(table.name, "us-east-1"), Place())
    assert (starts, replies, tokens, share) == ("1", "10", "1,200", "75%")
    assert usd == "$0.071", "530 s of 10 GB"
    assert 1 < float(wh) < 5
    assert 0.5 < float(grams) < 3
    assert main(["--days", table.name]) == 0
    assert day in capsys.readouterr().out


@pytest.mark.usefixtures("aws")
def test_a_table_without_days_is_refused_in_a_sentence(table: Table) -> None:
    with pytest.raises(ScenarioError, match=f"--days {table.name}: no day is in the table"):
        days.read(table.name, "us-east-1")
