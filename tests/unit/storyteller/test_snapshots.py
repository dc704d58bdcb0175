from __future__ import annotations

import random
import threading
from typing import Any

import pytest
import snapshot_restore_py

from storyteller import snapshots
from storyteller.model_loader import ModelLoader


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The runtime's hooks, empty and put back afterwards."""
    hooks: list[Any] = []
    monkeypatch.setattr(snapshot_restore_py, "_after_restore_registry", hooks)
    return hooks


def restore(hooks: list[Any]) -> None:
    for function, arguments, named in hooks:
        function(*arguments, **named)


def test_only_snapstart_waits_for_the_model_at_import() -> None:
    assert snapshots.is_coming({"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"})
    assert not snapshots.is_coming({"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"})
    assert not snapshots.is_coming({})


def test_the_model_is_there_before_the_snapshot(registry: list[Any]) -> None:
    let, engine = threading.Event(), object()

    def load(note: Any) -> Any:
        let.wait(30)
        return engine

    loader = ModelLoader(load)
    threading.Timer(0.2, let.set).start()
    snapshots.prepare(loader, lambda: None)
    assert loader.engine is engine
    assert len(registry) == 1


def test_a_model_that_cannot_be_loaded_fails_the_init(registry: list[Any]) -> None:
    def load(note: Any) -> Any:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        snapshots.prepare(ModelLoader(load), lambda: None)
    assert registry == []


def test_every_copy_has_random_numbers_and_connections_of_its_own(registry: list[Any]) -> None:
    connected: list[bool] = []
    snapshots.prepare(ModelLoader(lambda note: object()), lambda: connected.append(True))  # type: ignore[arg-type,return-value]
    drawn = []
    for _ in range(2):
        random.seed(1)
        restore(registry)
        drawn.append(random.random())
    assert connected == [True, True]
    assert drawn[0] != drawn[1]
