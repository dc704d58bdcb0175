"""Figures as SVG files, without a plotting library: bars and curves for the benches, the loss of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

_BAR_COLOURS = ("#1f7a4d", "#7a8b99", "#c58b2a", "#5a6fb0")
_LINE_COLOURS = ("#0b6e4f", "#c8553d", "#588b8b", "#8a6fb0", "#b58900", "#444444")
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 420, 60, 40, 190, 50
_LOSS_WIDTH, _LOSS_HEIGHT, _EDGE = 720, 360, 48


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
            colour = _BAR_COLOURS[names.index(name) % len(_BAR_COLOURS)]
            lines.append(f'<text x="150" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
            lines.append(f'<rect x="158" y="{y}" width="{width:.1f}" height="16" fill="{colour}"/>')
            lines.append(f'<text x="{164 + width:.1f}" y="{y + 12}">{value:,.3g} {escape(unit)}</text>')
            y += 21
        y += 8
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 {y}" font-family="sans-serif" font-size="12">'
    path.parent.mkdir(parents=True, exist_ok=True)
    back = f'<rect width="660" height="{y}" fill="#fff"/><text x="10" y="22" font-size="15">{escape(title)}</text>'
    path.write_text("\n".join([head, back, *lines, "</svg>"]) + "\n", encoding="utf-8")


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
        colour = _LINE_COLOURS[number % len(_LINE_COLOURS)]
        line = "L".join(f"{across(x):.1f} {down(y):.1f}" for x, y in points)
        parts.append(f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = _TOP + 16 + 20 * number
        parts.append(f'<path d="M{_WIDTH - _RIGHT + 12} {y - 4}h18" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT + 36}" y="{y}">{escape(name)}</text>')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def write_loss(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Writes the loss (logarithmic) over the steps, raw and smoothed over fifty."""
    if not entries:
        raise ValueError("There is no step to plot: train for one at least.")
    steps = [entry["step"] for entry in entries]
    raw = [max(entry["loss"], 1e-3) for entry in entries]
    smooth: list[float] = []
    mean = raw[0]
    for value in raw:
        mean += (value - mean) / min(50, len(smooth) + 1)
        smooth.append(mean)
    low, high, last = math.log(min(raw)), math.log(max(raw)), max(steps)

    def at(step: int, loss: float) -> str:
        x = _EDGE + (_LOSS_WIDTH - 2 * _EDGE) * step / last
        y = _EDGE + (_LOSS_HEIGHT - 2 * _EDGE) * (high - math.log(loss)) / max(high - low, 1e-9)
        return f"{x:.1f},{y:.1f}"

    def line(values: list[float], colour: str, width: float) -> str:
        points = " ".join(at(step, loss) for step, loss in zip(steps, values, strict=True))
        return f'<polyline fill="none" stroke="{colour}" stroke-width="{width}" points="{points}"/>'

    marks = []
    for loss in (0.1, 0.2, 0.3, 0.5, 0.7, 1, 2, 3, 5, 7):
        if low <= math.log(loss) <= high:
            y = at(0, loss).split(",")[1]
            marks.append(f'<line x1="{_EDGE}" x2="{_LOSS_WIDTH - _EDGE}" y1="{y}" y2="{y}" stroke="#ddd"/>')
            marks.append(f'<text x="{_EDGE - 6}" y="{y}" text-anchor="end" dominant-baseline="middle">{loss}</text>')
    for part in range(5):
        step = last * part // 4
        x = at(step, 1.0).split(",")[0]
        marks.append(f'<text x="{x}" y="{_LOSS_HEIGHT - _EDGE + 18}" text-anchor="middle">{step}</text>')
    title = f"Loss per reply token over {last} steps"
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LOSS_WIDTH} {_LOSS_HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{_LOSS_WIDTH}" height="{_LOSS_HEIGHT}" fill="white"/>'
        f'<text x="{_EDGE}" y="24" font-size="14">{title}</text>'
        + "".join(marks)
        + line(raw, "#b8dcc4", 1)
        + line(smooth, "#0a7d3b", 2)
        + "</svg>\n",
        encoding="utf-8",
    )
