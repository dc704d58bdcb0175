"""A bundle: an INT4 Llama whose bytes are used as they lie in the file.

The manifest (`bundle.json`) says what the files are and how they keep the matrices; this module reads and checks it.
`bundle_reading` makes a model from the files, `model_build` makes bundles.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import EngineError
from .config import LlamaConfig, parse_config, read_json
from .defaults import read_defaults
from .layout import GROUP, LAYOUT, packed_bytes
from .reading import Progress
from .store import Store

MANIFEST, FORMAT, VERSION = "bundle.json", "overture-bundle", 1
PREFIX = "prefix.safetensors"

#: Ends the name of a matrix that holds what another one's rounding left.
RESIDUAL = ".residual"

KernelName = Literal["auto", "native", "kleidi", "stock", "reference"]


@dataclass(frozen=True)
class WeightTypes:
    """How a bundle keeps its matrices.

    "int4x2" is two INT4 matrices, the second of which holds what the first one's rounding left: 9 bits a weight, on
    the kernels of INT4. With "head" the embedding has no tensor of its own and is read from a tied head.
    """

    embedding: Literal["int8", "int4", "head"] = "int8"
    head: Literal["int4x2", "int4"] = "int4x2"
    layers: Literal["int4x2", "int4"] = "int4"


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself; `files` gives each file's size and sha256, in the order of use."""

    folder: Path
    raw: dict[str, Any]
    config: LlamaConfig
    types: WeightTypes
    files: dict[str, tuple[int, str]]
    #: The model's own defaults of sampling; none in bundles that were packed before they were kept.
    sampling: dict[str, Any]

    @property
    def weights(self) -> list[Path]:
        """The weight files, in the order of use."""
        return [self.folder / name for name in self.files if name.startswith("weights")]


def head_rows(config: LlamaConfig) -> int:
    """Rows of the packed head: the vocabulary, rounded up to whole slabs of every kernel."""
    return -(-config.vocab // 16) * 16


def matrices(config: LlamaConfig) -> dict[str, tuple[int, int]]:
    """Rows and columns of each kind of packed matrix of a layer."""
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    return {
        "qkv": (queries + 2 * keys, config.dim),
        "out": (config.dim, queries),
        "gate_up": (2 * config.intermediate, config.dim),
        "down": (config.dim, config.intermediate),
    }


def expected(config: LlamaConfig, types: WeightTypes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Every tensor of a bundle in the order of use, with its type and shape."""
    c = config
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}

    def packed(name: str, rows: int, columns: int, kind: str) -> None:
        tensors[name] = ("U8", (packed_bytes(rows, columns),))
        if kind == "int4x2":
            tensors[name + RESIDUAL] = tensors[name]

    if types.embedding == "int8":
        tensors["embedding.values"] = ("I8", (c.vocab, c.dim))
        tensors["embedding.scales"] = ("BF16", (c.vocab, c.dim // GROUP))
    elif types.embedding == "int4":
        packed("embedding.packed", head_rows(c), c.dim, "int4")
    shapes = matrices(c)
    for layer in range(c.layers):
        at = f"layers.{layer}."
        for norm, names in (("attention_norm", ("qkv", "out")), ("mlp_norm", ("gate_up", "down"))):
            tensors[at + norm] = ("F32", (c.dim,))
            for name in names:
                packed(at + name, *shapes[name], types.layers)
    tensors["norm"] = ("F32", (c.dim,))
    packed("head", head_rows(c), c.dim, types.head)
    return tensors


def check_sizes(config: LlamaConfig, path: Path | str) -> None:
    """Raises EngineError when a Llama's sizes do not fit the layout."""
    c = config
    for name, size in {
        "hidden_size": c.dim,
        "intermediate_size": c.intermediate,
        "num_attention_heads x head_dim": c.heads * c.head_dim,
        "num_key_value_heads x head_dim": c.kv_heads * c.head_dim,
    }.items():
        if size % GROUP or (size == GROUP and name != "num_key_value_heads x head_dim"):
            raise EngineError(
                f"{path}: {name} is {size}, no greater multiple of {GROUP}, so it cannot be packed: use another model."
            )


def is_bundle(folder: Path) -> bool:
    """Whether a folder says that it is a bundle."""
    return (folder / MANIFEST).exists()


def read_manifest(folder: Path) -> Manifest:
    """A bundle's manifest, with every file there and of its size; raises EngineError otherwise."""
    path = folder / MANIFEST
    raw = read_json(path, "give the folder of a bundle (python -m model_build pack makes one).")
    manifest = parse_manifest(raw, path, folder)
    for name, (size, _) in manifest.files.items():
        if not (folder / name).exists():
            raise EngineError(f"{folder / name} is missing: copy the whole bundle again.")
        found = (folder / name).stat().st_size
        if found != size:
            word = "cut short" if found < size else "too long"
            raise EngineError(f"{folder / name} is {word} ({found:,} of {size:,} bytes): copy it again.")
    return manifest


def parse_manifest(raw: dict[str, Any], path: Path | str, folder: Path) -> Manifest:
    """A manifest from its JSON, which `path` names in messages; raises EngineError for one that cannot be used."""
    again = "pack the model again with this version of Overture."
    if raw.get("format") != FORMAT:
        raise EngineError(f"{path} is no bundle's manifest: {again}")
    if raw.get("version") != VERSION:
        raise EngineError(f"{path} is of version {raw.get('version')}, but this engine knows {VERSION}: {again}")
    if raw.get("layout") != LAYOUT:
        raise EngineError(f"{path} names the layout {raw.get('layout')}, but this engine knows {LAYOUT}: {again}")
    try:
        config = parse_config(raw["config"], path, [int(token) for token in raw.get("eos_ids", [])])
        files = {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in raw["files"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"{path} lacks its {error}: {again}") from None
    types = _read_types(raw, config, path, again)
    check_sizes(config, path)
    for name in files:
        if Path(name).name != name:
            raise EngineError(f"{path} names {name!r}, which is no file of its folder: {again}")
    sampling = raw.get("sampling", {})
    if not isinstance(sampling, dict):
        raise EngineError(f"{path}: sampling is {sampling!r}, but must be an object: {again}")
    return Manifest(folder, raw, config, types, files, read_defaults(sampling, path))


def read_stored_manifest(store: Store) -> Manifest:
    """The manifest of a store's bundle; its files have no folder on this machine."""
    path = f"{store.address}/{MANIFEST}"
    try:
        raw = json.loads(store.read(MANIFEST))
    except (ValueError, RecursionError) as error:
        raise EngineError(f"{path} cannot be read as JSON ({error}): upload the bundle again.") from None
    if not isinstance(raw, dict):
        raise EngineError(f"{path} holds no JSON object: upload the bundle again.")
    return parse_manifest(raw, path, Path())


def fetch_small_files(store: Store, manifest: Manifest, folder: Path) -> None:
    """Puts all of a store's bundle but its weights into a folder, each file compared with its checksum."""
    for name, (_, wanted) in manifest.files.items():
        if name.endswith(".safetensors"):
            continue
        content = store.read(name)
        if hashlib.sha256(content).hexdigest() != wanted:
            raise EngineError(f"{store.address}/{name} is not what was packed (sha256 differs): upload it again.")
        (folder / name).write_bytes(content)


def _read_types(raw: dict[str, Any], config: LlamaConfig, path: Path | str, again: str) -> WeightTypes:
    # Bundles of before had one INT4 matrix for everything, and a tied INT4 embedding without its name.
    kinds = {"head": raw.get("head", "int4"), "layers": raw.get("layers", "int4"), "embedding": raw.get("embedding")}
    if config.tied and kinds["embedding"] == "int4":
        kinds["embedding"] = "head"
    embeddings = ("int8", "head") if config.tied else ("int8", "int4")
    for name, known in {"embedding": embeddings, "head": ("int4x2", "int4"), "layers": ("int4x2", "int4")}.items():
        if kinds[name] not in known:
            raise EngineError(f"{path}: {name} is {kinds[name]!r}, but must be {' or '.join(known)}: {again}")
    return WeightTypes(**kinds)


def verify(manifest: Manifest, progress: Progress = lambda done, total: None) -> None:
    """Compares every byte with the manifest's sha256; raises EngineError naming the file that differs."""
    total, done = sum(size for size, _ in manifest.files.values()), 0
    for name, (_, wanted) in manifest.files.items():
        digest = hashlib.sha256()
        with (manifest.folder / name).open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
                done += len(block)
                progress(done, total)
        if digest.hexdigest() != wanted:
            raise EngineError(f"{manifest.folder / name} is not what was packed (sha256 differs): copy it again.")
