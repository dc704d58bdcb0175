"""A visitor to act as, before the real actions, sessions and script."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from aws_lambda_powertools import Metrics

from front import actions
from front.invoker import StorytellerInvoker
from front.turns import Front
from overture import leases, protocol
from overture.sessions import Sessions, Turn, key_of
from overture.settings import Settings
from prologue.answers.index import Found, Match
from prologue.world import load_world
from tests.unit.fakes import FakeConnections, FakeLambda

WORLD = load_world(Path("prologue/worlds/emerald_city"))


class FakeIndex:
    """Answers one line, in any state."""

    asked: list[tuple[str, str]]

    def __init__(self) -> None:
        self.asked = []

    def consult(self, text: str, state: str) -> Found:
        self.asked.append((text, state))
        if text != "What can you do?":
            return Found(None, self.facts(text))
        match = Match(id="abilities", text="I tell stories.", matched="What can you do", score=0.93, tokens=5)
        return Found(match, [])

    def facts(self, text: str) -> list[str]:
        return [f"True of {word}." for word in text.strip("?").split() if word in ("lamps", "bells", "wizards")]


class Play:
    """Front with everything around it, and a visitor to act as."""

    def __init__(
        self,
        sessions: Sessions,
        connections: FakeConnections,
        aws_lambda: FakeLambda,
        sleep: Callable[[float], None] = time.sleep,
        **settings: Any,
    ) -> None:
        self.settings = Settings(**settings)
        self.sessions, self.connections, self.aws_lambda = sessions, connections, aws_lambda
        self.invoker = StorytellerInvoker(self.settings, sessions, connections, cast(Any, aws_lambda), sleep)
        self.index = FakeIndex()
        index: Any = self.index
        metrics = Metrics(namespace="Test", service="front")
        self.front = Front(self.settings, sessions, connections, self.invoker, WORLD, index, metrics, 1024)
        self.secret = ""
        self.count = 0

    def send(self, action: str, *, connection: str = "c1", **fields: Any) -> list[protocol.ServerMessage]:
        frame = {"action": action, **fields}
        actions.act(self.front, connection, "192.0.2.1", json.dumps(frame))
        return self.connections.take(connection)

    def do(self, action: str, *, connection: str = "c1", **fields: Any) -> list[protocol.ServerMessage]:
        """An action that has an id, expecting its ok first."""
        self.count += 1
        got = self.send(action, connection=connection, id=f"a{self.count}", **fields)
        ok = got[0]
        assert isinstance(ok, protocol.Ok), got
        assert ok.to == f"a{self.count}"
        is_line = action == "say" and "ask" not in fields
        spoken = any(isinstance(message, protocol.Answer | protocol.Aside) for message in got)
        assert ok.answered == (spoken if is_line else None)
        return got[1:]

    def hello(self, connection: str = "c1", **fields: Any) -> list[protocol.ServerMessage]:
        got = self.send("hello", connection=connection, **fields)
        assert isinstance(got[0], protocol.Welcome), got
        self.secret = got[0].session
        return got

    @property
    def key(self) -> str:
        return key_of(self.secret)

    def told(self, turn_id: str, reply: str = "A scene.") -> None:
        """What a storyteller would do: takes its invocation, tells all lines up to this one, gives the lease back."""
        sent = self.aws_lambda.sent[-1]
        fence = self.sessions.update(self.key, lambda tx: leases.confirm(tx, sent["token"], self.settings)) or ""

        def take(tx: Any) -> Turn | None:
            return leases.take_line(tx, fence, self.settings).turn

        while (turn := self.sessions.update(self.key, take)) is not None:
            turn.reply += reply
            self._finish(fence, turn)
        assert self.sessions.update(self.key, lambda tx: leases.release(tx, fence))
        assert turn_id in [turn.id for turn in self.sessions.turns(self.key)]

    def _finish(self, fence: str, turn: Turn) -> None:
        self.sessions.update(self.key, lambda tx: leases.finish_line(tx, fence, turn, "done", None, self.settings))


def confirm(play: Play) -> str:
    """What a storyteller does first with the last invocation; the fence it then works under."""
    token = play.aws_lambda.sent[-1]["token"]
    return play.sessions.update(play.key, lambda tx: leases.confirm(tx, token, play.settings)) or ""


def record(sent: dict[str, Any], condition: str = "RetriesExhausted") -> dict[str, Any]:
    """What the destination gets of an invocation."""
    return {"requestPayload": sent, "requestContext": {"condition": condition}}


def kinds(messages: list[protocol.ServerMessage]) -> list[str]:
    return [type(message).__name__ for message in messages]


def error(messages: list[protocol.ServerMessage]) -> protocol.Error:
    assert kinds(messages) == ["Error"], messages
    assert isinstance(messages[0], protocol.Error)
    return messages[0]
