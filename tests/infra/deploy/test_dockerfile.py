"""The storyteller's Dockerfile runs nothing on AWS's base, which has no `find` and may need emulation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from infra.deploy.package import PLATFORMS

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "lambda/storyteller/Dockerfile").read_text()


def stages() -> dict[str, tuple[str, str]]:
    """What each stage is made from, and its instructions, by name; the last stage is called `final`."""
    parts = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    found = {}
    for part in parts:
        head, _, body = part.partition("\n")
        base, _, name = head.partition(" AS ")
        found[name or "final"] = (base, body)
    return found


def runs_on_the_build_machine(name: str) -> bool:
    base, _ = stages()[name]
    return base.startswith("--platform=$BUILDPLATFORM ") or (base in stages() and runs_on_the_build_machine(base))


def test_every_command_runs_on_the_machine_that_builds() -> None:
    running = {name for name, (_, body) in stages().items() if re.search(r"^RUN ", body, re.MULTILINE)}
    assert running >= {"wheels", "site", "code"}
    assert {name for name in running if not runs_on_the_build_machine(name)} == set()


def test_awss_base_only_receives_files() -> None:
    base, body = stages()["final"]
    assert base == "--platform=$TARGETPLATFORM ${BASE_IMAGE}"
    instructions = set(re.findall(r"^([A-Z]+) ", body, re.MULTILINE))
    assert instructions == {"COPY", "WORKDIR", "ENV", "USER", "ENTRYPOINT", "CMD"}


def test_wheels_are_for_the_same_machines_as_fronts() -> None:
    assert re.findall(r"--platform (manylinux\w+)", DOCKERFILE) == list(PLATFORMS)


def test_trimming_leaves_what_is_imported(tmp_path: Path) -> None:
    kept = ["torch/__init__.py", "torch/lib/libtorch.so", "torch/bin/torch_shm_manager", "numpy/core.py"]
    dropped = [
        "bin/f2py",
        "torch/bin/protoc",
        "torch/include/a.h",
        "torch/lib/libtest_x.so",
        "torch/nn/a.pyi",
        "numpy/tests/a.py",
        "numpy/linalg/tests/a.py",
        "numpy/f2py/a.py",
    ]
    for name in (*kept, *dropped):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    subprocess.run([sys.executable, ROOT / "lambda/storyteller/trim.py", tmp_path], check=True)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == set(kept)
