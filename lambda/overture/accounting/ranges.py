"""Ranges: an estimate as low, likely and high, because no constant of this accounting is known exactly.

Sums and products combine low with low and high with high: the widest reading, not a confidence interval.
Only positive quantities are meant; there is no subtraction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Range:
    """Low, likely and high value of one quantity."""

    low: float
    likely: float
    high: float

    ZERO: ClassVar[Range]

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.likely <= self.high:
            raise ValueError(
                f"a range needs 0 <= low <= likely <= high, not {self.low:g}, {self.likely:g}, {self.high:g}"
            )

    @staticmethod
    def exactly(value: float) -> Range:
        """A value that is known."""
        return Range(value, value, value)

    @staticmethod
    def total(parts: Iterable[Range]) -> Range:
        """The sum of any number of ranges."""
        found = list(parts)
        return Range(sum(r.low for r in found), sum(r.likely for r in found), sum(r.high for r in found))

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def __mul__(self, by: Range | float) -> Range:
        if isinstance(by, Range):
            return Range(self.low * by.low, self.likely * by.likely, self.high * by.high)
        return Range(self.low * by, self.likely * by, self.high * by)

    __rmul__ = __mul__

    def __truediv__(self, by: float) -> Range:
        return self * (1 / by)

    def __str__(self) -> str:
        if self.low == self.high:
            return significant(self.likely)
        return f"{significant(self.likely)} ({significant(self.low)}-{significant(self.high)})"


Range.ZERO = Range(0, 0, 0)


def significant(value: float, digits: int = 2) -> str:
    """The value with this many significant digits, never in scientific notation."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, places)
    return f"{rounded:,.{max(0, places)}f}"
