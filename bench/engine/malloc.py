"""`python -m bench.engine.malloc BUNDLE`: what the allocator's and OpenMP's settings do to memory and speed.

Each setting is an environment in which a fresh Python loads the bundle, reads a prompt of 256 tokens and tells 48, in
turns with the others, since a shared machine changes from minute to minute. The storyteller's Dockerfile cites it.
Linux only; random weights do as well (`python -m bench.engine.random_llama bundle 1B FOLDER`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SETTINGS: dict[str, dict[str, str]] = {
    "as it comes": {},
    "two arenas": {"MALLOC_ARENA_MAX": "2"},
    "keeps what it freed": {"MALLOC_TRIM_THRESHOLD_": "268435456", "MALLOC_MMAP_THRESHOLD_": "268435456"},
    "both": {
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_TRIM_THRESHOLD_": "268435456",
        "MALLOC_MMAP_THRESHOLD_": "268435456",
    },
    "huge pages": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    "threads wait asleep": {"OMP_WAIT_POLICY": "passive"},
}
_PLAY = """
import json, sys, time
began = time.perf_counter()
from storyteller.engine import Sampling, load_engine
folder, threads, way = sys.argv[1], int(sys.argv[2]) or None, sys.argv[3]
engine = load_engine(folder, chat=False, context=2048, threads=threads, copy=way == "copy")
load = time.perf_counter() - began
words = [5 + n % 1000 for n in range(256)]
done = engine.generate(words, Sampling(temperature=0, max_tokens=48, seed=1))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
stat = open("/proc/self/stat").read().rpartition(")")[2].split()
print(json.dumps({
    "load_s": load, "first_s": done.ttft_s,
    "tokens_per_s": (done.tokens - 1) / (done.total_s - done.ttft_s),
    "peak_mb": int(status["VmHWM"].split()[0]) / 1024, "anonymous_mb": int(status["RssAnon"].split()[0]) / 1024,
    "faults": int(stat[7]),
}))
"""


def play_in(image: str, threads: int, environment: dict[str, str]) -> dict[str, float]:
    """The same in a container of the storyteller's image (`make image`), with the bundle in it, emulated or not."""
    told = [f"--env={key}={value}" for key, value in environment.items()]
    command = ["podman", "--cgroup-manager=cgroupfs", "run", "--rm", "--network=host", "--runtime=runc"]
    command += ["--ulimit=nofile=20000:20000", "--ulimit=nproc=4096:4096", "--cpu-shares=262144"]
    command += ["--security-opt=mask=/sys/devices/system/cpu", "--env=QEMU_CPU=neoverse-n1", *told]
    command += ["--entrypoint=python3", image, "-c", _PLAY, "/opt/model", str(threads), "map"]
    return _read(subprocess.run(command, capture_output=True, text=True, check=True))


def _read(done: subprocess.CompletedProcess[str]) -> dict[str, float]:
    return {key: float(value) for key, value in json.loads(done.stdout.splitlines()[-1]).items()}


def play(bundle: Path, threads: int, way: str, environment: dict[str, str]) -> dict[str, float]:
    """One process's figures."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "lambda")])
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "OMP_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", _PLAY, str(bundle), str(threads), way],
        env={**clean, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return _read(done)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints a table of medians."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine.malloc", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path, nargs="?", default=ROOT / "build" / "models" / "storyteller")
    parser.add_argument("--image", help="measure in containers of this image, with the bundle in it, instead")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as the process may use")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=[*SETTINGS], help="these settings alone")
    parser.add_argument("--way", choices=["map", "copy"], default="map", help="copy: as before a snapshot")
    options = parser.parse_args(arguments)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in options.only}
    for _ in range(options.rounds):
        for name, environment in ((name, SETTINGS[name]) for name in options.only):
            one = (
                play_in(options.image, options.threads, environment)
                if options.image
                else play(options.bundle, options.threads, options.way, environment)
            )
            found[name].append(one)
    keys = list(next(iter(found.values()))[0])
    print(f"{options.way}, {options.threads or 'all'} threads, medians of {options.rounds}")
    print(f"{'':<22}" + "".join(f"{key:>14}" for key in keys))
    for name, rows in found.items():
        print(f"{name:<22}" + "".join(f"{statistics.median(row[key] for row in rows):>14.2f}" for key in keys))
    return 0


if __name__ == "__main__":
    sys.exit(main())
