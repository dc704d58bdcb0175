"""The simulated admission: everybody is counted, a slot has one holder, who waits is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import admission
from bench.admission import Simulation, quantile, write_plot


def test_everybody_is_admitted_and_the_slots_bound_who_is_served() -> None:
    simulation = Simulation(rate=20, slots=3, hold_s=1.0, limit=1_000)
    most = 0
    read = simulation.sessions.slots.read_all

    def count_held() -> None:
        nonlocal most
        while True:
            simulation.clock.sleep(0.1)
            most = max(most, sum(slot.holder is not None for part in read(3) for slot in part))

    simulation.clock.start(count_held)
    result = simulation.run(seconds=3, settle_s=40)
    assert len(result.admissions) > 30
    assert (result.failures, result.full) == (0, 0)
    assert most == 3
    assert len(result.waits) > 20, "those beyond the first three waited and were served"
    assert simulation.sessions.waiting_line.heads() == []
    assert 0.01 < quantile(result.admissions, 0.5) < 0.06, "some reads and a transaction"


def test_a_line_that_is_full_says_so() -> None:
    result = Simulation(rate=50, slots=1, hold_s=60.0, limit=5).run(seconds=1, settle_s=1)
    assert result.full > 0
    assert len(result.admissions) > result.full


def test_the_plot_has_the_old_design_beside_the_new(tmp_path: Path) -> None:
    write_plot(tmp_path / "p.svg", {2: {25: 0.04, 1000: 0.036}})
    drawn = (tmp_path / "p.svg").read_text()
    assert drawn.count("one item, before") == 1, "it was measured at 25 a second, not at 1,000"
    assert "0.22 s" in drawn
    assert "0.036 s" in drawn


def test_the_command_prints_a_row_for_each_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--rate", "5", "10", "--slots", "2", "--seconds", "1", "--hold", "1", "--plot", str(tmp_path / "p.svg")]
    monkeypatch.setattr("sys.argv", ["admission", *options])
    admission.main()
    header, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[:2] for row in rows] == [["5", "2"], ["10", "2"]]
    assert {len(row.split()) for row in rows} == {12}
    assert header.endswith("calls")
    assert (tmp_path / "p.svg").exists()
