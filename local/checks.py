"""Looks at the folders that the play is started with: a cheap look, so that a mistake is told at once.

It knows what files there must be and whether they are whole. Whether a model is one the engine can
run, or a script one that can be played, is for the functions to say when they start.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

from local.plan import LocalError

MODEL_REMEDY = "give --model a Hugging Face Llama folder, or leave it out for the demo model"
WORLD_REMEDY = "give --world a folder like prologue/worlds/emerald_city"
BOOK_REMEDY = "run make setup, which builds it"


def check(*, model: Path, world: Path, book: Path) -> None:
    """Raises `LocalError` for the first thing found missing or broken."""
    check_model(model)
    for name in ("world.yaml", "script.yaml", "storyteller.md"):
        _text(world, name, "world folder", WORLD_REMEDY)
    _folder(book, "answer book", BOOK_REMEDY)
    if not any(book.iterdir()):
        raise LocalError(f"The answer book {book} is empty; {BOOK_REMEDY}.")


def check_model(folder: Path) -> None:
    """Whether `folder` holds a configuration, a tokenizer and whole weights. Raises `LocalError`."""
    for name in ("config.json", "tokenizer.json"):
        text = _text(folder, name, "model folder", MODEL_REMEDY)
        try:
            whole = isinstance(json.loads(text), dict)
        except ValueError:
            whole = False
        if not whole:
            raise LocalError(f"{folder / name} is not a JSON object, so the model is broken; {MODEL_REMEDY}.")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise LocalError(f"The model folder {folder} has no .safetensors file; {MODEL_REMEDY}.")
    for path in weights:
        if not _whole(path):
            broken = "is not a whole safetensors file (cut short, or a Git LFS pointer)"
            raise LocalError(f"{path} {broken}; {MODEL_REMEDY}.")


def _folder(folder: Path, what: str, remedy: str) -> None:
    if not folder.is_dir():
        raise LocalError(f"The {what} {folder} does not exist; {remedy}.")


def _text(folder: Path, name: str, what: str, remedy: str) -> str:
    _folder(folder, what, remedy)
    try:
        return (folder / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LocalError(f"The {what} {folder} has no {name}; {remedy}.") from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise LocalError(f"{folder / name} cannot be read ({why}); {remedy}.") from None


def _whole(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says: 8 bytes of length, JSON, then the tensors."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                return False
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return bool(path.stat().st_size == 8 + length + max(ends, default=0))
    except (OSError, ValueError, struct.error, AttributeError, KeyError, IndexError, TypeError):
        return False
