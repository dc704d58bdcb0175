"""An invocation of the storyteller as Lambda would start it, with a stand-in for the engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Metrics

from overture import leases, protocol
from overture.sessions import Sessions, SessionTransaction
from overture.settings import Settings
from prologue.prompt import fixed_messages
from prologue.world import load_world
from storyteller.engine import Completion, Sampling
from storyteller.model_loader import ModelLoader
from storyteller.worker import ReplyWorker
from tests.unit.fakes import FakeConnections, put_session

WORLD = load_world(Path("prologue/worlds/emerald_city"))
SETTINGS = Settings(gather_s=0.01, grace_s=0.2)


class FakeEngine:
    """Tells a fixed story, a word at a time, and remembers its prompts."""

    context = 1024

    def __init__(self, words: list[str] | None = None) -> None:
        self.defaults: dict[str, float] = {}
        self.words = words or ["You ", "stand ", "at ", "the ", "gate."]
        self.prompts: list[list[dict[str, str]]] = []
        self.went_on: list[bool] = []
        self.sampled: list[Sampling] = []
        self.between: Callable[[], None] = lambda: None
        self.error: Exception | None = None
        self.reason: Any = "stop"

    def count_chat(self, messages: list[dict[str, str]]) -> int:
        return sum(len(message["content"].split()) for message in messages)

    def encode(self, text: str) -> list[int]:
        return [0] * len(text.split())

    def encode_chat(self, messages: list[dict[str, str]], go_on: bool = False) -> list[int]:
        self.prompts.append(messages)
        self.went_on.append(go_on)
        return [0] * self.count_chat(messages)

    def generate(
        self,
        ids: list[int],
        sampling: Sampling,
        emit: Callable[[str], None],
        cancelled: Callable[[], bool],
        deadline: float | None = None,
    ) -> Completion:
        self.sampled.append(sampling)
        if self.error is not None:
            raise self.error
        told = 0
        reason = self.reason
        for word in self.words:
            if cancelled():
                reason = "cancelled"
                break
            if deadline is not None and time.monotonic() > deadline:
                reason = "deadline"
                break
            emit(word)
            told += 1
            self.between()
        return Completion("".join(self.words[:told]), reason, told, len(ids), 0, 0.01, 0.02)


class Shift:
    """Invokes the storyteller for a session as Lambda would."""

    def __init__(self, sessions: Sessions, connections: FakeConnections) -> None:
        self.sessions, self.connections = sessions, connections
        self.key = put_session(sessions, in_story=True, profile={"name": "Nim"})
        self.engine = FakeEngine()
        self.remaining_s = 900.0
        self.settings = SETTINGS

    def say(self, turn_id: str, said: str = "I knock.", notes: Sequence[str] = ()) -> str | None:
        def put(tx: SessionTransaction) -> str:
            leases.append(tx, tx.add_turn(turn_id, said, notes=notes))
            return leases.reserve(tx, self.settings).token

        return self.sessions.update(self.key, put)

    def work(self, token: str | None, loader: ModelLoader | None = None) -> None:
        assert token is not None
        ReplyWorker(
            self.settings,
            self.sessions,
            self.connections,
            WORLD,
            Metrics(namespace="Test", service="storyteller"),
            key=self.key,
            token=token,
            memory_mb=10240,
            remaining_s=lambda: self.remaining_s,
        ).work(loader or ModelLoader(lambda note: self.engine))  # type: ignore[arg-type, return-value]

    def story(self) -> list[str]:
        """What the last prompt holds after the messages that are the same for everybody."""
        return [message["content"] for message in self.engine.prompts[-1][len(fixed_messages(WORLD)) :]]

    def reply(self, turn_id: str) -> tuple[str, str]:
        (turn,) = [turn for turn in self.sessions.turns(self.key) if turn.id == turn_id]
        return turn.reply, turn.state


def ends(messages: list[protocol.ServerMessage]) -> list[protocol.End]:
    return [message for message in messages if isinstance(message, protocol.End)]


def text(messages: list[protocol.ServerMessage], turn_id: str) -> str:
    tokens = [message for message in messages if isinstance(message, protocol.Token) and message.to == turn_id]
    shown = ""
    for token in tokens:
        assert token.at <= len(shown)
        shown = shown[: token.at] + token.text
    return shown
