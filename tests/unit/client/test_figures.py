"""Figures as people read them."""

from __future__ import annotations

import pytest

from client.session.protocol import Saved
from client.terminal.figures import dollars, figure, spared


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
    one = Saved(96, 0.0011, 21.3)
    assert spared([one, one]) == "192 tokens, $0.0022, 43 mWh"
    assert spared([]) == "0 tokens, $0.00, 0 mWh"
