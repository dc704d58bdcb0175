"""The C++ kernels, built once for all tests, and a small bundle."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from model_build import kernel
from model_build.kernel import build
from model_build.packing.pack import pack
from model_build.sources import open_source
from storyteller.engine.native import Native, library_name
from tests.tiny_llama import LLAMA_3_1, write_tiny_llama

ROOT = Path(__file__).resolve().parents[3]
#: What the library is made of.
SOURCES = [*kernel.SOURCES.iterdir(), Path(kernel.__file__)]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models gain nothing by more, and tests share the machine; a test that needs more says so."""
    monkeypatch.setattr("storyteller.engine.loading.usable_cpus", lambda: 1)


@pytest.fixture(scope="session")
def kernel_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of this checkout's sources: the one that `make` built, or compiled by the first who asks for it."""
    built = ROOT / "build" / "kernel" / library_name()
    if built.exists() and all(path.stat().st_mtime < built.stat().st_mtime for path in SOURCES):
        return built
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("no C++ compiler")
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with FileLock(shared / "kernel.lock"):
        there = list((shared / "kernel").glob("*.so"))
        return there[0] if there else build(shared / "kernel")


@pytest.fixture
def native(kernel_file: Path) -> Iterator[Native]:
    """The library with two threads and the best instruction set of this CPU."""
    found = Native(kernel_file, 2)
    yield found
    found.choose("")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose sizes can be packed: grouped queries of 64, Llama 3.1's positions."""
    options: dict[str, Any] = {**LLAMA_3_1, "width": 128, "hidden": 192, "head_dim": 64, "scale": 0.06}
    return write_tiny_llama(tmp_path_factory.mktemp("checkpoint"), words=["gate"], **options)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """That checkpoint packed."""
    return pack(open_source(str(checkpoint), None), tmp_path_factory.mktemp("bundles") / "bundle", calibration="none")
