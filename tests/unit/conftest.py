"""Fixtures of the unit tests: a table in memory, the sessions in it, the two far ends."""

from __future__ import annotations

from typing import Any, cast

import pytest
from aws_lambda_powertools import Logger
from hypothesis import settings

from overture.sessions import Sessions
from overture.table import Table
from tests.unit.fakes import TABLE, FakeConnections, FakeLambda, MemoryClient, SteppedClock

# Nothing is timed in a test: a loaded machine takes longer for an example than Hypothesis lets it by default.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

#: The handlers make this logger; the modules' own are its children.
logger = Logger()


@pytest.fixture
def client() -> MemoryClient:
    return MemoryClient()


@pytest.fixture
def table(client: MemoryClient) -> Table:
    return Table(TABLE, cast(Any, client))


@pytest.fixture
def sessions(table: Table) -> Sessions:
    return Sessions(table)


@pytest.fixture
def connections() -> FakeConnections:
    return FakeConnections()


@pytest.fixture
def aws_lambda() -> FakeLambda:
    return FakeLambda()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SteppedClock:
    return SteppedClock(monkeypatch)
