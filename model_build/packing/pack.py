"""Packs a Llama into a bundle: INT4 in the one byte layout, in the order of use.

    python -m model_build pack <folder, GGUF file or hub id> --out <bundle>
    python -m model_build verify <bundle>

Works through the model layer by layer, so that 8B needs a few gigabytes, and goes on where it
was when it is broken off.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import platform
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from model_build.packing.bundle import Progress, sha256, write_json, write_tensors
from storyteller.engine.files.bundle import (
    FORMAT,
    MANIFEST,
    PREFIX,
    RESIDUAL,
    VERSION,
    WeightTypes,
    check_sizes,
    expected,
    is_bundle,
    read_manifest,
    verify,
)
from storyteller.engine.files.config import LlamaConfig, read_json
from storyteller.engine.files.defaults import checkpoint_defaults
from storyteller.engine.files.layout import LAYOUT
from storyteller.engine.files.tensorfile import WIDTHS
from storyteller.engine.loading import load_tokenizer, stop_ids
from storyteller.engine.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from model_build.sources import Source

_TEXT_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
#: Rises with every change of how weights are rounded, so that what is half packed is not completed in another way.
ROUNDING = 2
#: Bytes of a weight file after which the next begins; what is done of a broken-off packing is counted in files.
_FILE_BYTES = 256 << 20

Tensors = Mapping[str, tuple[str, tuple[int, ...]]]


class PackError(ValueError):
    """Why a bundle cannot be made, in one sentence."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `pack` and `verify` to the commands of `python -m model_build`."""
    parser = commands.add_parser("pack", help="quantize a Llama to INT4 and pack it into a bundle")
    parser.add_argument(
        "source",
        help="a checkpoint folder, a GGUF file, `smollm2`, or a hub id such as meta-llama/Llama-3.1-8B-Instruct",
    )
    parser.add_argument("--adapter", type=Path, help="a folder with a LoRA of PEFT's, merged into the weights first")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    parser.add_argument("--revision", help="a branch, tag or commit of the hub's repository")
    parser.add_argument("--world", type=Path, help="a world whose prompt is computed now and shipped with the bundle")
    add_form(parser)
    parser.set_defaults(run=run_pack)
    parser = commands.add_parser("verify", help="compare every byte of a bundle with its checksums")
    parser.add_argument("bundle", type=Path)
    parser.set_defaults(run=run_verify)


def add_form(parser: argparse.ArgumentParser) -> None:
    """Adds the options that decide between bytes and quality."""
    parser.add_argument("--bits", type=int, choices=[4, 8], default=4, help="bits of a layer's weights (default 4)")
    parser.add_argument(
        "--head", choices=["int8", "int4"], default="int8", help="int8 is a second INT4 matrix beside the first"
    )
    parser.add_argument("--embedding", choices=["int8", "int4"], default="int8", help="how the embedding is kept")
    parser.add_argument(
        "--calibration",
        default="default",
        metavar="TEXT",
        help="a text of the kind that the model will meet (default: one that ships with the project; none: without)",
    )


def form_options(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_form` added, as `pack` takes it."""
    return {name: getattr(options, name) for name in ("bits", "head", "embedding", "calibration")}


def run_pack(options: argparse.Namespace) -> None:
    """The command `pack`."""
    from model_build.sources import open_source

    source = open_source(options.source, options.revision, adapter=options.adapter)
    if source.rounded:
        print(
            f"The weights of {source.name} were rounded once already ({', '.join(source.rounded)}) and lose more "
            "by it than 16-bit ones: pack the model's 16-bit weights where you can have them.",
            file=sys.stderr,
        )
    pack(source, options.out, **form_options(options), show=True)
    if options.world:
        from model_build.packing.prefix import add_prefix

        count = add_prefix(options.out, options.world)
        print(f"The prompt's first {count} tokens are shipped with it.")
    size = sum(entry["bytes"] for entry in read_manifest(options.out).raw["files"].values())
    print(f"{options.out} holds {size / 1e9:.2f} GB. Try: python -m model_build generate {options.out} --prompt Hello")


def run_verify(options: argparse.Namespace) -> None:
    """The command `verify`."""
    manifest = read_manifest(options.bundle)
    verify(manifest)
    print(f"{options.bundle} is whole: {len(manifest.files)} files as they were packed.")


def pack(
    source: Source,
    out: Path,
    *,
    bits: Literal[4, 8] = 4,
    head: Literal["int8", "int4"] = "int8",
    embedding: Literal["int8", "int4"] = "int8",
    calibration: str | Path | None = "default",
    show: bool = False,
) -> Path:
    """Makes the bundle `out` from `source` and returns it; raises PackError or EngineError in a sentence.

    `calibration` is a text file, "default" for the text that ships with the project, or "none".
    """
    check_sizes(source.config, source.folder / "config.json")
    tokenizer = load_tokenizer(source.folder, source.config, chat=False)
    sampling = checkpoint_defaults(source.folder)
    _make_folder(out)
    types = plan_types(source.config, bits, head, embedding)
    text = read_calibration(calibration, source.config, tokenizer, show)
    tensors = expected(source.config, types)
    identity = {"source": source.origin, "types": vars(types), "calibration": text.digest, "layout": LAYOUT}
    progress = Progress(out, {**identity, "rounding": ROUNDING})
    files, report = write_weights(source, out, tensors, text, progress, show)
    files |= _copy_texts(source.folder, out)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "layout": LAYOUT,
        **vars(types),
        "eos_ids": list(stop_ids(source.config, tokenizer)),
        "sampling": sampling,
        "source": source.origin,
        "calibration": {"text": text.name, "sha256": text.digest} if text.passages else None,
        "quantization": report,
        "made_with": {name: version(name) for name in ("torch", "numpy")}
        | {"python": platform.python_version(), "machine": platform.machine()},
        "files": files,
        "config": {**read_json(source.folder / "config.json", ""), "tie_word_embeddings": source.config.tied},
    }
    write_json(out / MANIFEST, manifest)
    for old in [*out.glob("weights-*"), *out.glob(PREFIX)]:
        if old.name not in files:
            old.unlink()
    progress.finish()
    return out


def _make_folder(out: Path) -> None:
    if out.exists() and any(out.iterdir()) and not is_bundle(out) and not (out / "packing.json").exists():
        raise PackError(f"{out} is not empty and no bundle: give an empty or a new folder.")
    out.mkdir(parents=True, exist_ok=True)


def plan_types(config: LlamaConfig, bits: int, head: str, embedding: str) -> WeightTypes:
    """How the matrices are kept. A tied embedding is read from the head wherever that is as exact."""
    eight = bits == 8
    of_head = config.tied and (eight or head == "int8" or embedding == "int4")
    return WeightTypes(
        embedding="head" if of_head else "int8" if eight or embedding == "int8" else "int4",
        head="int4x2" if eight or head == "int8" else "int4",
        layers="int4x2" if eight else "int4",
    )


class CalibrationText:
    """The passages of a text, its name and the digest of its tokens; no passages without calibration."""

    def __init__(self, name: str, passages: list[list[int]]) -> None:
        self.name, self.passages = name, passages
        self.digest = hashlib.sha256(repr(passages).encode()).hexdigest() if passages else None


def read_calibration(
    text: str | Path | None, config: LlamaConfig, tokenizer: Tokenizer, show: bool = False
) -> CalibrationText:
    """The text called `text`: "default", "none" or a file. Raises PackError or CalibrationError."""
    from model_build.packing.calibrate import PASSAGE, default_passages, file_passages

    length = min(PASSAGE, config.context)
    if text is None or str(text) == "none":
        if show:
            print("Without calibration, rounding costs more quality: leave `--calibration none` out.", file=sys.stderr)
        return CalibrationText("none", [])
    if str(text) == "default":
        return CalibrationText("default", default_passages(tokenizer, length))
    return CalibrationText(Path(text).name, file_passages(Path(text), tokenizer, length))


def write_weights(
    source: Source, out: Path, tensors: Tensors, text: CalibrationText, progress: Progress, show: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Writes the weight files that are not there yet; their sizes and checksums, and what rounding cost."""
    from tqdm import tqdm

    from model_build.packing.calibrate import Calibration
    from model_build.packing.packer import Packer
    from model_build.packing.quantize import Report

    if progress.resumed and show:
        print("Going on where the last packing was broken off.", file=sys.stderr)
    # Two matrices leave so little that how inputs go together need not be known.
    grams = "layers.0.qkv" + RESIDUAL not in tensors
    packer = Packer(source, Calibration(source, text.passages, grams=grams) if text.passages else None, tensors)
    files: dict[str, Any] = {}
    report = Report()
    total = sum(map(_bytes, tensors.values()))
    with tqdm(total=total, unit="B", unit_scale=True, desc="packing", disable=not show) as bar:
        for name, names in plan_files(tensors).items():
            path = out / name
            if progress.get(path) is None:
                packer.report = Report()
                digest = write_tensors(path, {tensor: tensors[tensor] for tensor in names}, packer.produce, bar.update)
                progress.add(path, digest, report=vars(packer.report))
            else:
                bar.update(sum(_bytes(tensors[tensor]) for tensor in names))
            note = progress.get(path)
            assert note is not None, path
            files[name] = {"bytes": note["bytes"], "sha256": note["sha256"]}
            report.add(Report(**note["report"]))
    return files, report.summary()


def plan_files(tensors: Tensors) -> dict[str, list[str]]:
    """The tensors of each weight file, in the order of use; a layer is never split."""
    groups: list[list[str]] = []
    key, size = "", _FILE_BYTES
    for name, entry in tensors.items():
        unit = ".".join(name.split(".")[:2]) if name.startswith("layers.") else name.split(".")[0]
        if not groups or (unit != key and size >= _FILE_BYTES):
            groups.append([])
            size = 0
        groups[-1].append(name)
        key, size = unit, size + _bytes(entry)
    return {f"weights-{number:03d}.safetensors": names for number, names in enumerate(groups, 1)}


def _copy_texts(folder: Path, out: Path) -> dict[str, Any]:
    copied = {}
    for name in _TEXT_FILES:
        if (folder / name).exists():
            shutil.copyfile(folder / name, out / name)
            copied[name] = {"bytes": (out / name).stat().st_size, "sha256": sha256(out / name)}
    return copied


def _bytes(entry: tuple[str, tuple[int, ...]]) -> int:
    return math.prod(entry[1]) * WIDTHS[entry[0]]
