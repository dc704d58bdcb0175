"""Random Llamas: of the published sizes, and whole enough that every engine loads them."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.engine import random_llama
from bench.engine.random_llama import SHAPES, shape_config, write_bundle, write_checkpoint, write_gguf
from model_build.packing.pack import pack
from model_build.sources import FolderSource, open_source
from storyteller.engine import Sampling, load_engine
from storyteller.engine.files.bundle import read_manifest, verify
from storyteller.engine.files.checkpoint import expected_tensors


@pytest.mark.parametrize(("shape", "billions"), [("1B", 1.236), ("3B", 3.213), ("8B", 8.030)])
def test_shapes_have_the_published_numbers_of_parameters(shape: str, billions: float) -> None:
    found = sum(math.prod(size) for size in expected_tensors(shape_config(shape)).values())
    assert found / 1e9 == pytest.approx(billions, abs=0.0006)


def test_a_bundle_is_whole_and_speaks_and_is_made_once(tmp_path: Path) -> None:
    bundle = write_bundle("tiny", tmp_path / "bundle")
    verify(read_manifest(bundle))
    made = (bundle / "bundle.json").stat().st_mtime_ns
    assert (write_bundle("tiny", bundle) / "bundle.json").stat().st_mtime_ns == made
    engine = load_engine(bundle, chat=False, threads=1)
    done = engine.generate(engine.encode("Once"), Sampling(temperature=0, max_tokens=3))
    assert done.tokens == 3


def test_a_checkpoint_lies_in_shards_and_can_be_packed(tmp_path: Path) -> None:
    folder = write_checkpoint("tiny", tmp_path / "checkpoint", shard_bytes=1 << 20)
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    assert files == [f"model-{n:05d}-of-{len(files):05d}.safetensors" for n in range(1, len(files) + 1)]
    assert len(files) > 2
    source = open_source(str(folder), None)
    assert isinstance(source, FolderSource)
    weight = source.rows("model.layers.1.mlp.down_proj.weight")
    assert weight.std().item() == pytest.approx(0.25 / 512**0.5, rel=0.02)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(2 * math.prod(span.shape) for span in source.spans.values())
    assert load_engine(pack(source, tmp_path / "bundle"), chat=False, threads=1).context > 1000


class Writer:
    """Notes what `gguf`'s own writer is told."""

    def __init__(self, path: str, kind: str) -> None:
        self.path, self.places, self.written = Path(path), list[tuple[str, int]](), list[int]()

    def __getattr__(self, name: str) -> Any:
        return lambda *values: None

    def add_tensor_info(self, name: str, shape: Any, dtype: Any, size: int, raw_dtype: Any = None) -> None:
        assert math.prod(shape) * dtype.itemsize == size
        self.places.append((name, size))

    def write_tensor_data(self, tensor: Any) -> None:
        self.written.append(np.ascontiguousarray(tensor).nbytes)

    def close(self) -> None:
        self.path.touch()
        LAST.append(self)


LAST: list[Writer] = []


def test_a_gguf_is_written_tensor_by_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(GGUFWriter=Writer, GGMLQuantizationType=SimpleNamespace(Q4_0=2))
    monkeypatch.setitem(sys.modules, "gguf", module)
    assert write_gguf("tiny", tmp_path / "tiny.gguf").exists()
    writer = LAST.pop()
    assert [size for _, size in writer.places] == writer.written
    parameters = sum(math.prod(size) for size in expected_tensors(shape_config("tiny")).values() if len(size) == 2)
    matrices = sum(size for name, size in writer.places if "norm" not in name)
    assert matrices == parameters // 32 * 18


def test_the_command_makes_what_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["random_llama", "checkpoint", "tiny", str(tmp_path)])
    random_llama.main()
    assert capsys.readouterr().out.strip() == str(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == SHAPES["tiny"]
