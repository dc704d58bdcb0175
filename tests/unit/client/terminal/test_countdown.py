"""The countdown is true and never goes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from client.session.protocol import Wake
from client.terminal.countdown import Countdown

Reports = st.lists(st.tuples(st.floats(0.1, 5), st.floats(0, 1), st.none() | st.floats(0, 90)), max_size=12)


@given(Reports)
def test_it_never_goes_back(reports: list[tuple[float, float, float | None]]) -> None:
    now = 0.0
    countdown = Countdown(now)
    left, progress = float("inf"), 0.0
    for pause, reached, eta in reports:
        countdown.hear(Wake("waking", reached, eta), now)
        for _ in range(4):
            now += pause / 4
            reading = countdown.read(now)
            assert reading.progress >= progress
            progress = reading.progress
            if reading.left_s is not None:
                assert 0 <= reading.left_s <= left + 1e-9
                left = reading.left_s


def test_it_reaches_zero_when_the_estimate_does() -> None:
    countdown = Countdown(0)
    countdown.hear(Wake("waking", 0.5, 10), 0)
    assert countdown.read(4).words == "Awake in about 6 s"
    countdown.hear(Wake("waking", 0.6, 12), 4)  # later than was thought: slower, not back
    assert countdown.read(4).left_s == 6
    readings = [countdown.read(now / 10) for now in range(40, 161)]
    assert readings[60].words == "Awake in about 3 s"
    assert readings[-1].left_s is not None
    assert readings[-1].left_s < 0.01
    assert readings[-1].words == "Awake any moment now"


def test_a_new_waking_begins_again() -> None:
    countdown = Countdown(0)
    countdown.hear(Wake("waking", 0.9, 1), 0)
    countdown.hear(Wake("ready"), 1)
    assert (countdown.read(1).words, countdown.read(1).progress) == ("The storyteller is awake", 1.0)
    countdown.hear(Wake("waking", 0.1, 20), 5)
    assert (countdown.read(5).progress, countdown.read(5).left_s) == (0.1, 20)


def test_the_figures_change_every_second_while_there_is_waiting() -> None:
    countdown = Countdown(0)
    assert countdown.read(1).figures != countdown.read(2).figures
    for wake in (Wake("waking", 0.4, 8), Wake("waking"), Wake("queued", position=3)):
        countdown.hear(wake, 3)
        assert countdown.read(4).figures != countdown.read(5).figures
    assert countdown.read(5).words == "Place 3 in line for a storyteller"
