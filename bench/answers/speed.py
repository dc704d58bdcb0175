"""How long the answer index takes on one thread: a line by size of the index, a fresh process, a build."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from prologue.answers.embedder import Embedder
from prologue.answers.index import EMBEDDER, NEIGHBOURS
from prologue.answers.index_build.builder import make_vectors
from prologue.answers.index_build.measure import read_labelled

DATA = Path(__file__).parents[1] / "data"


def bench_speed(index_folder: Path) -> dict[str, Any]:
    """Times on one thread: embed and search by size of the index, and a fresh process to its first answer."""
    model = Embedder(index_folder / EMBEDDER)
    lines = [line.text for line in read_labelled(DATA / "emerald_city.jsonl")]
    draw = np.random.default_rng(0)
    figures: dict[str, Any] = {}
    print("\nOne line on one thread (embed + search), ms")
    for count in (100, 1_000, 20_000, 50_000, 100_000):
        rows = draw.standard_normal((count, 384), np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        index = make_vectors(rows)
        faiss.omp_set_num_threads(1)
        times = []
        for line in lines[:200]:
            begun = time.perf_counter()
            index.search(model.embed([line]), NEIGHBOURS)
            times.append((time.perf_counter() - begun) * 1000)
        p50, p95 = np.percentile(times, [50, 95])
        figures[str(count)] = {"p50_ms": p50, "p95_ms": p95}
        print(f"  {count:>7} phrasings  p50 {p50:6.2f}  p95 {p95:6.2f}")
    code = (
        "import time; t = time.perf_counter()\n"
        "from prologue.answers.index import load_answer_index\n"
        f"a = time.perf_counter(); index = load_answer_index({str(index_folder)!r}); b = time.perf_counter()\n"
        "index.find('how do I save?'); c = time.perf_counter()\n"
        "peak = [line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1]\n"
        "print(a - t, b - a, c - b, int(peak) / 1024)"
    )
    runs = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        runs.append([float(value) for value in done.stdout.split()])
    imported, loaded, found, memory = min(runs, key=lambda run: sum(run[:3]))
    figures["process"] = {"import_s": imported, "load_s": loaded, "first_s": found, "peak_mb": memory}
    print(f"A fresh process, best of 3: import {imported:.3f} s, load {loaded:.3f} s, first answer {found:.3f} s,")
    print(f"together {imported + loaded + found:.3f} s; peak memory {memory:.0f} MB")
    return figures
