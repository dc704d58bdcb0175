"""The loss as a picture: a small SVG drawn by hand, so that no plotting library is needed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, EDGE = 720, 360, 48


def plot_loss(entries: list[dict[str, Any]], path: Path) -> None:
    """Draws the loss (logarithmic) over the steps, raw and smoothed over fifty, of the walks alone."""
    if not entries:
        raise ValueError("There is no training log to plot: run `python -m model_build demo train` first.")
    entries = [entry for entry in entries if entry.get("kind", "walk") in ("walk", "half")] or entries
    steps = [entry["step"] for entry in entries]
    raw = [max(entry["loss"], 1e-3) for entry in entries]
    smooth: list[float] = []
    mean = raw[0]
    for value in raw:
        mean += (value - mean) / min(50, len(smooth) + 1)
        smooth.append(mean)
    low, high, last = math.log(min(raw)), math.log(max(raw)), max(steps)

    def at(step: int, loss: float) -> str:
        x = EDGE + (WIDTH - 2 * EDGE) * step / last
        y = EDGE + (HEIGHT - 2 * EDGE) * (high - math.log(loss)) / max(high - low, 1e-9)
        return f"{x:.1f},{y:.1f}"

    def line(values: list[float], colour: str, width: float) -> str:
        points = " ".join(at(step, loss) for step, loss in zip(steps, values, strict=True))
        return f'<polyline fill="none" stroke="{colour}" stroke-width="{width}" points="{points}"/>'

    marks = []
    for loss in (0.1, 0.2, 0.3, 0.5, 0.7, 1, 2, 3, 5, 7):
        if low <= math.log(loss) <= high:
            y = at(0, loss).split(",")[1]
            marks.append(f'<line x1="{EDGE}" x2="{WIDTH - EDGE}" y1="{y}" y2="{y}" stroke="#ddd"/>')
            marks.append(f'<text x="{EDGE - 6}" y="{y}" text-anchor="end" dominant-baseline="middle">{loss}</text>')
    for part in range(5):
        step = last * part // 4
        x = at(step, 1.0).split(",")[0]
        marks.append(f'<text x="{x}" y="{HEIGHT - EDGE + 18}" text-anchor="middle">{step}</text>')
    title = f"Loss per weighted reply token over {last} steps"
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        f'<text x="{EDGE}" y="24" font-size="14">{title}</text>'
        + "".join(marks)
        + line(raw, "#b8dcc4", 1)
        + line(smooth, "#0a7d3b", 2)
        + "</svg>\n",
        encoding="utf-8",
    )
