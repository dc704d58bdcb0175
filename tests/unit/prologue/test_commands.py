from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from prologue.__main__ import main
from prologue.check import check_world
from prologue.new_world import make_world
from prologue.play import play
from prologue.world import load_world

ASK = {"key": "mood", "text": "How do you feel?", "choices": ["glad"]}
WORLDS = sorted(Path("prologue/worlds").iterdir())


@pytest.mark.parametrize("folder", WORLDS, ids=lambda path: path.name)
def test_the_shipped_worlds_have_no_faults(folder: Path) -> None:
    assert check_world(folder) == []


def test_a_new_world_can_be_played_and_has_no_faults(
    tmp_path: Path, embedder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "my_house", "--worlds", str(tmp_path)]) == 0
    world = load_world(tmp_path / "my_house")
    assert (world.name, world.title) == ("my_house", "My house")
    capsys.readouterr()
    assert main(["check", str(tmp_path / "my_house"), "--embedder", str(embedder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(": no faults")
    for name, said in (("my_house", "is there already"), ("My House", "cannot be called")):
        assert main(["new", name, "--worlds", str(tmp_path)]) == 1
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("scenes", "said"),
    [
        ([("a", {"go": "c"}), ("b", {}), ("c", {})], "scene b: no scene leads here"),
        (
            [("a", {"when": {"known": "name", "unknown": "name"}})],
            "beat a1: its condition never holds, for name cannot be",
        ),
        ([("a", {"when": {"is": {"mood": "sad"}}})], "for nothing asks for mood"),
        (
            [
                ("a", {"ask": {"key": "mood", "text": "?", "choices": ["gay"]}}),
                ("b", {"when": {"is": {"mood": "sad"}}}),
            ],
            "mood is never sad",
        ),
        ([("a", {"when": {"told": "b1"}}), ("b", {})], "for b1 comes later"),
        ([("a", {"lines": ["x" * 60]})], "has 60 characters for 2.5 s; at most 50 can be read"),
        ([("a", {})], "fillers: a wait of 120 s ends in silence after"),
    ],
)
def test_check_finds(tmp_path: Path, scenes: list[tuple[str, dict[str, Any]]], said: str) -> None:
    folder = make_world("house", tmp_path)
    written = [{"id": name, "beats": [{"id": f"{name}1", "lines": ["Hello."], **beat}]} for name, beat in scenes]
    script = yaml.safe_load((folder / "script.yaml").read_text())
    (folder / "script.yaml").write_text(yaml.safe_dump({"scenes": written, "final": script["final"]}))
    world = yaml.safe_load((folder / "world.yaml").read_text())
    world["profile"].append({"key": "mood", "label": "Mood", "default": "fine"})
    (folder / "world.yaml").write_text(yaml.safe_dump(world))
    assert any(said in fault for fault in check_world(folder)), check_world(folder)


def test_check_finds_collisions(tmp_path: Path) -> None:
    folder = make_world("house", tmp_path)
    with (folder / "answers.yaml").open("a") as file:
        file.write("- {id: other, phrasings: [who are you], answer: Nobody.}\n")
    (folder / "negatives.txt").write_text("What are my options?\n")
    faults = " ".join(check_world(folder))
    assert "answers who_are_you and other: both have the phrasing 'who are you'" in faults
    assert "negatives.txt: 'What are my options?' is a phrasing of what_can_i_do" in faults


def test_check_warns_of_phrasings_that_mean_nearly_the_same(
    tmp_path: Path, embedder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_world("house", tmp_path)
    with (folder / "answers.yaml").open("a") as file:
        file.write("- {id: doings, phrasings: [What can I do in here?, Is there a garden?], answer: Much.}\n")
    assert main(["check", str(folder), "--embedder", str(embedder)]) == 0, "it is only worth a look"
    warning, verdict = capsys.readouterr().out.splitlines()
    assert warning.startswith(
        "warning: answers what_can_i_do and doings: 'What can I do here?' and 'What can I do in here?' mean nearly"
    )
    assert verdict.endswith(": no faults")


@pytest.mark.parametrize("wait", [0.0, 50.0])
def test_play_reaches_the_end_with_what_was_said(wait: float) -> None:
    now = [0.0]
    shown: list[str] = []
    replies = iter(["my name is Ann", "", "to look at everything once", "pink", "blue"])

    def sleep(seconds: float) -> None:
        assert 0 < seconds <= 3
        now[0] += seconds

    profile = play(
        load_world("prologue/worlds/emerald_city"),
        wait,
        show=shown.append,
        ask=lambda _: next(replies),
        sleep=sleep,
        clock=lambda: now[0],
    )
    assert profile == {"name": "Ann", "reason": "to look at everything once", "spectacles": "blue"}
    assert any("The box has green, gold, blue and violet." in line for line in shown)
    assert shown[-1].startswith("[the storyteller is awake")
    assert wait <= now[0] < wait + 60


WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(("faiss", "numpy", "tokenizers")))
from prologue.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("python", "command", "said"),
    [
        (["-c", WITHOUT], ["--help"], None),
        (["-c", WITHOUT], ["new", "my_house", "--worlds", "FOLDER"], None),
        (["-c", WITHOUT], ["check", "FOLDER/house"], None),
        (["-c", WITHOUT], ["ask", "FOLDER", "who?"], "This Python has no (faiss|numpy): run `make setup`, then .+"),
        (["-S", "-m", "prologue"], ["new", "a", "--worlds", "FOLDER"], "This Python has no msgspec: run `make.+"),
    ],
    ids=["help", "new", "check", "ask", "plain"],
)
def test_only_what_a_command_needs_is_imported(
    tmp_path: Path, python: list[str], command: list[str], said: str | None
) -> None:
    (make_world("house", tmp_path) / "answers.yaml").unlink()
    ran = subprocess.run(
        [sys.executable, *python, *(word.replace("FOLDER", str(tmp_path)) for word in command)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if said is None:
        assert (ran.returncode, ran.stderr) == (0, "")
    else:
        assert ran.returncode == 1
        assert re.fullmatch(said, ran.stderr.strip())
