"""The answer index on arm64, emulated: does it answer alike, and how does its start compare with torch's?

Part of `python -m bench.answers --arm64`. Runs what Front ships for arm64 (`make wheels`) by
`scripts/arm64`, with the processor's folder hidden as on Lambda. Emulated seconds say nothing of a
Graviton; their ratio to the seconds that `import torch` takes in the same emulation does.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from prologue.answers.index import load_answer_index
from prologue.answers.index_build.measure import read_labelled

LINES = 120
_ASK = """
import sys, time
began = time.process_time()
sys.path.insert(0, sys.argv[1])
import json
from prologue.answers.index import load_answer_index
index = load_answer_index(sys.argv[2])
lines = json.load(open(sys.argv[3]))
index.find(lines[0], "prologue")
start = time.process_time() - began
found = [index.find(line, "prologue") for line in lines]
print(json.dumps({"start_s": start, "found": [match and [match.id, match.score] for match in found]}))
"""
_TORCH = """
import time
began = time.process_time()
import torch
print(time.process_time() - began)
"""


class Arm64Error(Exception):
    """Why it cannot be measured here, in a sentence."""


def bench_arm64(index_folder: Path, package: Path, out: Path) -> dict[str, Any]:
    """Compares answers and scores of held-out lines; times both starts. Raises `Arm64Error`."""
    if not package.is_dir():
        raise Arm64Error(f"There is no {package}: stage Front's arm64 wheels with `make wheels`.")
    index = load_answer_index(index_folder)
    texts = [line.text for line in read_labelled(Path(__file__).parents[1] / "data" / "emerald_city.jsonl")]
    lines = texts[:: max(1, len(texts) // LINES)][:LINES]
    asked = out / "arm64-lines.json"
    asked.write_text(json.dumps(lines), encoding="utf-8")
    # The repository is mounted there at /src.
    there = json.loads(_emulated(_ASK, *(f"/src/{os.path.relpath(path)}" for path in (package, index_folder, asked))))
    torch_s = float(_emulated(_TORCH))
    apart, differ, answered = 0.0, 0, 0
    for line, other in zip(lines, there["found"], strict=True):
        match = index.find(line, "prologue")
        if (match is None) != (other is None) or (match and other and match.id != other[0]):
            differ += 1
        elif match and other:
            answered += 1
            apart = max(apart, abs(match.score - other[1]))
    return {
        "lines": len(lines),
        "answered": answered,
        "answers_that_differ": differ,
        "scores_apart_at_most": apart,
        "first_answer_cpu_s": round(there["start_s"], 2),
        "import_torch_cpu_s": round(torch_s, 2),
        "ratio": round(there["start_s"] / torch_s, 3),
    }


def _emulated(script: str, *arguments: str) -> str:
    done = subprocess.run(
        ["scripts/arm64", "python", "-c", script, *arguments],
        env={**os.environ, "CPU_FOLDER": "hidden"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Arm64Error(f"scripts/arm64 failed: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1]}")
    return done.stdout.strip().splitlines()[-1]
