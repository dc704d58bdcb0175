"""Writes a bundle's files: safetensors written as a stream, checksums, what is already done.

Knows files and bytes; `pack` knows what goes into them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from storyteller.engine.files.tensorfile import WIDTHS

#: Where in a file data may begin: a page for the first tensor, a cache line for every other.
_PAGE, _LINE = 4096, 64

Blocks = Iterator[npt.NDArray[Any]]


def write_tensors(
    path: Path,
    tensors: Mapping[str, tuple[str, tuple[int, ...]]],
    produce: Callable[[str], Iterable[npt.NDArray[Any]]],
    told: Callable[[int], object] = lambda count: None,
) -> str:
    """Writes a safetensors file and returns its sha256; it is there whole or not at all.

    `tensors` gives each tensor's type and shape in order, `produce(name)` its content in blocks, of
    which only one need be in memory at a time; `told` hears how many bytes went out. Raises
    ValueError when the content is not as large as was said.
    """
    header, end = _header(tensors)
    digest = hashlib.sha256(header)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(header)
        for name, entry in tensors.items():
            written = 0
            for block in produce(name):
                content = np.ascontiguousarray(block).view(np.uint8).reshape(-1)
                file.write(content.data)
                digest.update(content.data)
                written += content.size
                told(content.size)
            size = _size(*entry)
            if written != size:
                raise ValueError(f"{name} has {written} bytes, not {size}")
            filling = bytes(-size % _LINE)
            file.write(filling)
            digest.update(filling)
        assert file.tell() == end
    part.replace(path)
    return digest.hexdigest()


def _header(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[bytes, int]:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape) in tensors.items():
        size = _size(dtype, shape)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
        if filling := -size % _LINE:  # the format knows no holes
            entries[f"filling.{name}"] = {"dtype": "U8", "shape": [filling], "data_offsets": [at, at + filling]}
            at += filling
    text = json.dumps(entries, separators=(",", ":")).encode()
    text = text.ljust(-(-(8 + len(text)) // _PAGE) * _PAGE - 8)
    return len(text).to_bytes(8, "little") + text, 8 + len(text) + at


def _size(dtype: str, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * WIDTHS[dtype]


def sha256(path: Path) -> str:
    """A file's sha256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Progress:
    """What of a packing is already done, kept beside the files so that a broken-off one goes on.

    `identity` says what is packed and how; another identity begins again.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._path = folder / "packing.json"
        self._state: dict[str, Any] = {"identity": json.loads(json.dumps(identity)), "done": {}}
        try:
            found = json.loads(self._path.read_text())
            if found["identity"] == self._state["identity"]:
                self._state = found
        except (OSError, ValueError, KeyError):
            pass

    @property
    def resumed(self) -> bool:
        """Whether anything was done before."""
        return bool(self._state["done"])

    def get(self, path: Path) -> dict[str, Any] | None:
        """What was noted of a file that is still there in its size."""
        note: dict[str, Any] | None = self._state["done"].get(path.name)
        return note if note and path.exists() and path.stat().st_size == note["bytes"] else None

    def add(self, path: Path, digest: str, **more: Any) -> None:
        """Notes a file that is done."""
        self._state["done"][path.name] = {"bytes": path.stat().st_size, "sha256": digest, **more}
        write_json(self._path, self._state)

    def finish(self) -> None:
        """Forgets: the manifest says it all now."""
        self._path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON so that a reader sees the old file or the new one."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)
