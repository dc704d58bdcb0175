"""The `overture` command: every subcommand has a module that explains itself, and arguments are passed on."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import cli


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys, cli; sys.argv = ['overture', *sys.argv[1:]]; cli.main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_module_of_a_command_can_be_run(name: str) -> None:
    found = find_spec(f"{cli.COMMANDS[name].module}.__main__")
    assert found is not None
    assert found.origin is not None
    assert Path(found.origin).is_file()


def test_help_names_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in cli.COMMANDS)


def test_arguments_are_passed_on(tmp_path: Path) -> None:
    done = run("verify", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "none" in done.stderr
    assert run("world", "check", "--help").returncode == 0


def test_an_unknown_command_is_refused() -> None:
    done = run("dance")
    assert done.returncode == 1
    assert "there is no command 'dance'" in done.stderr
