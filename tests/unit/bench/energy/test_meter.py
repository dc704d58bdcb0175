from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import ladder, results
from bench.energy import meter
from planner.analysis.ladder import climb


def counter(folder: Path, name: str, value: int) -> Path:
    place = folder / f"intel-rapl:{name}"
    place.mkdir(parents=True)
    (place / "name").write_text(f"{name}\n")
    (place / "energy_uj").write_text(str(value))
    (place / "max_energy_range_uj").write_text("999999")
    return place


def test_rapl_counts_packages_and_memory_and_survives_a_wrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = counter(tmp_path, "package-0", 900_000)
    dram = counter(tmp_path, "dram", 0)
    counter(tmp_path, "core", 5)
    monkeypatch.setattr(meter, "POWERCAP", tmp_path)
    found = meter.find()
    assert found.kind == "RAPL"
    with found.read() as reading:
        (package / "energy_uj").write_text("100000")
        (dram / "energy_uj").write_text("300000")
    assert reading.joules == pytest.approx(0.5)


def test_without_a_meter_it_is_cpu_seconds_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "POWERCAP", tmp_path)
    found = meter.find()
    assert found.kind.startswith("no meter")
    with found.read() as reading:
        sum(range(200_000))
    assert reading.joules == pytest.approx(reading.cpu_s * meter.WATTS.likely)
    with pytest.raises(meter.MeterError, match="no counter under /sys/class/powercap is readable"):
        meter.find("rapl")


def test_a_wall_meters_log_is_integrated(tmp_path: Path) -> None:
    log = tmp_path / "wall.csv"
    log.write_text("time,watts\n0,10\n10,20\n20,20\n")
    assert meter.integrate(log, 5, 15) == pytest.approx(5 * 17.5 + 5 * 20)
    with pytest.raises(meter.MeterError, match="does not span the run from 5 to 25"):
        meter.integrate(log, 5, 25)
    log.write_text("when,watts\n0,10\n")
    with pytest.raises(meter.MeterError, match="is no log of watts"):
        meter.integrate(log, 0, 1)
    with pytest.raises(meter.MeterError, match="there is no such file"):
        meter.find(log=tmp_path / "none.csv")


def test_results_have_one_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    rows = [results.row("decode_tokens_per_s", "1/s", [3.0, 1.0, 2.0], engine="ours", shape="1B", precision="int4")]
    found = json.loads(results.write("test", rows, threads=1, read_gb_s=10).read_text())
    assert found["machine"]["read_gb_s"] == 10
    assert found["rows"][0]["median"] == 2
    assert found["rows"][0]["low"] == 1


def test_the_ladder_goes_from_the_dearest_to_the_least(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chart = tmp_path / "ladder.svg"
    assert ladder.main(["--visits", "200", "--chart", str(chart)]) == 0
    assert "serverless" in capsys.readouterr().out
    assert chart.read_text().startswith("<svg")
    rungs = climb(visits=200)
    carbon = [one.answer.visit.gco2e.likely for one in rungs]
    assert carbon[-1] < min(carbon[:-1]) / 5
    assert rungs[0].reply_s > 10 * rungs[2].reply_s
    assert rungs[3].reply_s < rungs[2].reply_s
