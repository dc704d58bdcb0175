"""Deployments of a stack on an AWS that only notes what is done to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from infra.deploy import command, stack_state
from infra.settings import Settings

ROLE = "api_log_role=account"


class State:
    """What is on AWS, and what a deployment does to it."""

    def __init__(self, status: str | None = None, weights: str | None = None) -> None:
        self.status = status
        self.weights = weights
        self.done: list[str] = []
        self.files: list[stack_state.Files | None] = []


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> State:
    state = State()

    def cdk(arguments: list[str], given: dict[str, str]) -> None:
        state.done.append(" ".join([*arguments, *(f"{name}={value}" for name, value in given.items())]))

    def note(name: str, result: Any = None) -> Callable[..., Any]:
        def act(*_: object) -> Any:
            state.done.append(name)
            return result

        return act

    monkeypatch.setattr(command, "run_cdk", cdk)
    monkeypatch.setattr(command, "push", note("push", "sha256:ab"))
    monkeypatch.setattr(command, "check", lambda settings, client: iter(()))
    monkeypatch.setattr(command, "synthesize", lambda given, folder: (folder, Settings()))
    monkeypatch.setattr(command, "describe", lambda assembly, settings: "so much")
    monkeypatch.setattr(
        stack_state, "find_status", lambda _, stack: state.weights if stack.endswith("-Weights") else state.status
    )
    monkeypatch.setattr(stack_state, "find_output", lambda _, stack, name: f"{stack} {name}".lower().replace(" ", "-"))
    monkeypatch.setattr(stack_state, "mark_live", note("mark live"))
    monkeypatch.setattr(stack_state, "asset_files", lambda *_: state.files.pop(0) if state.files else None)
    monkeypatch.setattr(stack_state, "choose_log_role", lambda *_: "account")
    return state


def client(name: str) -> Any:
    raise AssertionError(name)
