"""A `Play` that is connected to a server which does what a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from client.session.connection import Play
from client.session.events import Connection, Welcomed
from client.session.queue import Timeouts
from tests.unit.client.session.fake_server import FakeServer, Line

QUICK = Timeouts(gap=0.05, retry_first=0.01, retry_most=0.05, refused_again=(0.01, 0.01, 0.01))
BEAT = {"id": "gate", "speaker": "Guardian", "lines": [{"text": "Halt!", "at_s": 0}], "final": False}


@asynccontextmanager
async def playing(timeouts: Timeouts = QUICK, **welcome: Any) -> AsyncIterator[tuple[FakeServer, Play, Line]]:
    async with FakeServer() as server, Play(server.address, timeouts=timeouts) as play:
        line = await server.line()
        await line.welcome(**welcome)
        await play.until(lambda event: isinstance(event, Welcomed))
        yield server, play, line


def is_lost(event: object) -> bool:
    return isinstance(event, Connection) and event.state == "lost"
