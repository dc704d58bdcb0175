"""Two hundred plays in bad weather: nothing lost, nothing twice, every line ends."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos.storm import PAUSES, Clock, Storm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(360)]

TRIALS, AT_ONCE = 200, 10
LONGEST_SILENCE_S = 10.0


def test_two_hundred_storms(monkeypatch: pytest.MonkeyPatch) -> None:
    logging.disable(logging.CRITICAL)
    clock = Clock()
    monkeypatch.setattr("overture.sessions.time", clock)
    monkeypatch.setattr("overture.sessions._PATIENCE_S", 1.0)
    monkeypatch.setattr("overture.leases.UNCONFIRMED_S", 0.4)
    monkeypatch.setattr("overture.connections.FIRST_PAUSE_S", 0.01)
    storms = [Storm(seed, clock) for seed in range(TRIALS)]
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            silences = list(pool.map(Storm.play, storms))
    finally:
        logging.disable(logging.NOTSET)
    assert sum(storm.kills for storm in storms) > TRIALS / 2, "the weather was bad enough"
    # Two runs in five are killed, and a line that kills its storyteller again and again is given up.
    told, given_up = sum(storm.done for storm in storms), sum(storm.failed for storm in storms)
    assert told > 0.7 * (told + given_up), "most lines were told"
    assert sum(storm.pauses for storm in storms) > TRIALS / PAUSES, "holders stood still"
    assert max(silences) < LONGEST_SILENCE_S, sorted(silences)[-10:]
