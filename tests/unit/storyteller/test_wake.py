"""The storyteller while its model loads: progress, the lease, a load that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from overture import leases, protocol
from overture.counters import read_ledger
from overture.sessions import Session
from overture.table import Conflict
from storyteller.engine import EngineError
from storyteller.model_loader import ModelLoader
from storyteller.worker import ReplyWorker
from tests.unit.storyteller.shift import FakeEngine, Shift


def test_waking_goes_on_when_a_note_of_it_cannot_be_written(shift: Shift, monkeypatch: pytest.MonkeyPatch) -> None:
    token = shift.say("a")
    noted: list[str] = []
    note = ReplyWorker._note_wake

    def refuse_once(telling: ReplyWorker, state: Any) -> Session:
        noted.append(state.state)
        if len(noted) == 1:
            raise Conflict
        return note(telling, state)

    monkeypatch.setattr(ReplyWorker, "_note_wake", refuse_once)
    awake = threading.Event()
    threading.Timer(0.5, awake.set).start()

    def load(note: Callable[[int, int], None]) -> FakeEngine:
        awake.wait()
        return shift.engine

    shift.work(token, ModelLoader(load))  # type: ignore[arg-type]
    assert noted == ["waking", "ready"]
    assert shift.reply("a")[1] == "done"


def test_while_it_wakes_the_visitor_hears_true_progress_and_the_lease_lives(shift: Shift) -> None:
    go = threading.Event()

    def load(note: Callable[[int, int], None]) -> Any:
        note(25, 100)
        go.wait(10)
        return shift.engine

    token = shift.say("a")
    worker = threading.Thread(target=shift.work, args=(token, ModelLoader(load)))
    worker.start()
    time.sleep(1.6)
    session = shift.sessions.read(shift.key)
    assert session.lease is not None
    assert session.lease.fence is not None
    assert (session.wake.state, session.wake.progress) == ("waking", 0.25)
    go.set()
    worker.join()
    wakes = [message for message in shift.connections.take() if isinstance(message, protocol.Wake)]
    assert len(wakes) >= 3
    assert [wake.state for wake in wakes] == ["waking"] * (len(wakes) - 1) + ["ready"]
    assert wakes[0].progress == 0.25
    assert wakes[0].eta_s is not None


def test_a_start_that_no_line_followed_belongs_to_the_session_that_caused_it(shift: Shift) -> None:
    def load(note: Callable[[int, int], None]) -> Any:
        while not shift.connections.posted:  # that it wakes: so the invocation is there
            threading.Event().wait(0.01)
        return shift.engine

    token = shift.sessions.update(shift.key, lambda tx: leases.reserve(tx, shift.settings).token)
    shift.work(token, ModelLoader(load))
    ledger = shift.sessions.read(shift.key).ledger
    assert ledger.starts == 1
    assert ledger == read_ledger(shift.sessions.table)


def test_nobody_waits_for_the_waking_any_more(shift: Shift) -> None:
    token = shift.sessions.update(shift.key, lambda tx: leases.reserve(tx, shift.settings)).token
    shift.sessions.update(shift.key, lambda tx: setattr(tx.session, "connection", None))
    never = threading.Event()

    def load(note: Callable[[int, int], None]) -> Any:
        never.wait(60)
        return shift.engine

    shift.work(token, ModelLoader(load))
    never.set()
    assert shift.sessions.read(shift.key).lease is None


def test_a_model_that_cannot_be_loaded_fails_the_invocation(shift: Shift) -> None:
    def load(note: Callable[[int, int], None]) -> Any:
        raise EngineError("models/mine has no config.json; pack the model again.")

    with pytest.raises(EngineError, match=r"no config\.json"):
        shift.work(shift.say("a"), ModelLoader(load))
    assert protocol.Wake("ready", progress=1.0) not in shift.connections.take()


def test_the_estimate_never_jumps_back() -> None:
    go = threading.Event()
    steps = [(5, 0.05), (10, 0.3), (50, 0.1), (55, 0.4), (90, 0.05)]

    def load(note: Callable[[int, int], None]) -> Any:
        for done, pause in steps:
            time.sleep(pause)
            note(done, 100)
        go.wait(10)
        return object()

    loader = ModelLoader(load)
    fractions = []
    while not loader.wait(0.02):
        fractions.append(loader.progress().fraction)
        if fractions[-1] >= 0.9:
            go.set()
    assert fractions == sorted(fractions)
    assert loader.progress().fraction == 1.0
