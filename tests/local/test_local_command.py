"""`python -m local` as a person starts it: its errors, its end, and that nothing outlives it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.stack import ROOT
from tests.local.tiny_stack import is_dead, kill, make_folders, until


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return make_folders(tmp_path)


def arguments(folders: dict[str, Path]) -> list[str]:
    return [part for name, folder in folders.items() for part in (f"--{name}", str(folder))]


def run(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local", *argv],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_port_in_use(folders: dict[str, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for how in ([str(port)], []):
            found = run(*arguments(folders), *[f"--port={one}" for one in how], PORT=str(port))
            said = f"Port {port} is in use by another program; choose another one, e.g. PORT={port + 1}.\n"
            assert (found.returncode, found.stderr) == (1, said)


def test_a_folder_that_is_not_there(folders: dict[str, Path]) -> None:
    found = run("--port=0", *arguments({**folders, "model": Path("none")}))
    assert (found.returncode, found.stdout) == (1, "")
    assert re.fullmatch(r"The model folder \S*none does not exist; run `make setup` .+\.\n", found.stderr)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--port=ten", "'ten' is not a port"),
        ("--port=65536", "'65536' is not a port"),
        ("--wait=-1", "'-1' is not a number of seconds from 0 to 3600"),
        ("--wait=soon", "'soon' is not a number of seconds"),
        ("--concurrency=0", "'0' is not a number of at least 1"),
        ("--environments=0", "'0' is not a number of at least 1"),
    ],
)
def test_usage(argument: str, said: str) -> None:
    found = run(argument)
    assert found.returncode == 2
    assert said in found.stderr


def test_a_broken_world_is_told_by_front(folders: dict[str, Path]) -> None:
    found = run("--port=0", *arguments(folders))
    assert found.returncode == 1
    assert re.fullmatch(r"The function front did not start: .+ See \S+front\.log\.\n", found.stderr)
    assert "Traceback" not in found.stderr


# --- a play of tiny functions, run as a program -----------------------------------------------------

PROGRAM = """
import asyncio, sys
import local.__main__ as command
from local.plan import Plan
from pathlib import Path
from tests.local.tiny_stack import tiny

def plan(**_):
    pages = Path(sys.argv[1]) / "pages"
    pages.mkdir(exist_ok=True)
    (pages / "index.html").write_text("here")
    environment = {"PYTHONPATH": sys.argv[2], "TRACES": sys.argv[1]}
    functions = tiny("echo", prestart=2), tiny("talk", prestart=1)
    return Plan(functions, http={"POST /ticket": "talk"}, pages=pages, table="t", environment=environment)

async def look_over(_):
    pass

command.overture, command.check, command.look_over = plan, lambda **_: None, look_over
sys.exit(command.main(["--port", "0", *sys.argv[3:]]))
"""


@contextmanager
def play(folder: Path, *argv: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Runs the command on tiny functions; gives the process and what it said until it was ready."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(ROOT), *argv],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "ready" in line:
                break
        try:
            yield process, said
        finally:
            process.kill()


def descendants(pid: int) -> set[int]:
    """Every process below one, however deep."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= more
    return found


def test_it_says_what_happens_and_where_to_go(tmp_path: Path) -> None:
    with play(tmp_path, "--wait", "50") as (_, said):
        assert len(said) > 2
        assert "50 s to wake. This wait is simulated" in "".join(said)
        url = said[-1].removeprefix("The play is ready: ").strip()
        with urllib.request.urlopen(url) as page:
            assert page.read() == b"here"


def test_without_a_wait_nothing_is_said_of_one(tmp_path: Path) -> None:
    with play(tmp_path, "--wait", "0") as (_, said):
        assert "simulated" not in "".join(said)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_ends_quietly_with_all_its_processes(tmp_path: Path, number: signal.Signals) -> None:
    with play(tmp_path) as (process, _):
        below = descendants(process.pid)
        assert len(below) == 4, "three environments and the keeper; the table is in memory"
        process.send_signal(number)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    assert all(is_dead(pid) for pid in below)


def test_stopped_while_it_starts(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(ROOT)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        below = descendants(process.pid)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    until(lambda: all(is_dead(pid) for pid in below))


def test_killed_without_a_word_it_leaves_no_orphan(tmp_path: Path) -> None:
    with play(tmp_path) as (process, _):
        below = descendants(process.pid)
        assert len(below) == 4
        kill(process.pid)
    until(lambda: all(is_dead(pid) for pid in below))


def test_verbose_shows_what_the_functions_print(tmp_path: Path) -> None:
    with play(tmp_path, "--verbose") as (process, _):
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert re.search(r"^talk\[\d+\] said on stdout$", errors, re.MULTILINE)
