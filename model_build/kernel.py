"""Builds the engine's C++ kernels where a compiler is.

    python -m model_build kernel [--cxx g++] [--out build/kernel]

One source is compiled once per instruction set, and the library chooses among them when it is
loaded. Nothing of torch is needed, so one build serves every torch and every Python; and of C++'s library
only headers, so that a cross compiler need not build one:

    LDFLAGS=-nostdlib++ python -m model_build kernel --machine aarch64 \\
        --cxx "scripts/zig c++ -target aarch64-linux-gnu.2.26"
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "lambda" / "storyteller" / "engine" / "native"

_FLAGS = (
    "-std=c++20 -O3 -fPIC -fvisibility=hidden -fno-exceptions -fno-rtti "
    "-fno-math-errno -fno-trapping-math -ffp-contract=fast"
)
_VARIANTS = {
    "x86_64": {
        "plain": "",
        "avx2": "-mavx2 -mfma -mf16c",
        "avx512": (
            "-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c -mprefer-vector-width=512 "
            # Headers of older compilers leave a register unset on purpose.
            "-Wno-uninitialized"
        ),
    },
    "aarch64": {
        "plain": "",
        "dotprod": "-mcpu=generic+dotprod",
        "i8mm": "-mcpu=generic+dotprod+i8mm",
    },
}


class KernelError(ValueError):
    """Why the kernels cannot be built here, in one sentence."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `kernel` to the commands of `python -m model_build`."""
    add_options(commands.add_parser("kernel", help="build the engine's C++ kernels for this machine"))


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--cxx", help="the compiler, with options (default: CXX, or the first of g++, clang++, c++)")
    parser.add_argument("--machine", default=platform.machine(), help="another machine, for a cross compiler")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "kernel", help="where the library goes")
    parser.add_argument("--optional", action="store_true", help="without a compiler, say so and succeed")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """The command; raises KernelError when the library cannot be built."""
    try:
        print(f"Built {build(options.out, options.cxx, options.machine)}")
    except KernelError as error:
        if not options.optional:
            raise
        print(error, file=sys.stderr)


def build(out: Path, cxx: str | None = None, machine: str | None = None) -> Path:
    """Compiles the library into `out` and returns its path; raises KernelError where that fails."""
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(machine or platform.machine(), machine or platform.machine())
    if machine not in _VARIANTS:
        raise KernelError(f"There is no kernel for {machine}: the engine works on stock torch there, more slowly.")
    compiler = find_compiler(cxx)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"overture-engine-{platform.system().lower()}-{machine}.so"
    with tempfile.TemporaryDirectory() as folder:
        steps = [
            (f"{folder}/{name}.o", ["-DVARIANT=" + name, *flags.split(), "-c", str(SOURCES / "kernels.cpp")])
            for name, flags in _VARIANTS[machine].items()
        ]
        steps.append((f"{folder}/engine.o", ["-c", str(SOURCES / "engine.cpp")]))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda step: _call([*compiler, *_FLAGS.split(), *step[1], "-o", step[0]]), steps))
        made = f"{folder}/made.so"
        objects = [target for target, _ in steps]
        _call([*compiler, "-shared", "-pthread", *shlex.split(os.environ.get("LDFLAGS", "")), "-o", made, *objects])
        # A process may have the old one mapped: put the new one beside it, then in its place.
        shutil.copy2(made, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
    return path


def find_compiler(cxx: str | None = None) -> list[str]:
    """A C++ compiler's command; raises KernelError where there is none."""
    named = cxx or os.environ.get("CXX")
    for command in [shlex.split(named)] if named else [["g++"], ["clang++"], ["c++"]]:
        if command and (found := shutil.which(command[0])):
            return [found, *command[1:]]
    raise KernelError(
        f"There is no C++ compiler here ({named or 'g++, clang++ or c++'}): install one (on Debian and Ubuntu: "
        "apt install g++) for a faster storyteller; without it the engine works on stock torch."
    )


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        tail = " / ".join(line for line in done.stderr.strip().splitlines() if "error" in line)[:300]
        raise KernelError(f"The kernels could not be compiled with {command[0]} ({tail}): try another --cxx.")


if __name__ == "__main__":  # by itself, where nothing else of this package is at hand
    _parser = argparse.ArgumentParser(prog="python -m model_build.kernel")
    add_options(_parser)
    run(_parser.parse_args())
