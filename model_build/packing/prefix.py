"""Computes the fixed beginning of a world's prompt and ships its keys and values with a bundle.

    python -m model_build prefix <bundle> --world <folder>

The beginning is what the prompts of different visitors and turns have in common. Knows the world's
prompt and the engine; the bundle's weights stay as they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storyteller.engine.errors import EngineError
from storyteller.engine.files.bundle import MANIFEST, PREFIX, read_manifest

if TYPE_CHECKING:
    from storyteller.engine import Engine


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `prefix` to the commands of `python -m model_build`."""
    parser = commands.add_parser("prefix", help="compute a world's prompt once and ship it with a bundle")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--world", type=Path, required=True, help="the world's folder")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """The command `prefix`."""
    count = add_prefix(options.bundle, options.world)
    print(f"The prompt's first {count} tokens are shipped with {options.bundle}.")


def add_prefix(bundle: Path, world: Path) -> int:
    """Adds (or replaces) the shipped prefix and returns how many tokens it has."""
    from prologue.prompt import fixed_messages
    from prologue.world import load_world
    from storyteller.engine import load_engine

    loaded = load_world(world)
    fixed = fixed_messages(loaded)
    prompts = [[*fixed, {"role": "user", "content": said}] for said in ("Who are you?", "I go on.")]
    engine = load_engine(bundle, cache_slots=1, speculate=False)
    beginnings = [engine.encode_chat(messages) for messages in prompts]
    return write_prefix(bundle, engine, common(beginnings))


def common(texts: list[list[int]]) -> list[int]:
    """The tokens with which all texts begin."""
    shared: list[int] = []
    for tokens in zip(*texts, strict=False):
        if len(set(tokens)) > 1:
            break
        shared.append(tokens[0])
    return shared


def write_prefix(bundle: Path, engine: Engine, ids: list[int]) -> int:
    """Computes the keys and values of `ids` with `engine`, which has the bundle loaded, and adds them to it."""
    import numpy as np
    import torch

    from model_build.packing.bundle import write_json, write_tensors

    if not ids:
        raise EngineError("The prompts have no common beginning: there is nothing to ship.")
    keys, values = engine.compute_prefix(ids)
    tensors = {"ids": torch.tensor(ids, dtype=torch.int32), "keys": keys.half(), "values": values.half()}
    kinds = {"ids": "I32", "keys": "F16", "values": "F16"}
    path = bundle / PREFIX

    def produce(name: str) -> Any:
        return [np.ascontiguousarray(tensors[name].numpy())]

    digest = write_tensors(
        path, {name: (kinds[name], tuple(tensor.shape)) for name, tensor in tensors.items()}, produce
    )
    raw = read_manifest(bundle).raw
    raw["prefix"] = {"tokens": len(ids), "kernel": engine.kernel}
    raw["files"][PREFIX] = {"bytes": path.stat().st_size, "sha256": digest}
    write_json(bundle / MANIFEST, raw)
    return len(ids)
