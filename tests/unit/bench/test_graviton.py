from __future__ import annotations

import platform
from pathlib import Path

import pytest

from bench import graviton
from bench.graviton import Outcome, Step, main, report, run, scrub, steps


def test_a_step_that_fails_is_reported_and_the_next_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = f"import sys; print('at {Path.home()}/model'); sys.exit(3)"
    monkeypatch.setattr(
        graviton, "steps", lambda *_: [Step("A", ["-c", script]), Step("B", ["-c", "print('17 tokens/s')"])]
    )
    assert main(["--anyway", "--out", str(tmp_path / "report.md")]) == 1
    written = (tmp_path / "report.md").read_text()
    assert "## A: ended with 3 after" in written
    assert "at ./model" in written
    assert "## B: passed after" in written
    assert "17 tokens/s" in written
    assert str(Path.home()) not in written
    assert "(A failed)" in capsys.readouterr().out


def test_a_step_that_takes_too_long_is_stopped() -> None:
    endless = Step("C", ["-c", "import time\nwhile True: print('.', flush=True); time.sleep(0.01)"])
    assert run(endless, limit_s=0.2).status is None


def test_another_machine_hears_what_the_kit_is_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert main([]) == 2
    assert "on x86_64, and the kit is for arm64 Linux" in capsys.readouterr().err


def test_what_is_private_is_replaced_as_a_whole_word() -> None:
    assert (
        scrub("/home/ada/x by ada, not adagio or /home/adam", ["ada", "/home/ada"])
        == "./x by ., not adagio or /home/adam"
    )


def test_a_progress_bar_leaves_its_last_state() -> None:
    told = report([Outcome(Step("D", ["-c", ""]), 0, 1.0, "10%\r50%\r100%\nend\n")], [])
    assert "\n100%\nend\n" in told
    assert "50%" not in told


def test_every_command_of_the_kit_is_understood() -> None:
    """Each step's options are those that its bench has."""
    for step in steps(["1B"], Path("text"), 4):
        module = step.command[1]
        if module.startswith("bench."):
            done = run(Step("help", ["-m", module, "--help"]))
            assert done.status == 0, done.output
            assert all(option in done.output for option in step.command if option.startswith("--"))
