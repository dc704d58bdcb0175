"""Figures as people read them."""

from __future__ import annotations

import pytest

from client.session.protocol import Saved, Used
from client.terminal.figures import dollars, figure, spared, used_within


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.0000972, "0.000097"),
        (0.157, "0.16"),
        (3.19, "3.2"),
        (18.4, "18"),
        (139.2, "139"),
        (24_500, "24,500"),
    ],
)
def test_figures(value: float, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("usd", "text"), [(0, "$0.00"), (0.0000972, "$0.000097"), (0.0123, "$0.01"), (33.333, "$33.33")]
)
def test_dollars(usd: float, text: str) -> None:
    assert dollars(usd) == text


def test_what_was_spared() -> None:
    one = Saved(96, 0.0011, 21.3, 0.0081, 0.25, 0)
    assert spared([one, one]) == "192 tokens, $0.0022, 43 mWh, 16 mg CO2e"
    assert spared([]) == "0 tokens, $0.00, 0 mWh, 0 mg CO2e"


def test_what_was_used_has_its_bounds() -> None:
    used = Used(0.001, 21.34, (12.1, 139.6), 0.0081, (0.004, 0.02))
    assert used_within(used) == "21 mWh (12 to 140), 8.1 mg CO2e (4 to 20)"
