"""What `bench.replay` gives to both sides; the replay itself is tests/local/test_replay.py."""

from __future__ import annotations

import time

import pytest

from bench.replay.__main__ import SCENARIO, SEED, Compared, Overhead, compress, crowd_of, predict
from planner.analysis.evaluation import system_of
from planner.scenario import load


def test_a_compressed_clock_changes_nothing_but_the_unit() -> None:
    scenario = load(SCENARIO)
    outcomes = []
    for speed in (1, 5):
        crowd = crowd_of(scenario, 8, speed, SEED)
        outcomes.append(predict(compress(system_of(scenario), speed), crowd, Overhead()))
    slow, fast = outcomes
    assert [wait / 5 for wait in slow.opening] == pytest.approx(list(fast.opening))
    assert [wait / 5 for wait in slow.later] == pytest.approx(list(fast.later))
    assert (slow.starts, slow.visits_cold) == (fast.starts, fast.visits_cold) == (4, 4)


def test_an_error_is_relative_to_what_was_played() -> None:
    assert Compared("a wait", 11.0, 10.0).error == pytest.approx(0.1)
    assert Compared("a share", 0.0, 0.0).error == 0
    assert Compared("a share", 0.5, 0.0).error == float("inf")


def test_the_paced_engine_takes_its_time_and_says_as_many_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.replay.paced import PacedEngine
    from storyteller.engine import Sampling

    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "sleep", sleep)
    engine, said = PacedEngine(2.0, 10.0), list[str]()
    ids = engine.encode_chat([{"role": "user", "content": "9 steps"}, {"role": "user", "content": "I walk 4 steps."}])
    done = engine.generate(ids, Sampling(), emit=said.append, cancelled=lambda: False, deadline=100.0)
    assert (done.tokens, len(said), done.reason) == (4, 4, "length")
    assert done.total_s == pytest.approx(2.3)
    late = engine.generate(ids, Sampling(), emit=said.append, cancelled=lambda: False, deadline=now + 2.05)
    assert (late.tokens, late.reason) == (1, "deadline")
