"""How a model's maker would have it sampled: what its `generation_config.json` says, by the names of `Sampling`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import EngineError
from ..request import Sampling
from .config import read_json

#: Hugging Face's names and ours are the same.
FIELDS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


def checkpoint_defaults(folder: Path) -> dict[str, Any]:
    """Those of a checkpoint folder; none where it has no such file. Raises EngineError."""
    path = folder / "generation_config.json"
    return read_defaults(read_json(path, ""), path) if path.exists() else {}


def read_defaults(raw: Mapping[str, Any], path: Path | str) -> dict[str, Any]:
    """The fields that are given, checked as `Sampling` checks them.

    Where `do_sample` is false, only the penalty counts, as in transformers. Raises EngineError, which names `path`.
    """
    found: dict[str, Any] = {}
    for field in FIELDS:
        value = raw.get(field)
        if value is None or (raw.get("do_sample") is False and field != "repetition_penalty"):
            continue
        kinds = int if field == "top_k" else int | float
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise EngineError(f"{path}: {field} is {value!r}, but must be a number: correct it or leave it out.")
        found[field] = value if field == "top_k" else float(value)
    try:
        Sampling(**found)
    except EngineError as error:
        raise EngineError(f"{path}: {error}") from None
    return found
