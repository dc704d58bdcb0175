"""Tests and measures the engine on an arm64 Linux machine, and writes one report to send: `make graviton`.

    python -m bench.graviton [--shapes 1B 8B] [--anyway] [--out build/graviton/report.md]

Each step is a command of the project; one that fails is reported, and the next begins. The report has the commands,
their seconds and what they printed, the processor and the versions, and nothing of its owner: no host, user or path.
"""

from __future__ import annotations

import argparse
import getpass
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from bench.results import commit_of

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "graviton" / "report.md"
BUNDLE = ROOT / "build" / "models" / "storyteller"
#: Our own prose, which no model has learnt by heart and `pack` does not calibrate with.
PROSE = ("docs/architecture.md", "docs/worlds.md", "docs/operations.md", "docs/engine.md")
#: A step may take so long; an 8B with its random weights needs the most.
LIMIT_S = 3 * 3600
_LINES = 400


class Step(NamedTuple):
    """A heading and a command, which follows the Python's own path."""

    title: str
    command: list[str]


class Outcome(NamedTuple):
    """What a step came to. `status` is None where it was stopped after `LIMIT_S`."""

    step: Step
    status: int | None
    seconds: float
    output: str


def steps(shapes: Sequence[str], text: Path, threads: int) -> list[Step]:
    """What the kit runs, in order."""
    return [
        Step("Tests of the engine", ["-m", "pytest", "-q", "tests/unit/engine", "tests/unit/storyteller"]),
        Step("Speed", ["-m", "bench.engine", "--threads", str(threads), "--shapes", *shapes]),
        Step("KleidiAI", ["-m", "bench.kleidiai", "--shapes", *shapes]),
        Step("What rounding costs", ["-m", "bench.quality", "smollm2", "--text", str(text), "--passages", "12"]),
        Step("Loading the default storyteller", ["-m", "bench.engine.load", str(BUNDLE)]),
    ]


def run(step: Step, limit_s: float = LIMIT_S) -> Outcome:
    """Runs a step, and shows what it prints as it comes."""
    begun = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, *step.command], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    told: list[str] = []
    assert child.stdout is not None
    status: int | None = None
    try:
        for line in child.stdout:
            print(line, end="", flush=True)
            told.append(line)
            if time.monotonic() - begun > limit_s:
                break
        else:
            status = child.wait()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    return Outcome(step, status, time.monotonic() - begun, "".join(told))


def report(outcomes: Sequence[Outcome], private: Sequence[str]) -> str:
    """The report, in Markdown, without any of the `private` texts."""
    lines = ["# Overture on arm64", "", *(f"- {name}: {value}" for name, value in machine().items())]
    for outcome in outcomes:
        ended = {None: "was stopped", 0: "passed"}.get(outcome.status, f"ended with {outcome.status}")
        lines += [
            "",
            f"## {outcome.step.title}: {ended} after {outcome.seconds:.0f} s",
            "",
            "```sh",
            " ".join(["python", *outcome.step.command]),
            "```",
            "",
            "```",
            *_last(outcome.output),
            "```",
        ]
    return scrub("\n".join(lines) + "\n", private)


def machine() -> dict[str, str]:
    """What a figure depends on."""
    has = shutil.which("lscpu") is not None
    found = subprocess.run(["lscpu"], capture_output=True, text=True, check=False) if has else None
    told = dict(re.findall(r"^([^:\n]+):\s+(.+)$", found.stdout, re.M)) if found else {}
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": commit_of(ROOT),
        "processor": told.get("Model name", platform.machine()),
        "cores": str(os.cpu_count()),
        "extensions": ", ".join(
            flag for flag in ("asimddp", "i8mm", "bf16", "sve", "sve2") if flag in told.get("Flags", "").split()
        ),
        "memory": f"{pages * page / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "tokenizers")},
    }


def private_texts() -> list[str]:
    """What must not leave the machine: folders, host and user."""
    return [str(ROOT), str(Path.home()), socket.gethostname(), getpass.getuser()]


def scrub(text: str, private: Sequence[str]) -> str:
    """The text with each of the private ones, as a whole word, replaced by a dot."""
    for secret in sorted(filter(None, private), key=len, reverse=True):
        text = re.sub(rf"(?<![\w-]){re.escape(secret)}(?![\w-])", ".", text)
    return text


def _last(output: str) -> list[str]:
    # A progress bar writes over itself; what counts is what stood there last.
    lines = [line.rsplit("\r", 1)[-1] for line in output.rstrip().split("\n")]
    return lines if len(lines) <= _LINES else [f"… {len(lines) - _LINES} lines left out", *lines[-_LINES:]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs every step and writes the report; 1 where a step failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.graviton", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=["1B"], choices=["tiny", "1B", "3B", "8B"])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--anyway", action="store_true", help="on a machine that is not arm64 Linux as well")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    if (platform.system(), platform.machine()) != ("Linux", "aarch64") and not options.anyway:
        print(
            f"This is {platform.system()} on {platform.machine()}, and the kit is for arm64 Linux: run it on one,"
            " or here with --anyway to see what it does.",
            file=sys.stderr,
        )
        return 2
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = options.out.with_name("prose.txt")
    text.write_text("\n\n".join((ROOT / file).read_text(encoding="utf-8") for file in PROSE), encoding="utf-8")
    outcomes: list[Outcome] = []
    for step in steps(options.shapes, text, options.threads):
        print(f"\n== {step.title}", flush=True)
        outcomes.append(run(step))
        # Written after each step: a long one may be interrupted.
        options.out.write_text(report(outcomes, private_texts()), encoding="utf-8")
    failed = [outcome.step.title for outcome in outcomes if outcome.status != 0]
    print(f"\nThe report to send: {options.out}" + (f" ({', '.join(failed)} failed)" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
