"""The storyteller's invocations, for every test of them."""

from __future__ import annotations

import pytest

from overture.sessions import Sessions
from tests.unit.fakes import FakeConnections
from tests.unit.storyteller.shift import Shift


@pytest.fixture
def shift(sessions: Sessions, connections: FakeConnections) -> Shift:
    return Shift(sessions, connections)
