"""Line plots as SVG files, without a plotting library. Knows nothing of what it plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

_COLOURS = ("#0b6e4f", "#c8553d", "#588b8b", "#8a6fb0", "#b58900", "#444444")
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 420, 60, 40, 190, 50


def write_curves(
    path: Path, title: str, axes: tuple[str, str], curves: Mapping[str, Sequence[tuple[float, float]]], low: float
) -> None:
    """Writes curves of (x, y), x logarithmic from `low` to 1, y from 0 to 1, as an SVG file."""
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def across(x: float) -> float:
        return _LEFT + wide * (1 - math.log(max(x, low)) / math.log(low))

    def down(y: float) -> float:
        return _TOP + high * (1 - y)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif"'
        ' font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/><text x="{_LEFT}" y="22" font-size="15">'
        f"{escape(title)}</text>",
    ]
    for tenth in range(0, 11, 2):
        y = down(tenth / 10)
        parts.append(f'<path d="M{_LEFT} {y:.1f}h{wide}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tenth / 10:.1f}</text>')
    for tick in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1):
        if tick >= low:
            parts.append(f'<path d="M{across(tick):.1f} {_TOP}v{high}" stroke="#eee"/>')
            place = f'x="{across(tick):.1f}" y="{_TOP + high + 16}"'
            parts.append(f'<text {place} text-anchor="middle">{tick * 100:g}%</text>')
    parts.append(f'<text x="{_LEFT + wide / 2}" y="{_HEIGHT - 12}" text-anchor="middle">{escape(axes[0])}</text>')
    parts.append(f'<text transform="translate(16 {_TOP + high / 2}) rotate(-90)" text-anchor="middle">')
    parts.append(f"{escape(axes[1])}</text>")
    for number, (name, points) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        line = "L".join(f"{across(x):.1f} {down(y):.1f}" for x, y in points)
        parts.append(f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = _TOP + 16 + 20 * number
        parts.append(f'<path d="M{_WIDTH - _RIGHT + 12} {y - 4}h18" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT + 36}" y="{y}">{escape(name)}</text>')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")
