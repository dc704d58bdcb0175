"""A visitor at the beginning of the play, and one in the story."""

from __future__ import annotations

import pytest

from overture.sessions import Sessions
from tests.unit.fakes import FakeConnections, FakeLambda
from tests.unit.front.visitor import Play


@pytest.fixture
def play(sessions: Sessions, connections: FakeConnections, aws_lambda: FakeLambda) -> Play:
    return Play(sessions, connections, aws_lambda)


@pytest.fixture
def story(play: Play) -> Play:
    """A play where the opening and the line `first` have been told."""
    play.hello()
    play.do("skip")
    play.told("opening")
    play.send("say", id="first", text="I look around.")
    play.told("first")
    play.connections.take()
    return play
