"""Safetensors files as byte ranges: which tensor lies where, checked before a byte of it is read.

Knows the file format and nothing of models, threads or torch.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .config import read_json

#: Bytes of one element, by safetensors' names.
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_HEADER_LIMIT = 100_000_000


@dataclass(frozen=True)
class TensorSpan:
    """One tensor: its element type, shape and the bytes `begin` to `end` of `path`."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class TensorFile:
    """One file's tensors by name, its metadata and its whole size in bytes."""

    path: Path
    spans: dict[str, TensorSpan]
    metadata: dict[str, str]
    size: int


def open_tensor_file(path: Path) -> TensorFile:
    """Reads and checks a file's header; raises EngineError when the file is missing, cut short or broken."""
    try:
        with path.open("rb") as file:

            def read(begin: int, end: int) -> bytes:
                file.seek(begin)
                return file.read(end - begin)

            return read_tensor_header(path, path.stat().st_size, read)
    except FileNotFoundError:
        raise EngineError(f"{path} is missing: download the whole checkpoint.") from None
    except OSError as error:
        raise EngineError(f"{path} cannot be read ({error.strerror}): check the disk and the rights.") from None


def read_tensor_header(path: Path, size: int, read: Callable[[int, int], bytes]) -> TensorFile:
    """The header of a file of `size` bytes, of which `read(begin, end)` gives any. Raises EngineError as above."""
    again = "download it again."
    try:
        _refuse_other_formats(path, read(0, min(40, size)))
        (length,) = struct.unpack("<Q", read(0, min(8, size)))
        if length > min(_HEADER_LIMIT, size - 8):
            raise EngineError(f"{path} is cut short or no safetensors file: {again}")
        header = json.loads(read(8, 8 + length))
        spans, metadata = _read_spans(path, header, 8 + length)
    except EngineError:
        raise
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        raise EngineError(f"{path} is cut short or no safetensors file: {again}") from None
    last = max((span.end for span in spans.values()), default=8 + length)
    if last > size:
        raise EngineError(f"{path} is cut short ({size:,} of {last:,} bytes): {again}")
    return TensorFile(path, spans, metadata, size)


def _refuse_other_formats(path: Path, begin: bytes) -> None:
    if begin.startswith(b"version https://git-lfs"):
        raise EngineError(f"{path} is a git-lfs pointer, not the weights: run `git lfs pull` in its folder.")
    if begin.startswith(b"GGUF"):
        raise EngineError(f"{path} is a GGUF file by its content: name it *.gguf and give it to python -m model_build.")
    if begin.startswith(b"PK\x03\x04"):
        raise EngineError(f"{path} is a PyTorch file by its content: use a checkpoint in safetensors.")


def _read_spans(path: Path, header: dict[str, Any], base: int) -> tuple[dict[str, TensorSpan], dict[str, str]]:
    spans: dict[str, TensorSpan] = {}
    metadata: dict[str, str] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            metadata = {str(key): str(value) for key, value in entry.items()}
            continue
        begin, end = (int(offset) for offset in entry["data_offsets"])
        shape = tuple(int(size) for size in entry["shape"])
        width = WIDTHS.get(entry["dtype"])
        if width is None:
            raise EngineError(f"{path}: {name} is stored as {entry['dtype']}: use a checkpoint in bf16, f16 or f32.")
        if begin < 0 or end - begin != math.prod(shape) * width:
            raise ValueError(name)
        spans[name] = TensorSpan(path, entry["dtype"], shape, base + begin, base + end)
    return spans, metadata


def open_checkpoint(folder: Path) -> dict[str, TensorSpan]:
    """Every tensor of a checkpoint folder by name, from one file or from the shards its index lists."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        placed = read_json(index, "").get("weight_map")
        if not isinstance(placed, dict) or not placed:
            raise EngineError(f"{index} has no weight_map: download it again.")
        spans: dict[str, TensorSpan] = {}
        for name in dict.fromkeys(placed.values()):
            if Path(str(name)).name != name:
                raise EngineError(f"{index} names {name!r}, which is no file of its folder: download it again.")
            spans.update(open_tensor_file(folder / name).spans)
        for tensor, name in placed.items():
            if tensor not in spans:
                raise EngineError(f"{folder / name} lacks {tensor}, which the index promises: download it again.")
        return spans
    single = folder / "model.safetensors"
    files = [single] if single.exists() else sorted(folder.glob("*.safetensors"))
    if not files and (old := sorted([*folder.glob("*.bin"), *folder.glob("*.pth")])):
        raise EngineError(
            f"{folder} has its weights in {old[0].name}, which may run code when it is read: use a revision with "
            "*.safetensors, or write one with transformers' save_pretrained."
        )
    if not files:
        raise EngineError(f"{folder} has no *.safetensors: give the folder of a whole Hugging Face Llama checkpoint.")
    found: dict[str, TensorSpan] = {}
    for path in files:
        found.update(open_tensor_file(path).spans)
    return found
