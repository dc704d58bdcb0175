"""The plots: what is drawn is as long and as high as what it stands for."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from model_build.plots import write_bars, write_curves

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_scaled_to_the_longest_of_their_group(tmp_path: Path) -> None:
    write_bars(
        tmp_path / "new" / "bars.svg", "a < b", {"1B": {"ours": 30.0, "theirs": 20.0}, "8B": {"ours": 4.0}}, "t/s"
    )
    drawn = ElementTree.parse(tmp_path / "new" / "bars.svg").getroot()
    widths = [float(bar.get("width", 0)) for bar in drawn.iter(f"{SVG}rect")][1:]  # the first is the ground
    assert [round(width / widths[0], 3) for width in widths] == [1.0, 0.667, 1.0]
    said = [text.text for text in drawn.iter(f"{SVG}text")]
    assert "a < b" in said
    assert "20 t/s" in said


def test_bars_of_nothing_are_drawn(tmp_path: Path) -> None:
    write_bars(tmp_path / "bars.svg", "none", {"1B": {"ours": 0.0}, "8B": {}}, "s")
    assert 'width="0.0"' in (tmp_path / "bars.svg").read_text()


def test_a_name_has_one_colour_in_every_group(tmp_path: Path) -> None:
    write_bars(tmp_path / "bars.svg", "", {"1B": {"ours": 1.0, "theirs": 2.0}, "8B": {"theirs": 1.0}}, "s")
    colours = re.findall(r'height="16" fill="(#\w+)"', (tmp_path / "bars.svg").read_text())
    assert colours[1] == colours[2] != colours[0]


def test_a_curve_is_logarithmic_across_and_plain_upward(tmp_path: Path) -> None:
    points = [(0.0001, 0.0), (0.001, 0.0), (0.01, 0.25), (0.1, 0.5), (1.0, 1.0)]
    write_curves(tmp_path / "curve.svg", "recall", ("false", "recall"), {"ours": points}, 0.001)
    drawn = ElementTree.parse(tmp_path / "curve.svg").getroot()
    (line,) = [path.get("d", "") for path in drawn.iter(f"{SVG}path") if path.get("fill") == "none"]
    places = [tuple(map(float, place.split())) for place in line.removeprefix("M").split("L")]
    assert places[0] == places[1]  # what is lower than the lowest is drawn there
    steps = [b[0] - a[0] for a, b in itertools.pairwise(places[1:])]
    assert max(steps) - min(steps) < 0.2
    heights = [place[1] for place in places]
    assert abs((heights[1] - heights[3]) - 2 * (heights[1] - heights[2])) < 0.2
