"""From a cold disk to the first token, against the disk's own speed.

    python -m bench.load <bundle> [--rounds 3]

Each round puts the bundle out of the page cache, reads it plainly with as many threads as the engine
has, puts it out again and starts a Python that loads it and tells one token. The target is
1.2 x (reading + import of torch). Linux only; random weights do as well (`bench.engine` leaves some).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from storyteller.engine.reading import Part, Reading

ROOT = Path(__file__).resolve().parents[1]
_LOAD = """
import sys, time
from storyteller.engine import Sampling, load_engine
engine = load_engine(sys.argv[1], chat=False, context=2048, copy=sys.argv[2] == "copy")
engine.generate(engine.encode("Once"), Sampling(temperature=0, max_tokens=1))
"""


def forget(folder: Path) -> None:
    """Puts a folder's files out of the page cache."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(code: str, *arguments: str) -> float:
    """Seconds that a fresh Python takes for `code`."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "lambda")])
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, env={**os.environ, "PYTHONPATH": paths})
    return time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description="Cold load to the first token.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    files = sorted(options.bundle.glob("*.safetensors"))
    parts = [Part(path, 0, path.stat().st_size, None) for path in files]
    total = sum(part.end for part in parts)
    rows: list[dict[str, float]] = []
    for _ in range(options.rounds):
        row = {"import_torch_s": timed("import torch")}
        forget(options.bundle)
        began = time.perf_counter()
        Reading(parts, lambda done, total: None).wait()
        row["read_s"] = time.perf_counter() - began
        for way in ("map", "copy"):
            forget(options.bundle)
            row[f"first_token_{way}_s"] = timed(_LOAD, str(options.bundle), way)
        row["ratio"] = row["first_token_map_s"] / (row["read_s"] + row["import_torch_s"])
        rows.append(row)
    found = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    print(json.dumps({"bytes": total, "read_gb_per_s": total / found["read_s"] / 1e9, **found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
