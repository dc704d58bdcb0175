"""Bar charts as SVG, for figures that a README shows; no library needed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

_COLOURS = ("#1f7a4d", "#7a8b99", "#c58b2a", "#5a6fb0")


def write_bars(path: Path, title: str, groups: Mapping[str, Mapping[str, float]], unit: str) -> None:
    """Writes groups of horizontal bars, each group scaled to its own longest one."""
    names = list(dict.fromkeys(name for bars in groups.values() for name in bars))
    lines, y = [], 40
    for group, bars in groups.items():
        lines.append(f'<text x="10" y="{y + 12}" font-weight="bold">{escape(group)}</text>')
        y += 22
        most = max(bars.values(), default=1.0) or 1.0
        for name, value in bars.items():
            width = 380 * value / most
            colour = _COLOURS[names.index(name) % len(_COLOURS)]
            lines.append(f'<text x="150" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
            lines.append(f'<rect x="158" y="{y}" width="{width:.1f}" height="16" fill="{colour}"/>')
            lines.append(f'<text x="{164 + width:.1f}" y="{y + 12}">{value:,.3g} {escape(unit)}</text>')
            y += 21
        y += 8
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 {y}" font-family="sans-serif" font-size="12">'
    path.parent.mkdir(parents=True, exist_ok=True)
    back = f'<rect width="660" height="{y}" fill="#fff"/><text x="10" y="22" font-size="15">{escape(title)}</text>'
    path.write_text("\n".join([head, back, *lines, "</svg>"]) + "\n", encoding="utf-8")
