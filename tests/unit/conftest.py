"""Fixtures of the unit tests: a table in moto, the sessions in it, the two far ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aws_lambda_powertools import Logger

from overture.sessions import Sessions
from overture.table import Table
from tests.unit.fakes import FakeConnections, FakeLambda, make_table

#: The handlers make this logger; the modules' own are its children.
logger = Logger()


@pytest.fixture
def table() -> Iterator[Table]:
    yield from make_table()


@pytest.fixture
def sessions(table: Table) -> Sessions:
    return Sessions(table)


@pytest.fixture
def connections() -> FakeConnections:
    return FakeConnections()


@pytest.fixture
def aws_lambda() -> FakeLambda:
    return FakeLambda()
