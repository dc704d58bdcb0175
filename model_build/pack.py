"""Packs a Llama checkpoint into a bundle: INT4 in the one byte layout, in the order of use.

    python -m model_build pack <folder or hub id> --out <bundle>
    python -m model_build verify <bundle>

Works through the checkpoint layer by layer, so that 8B needs a few gigabytes, and goes on where it
was when it is broken off. Knows which tensor becomes which; `quantize` rounds, `pack_layout` lays out,
`bundle` writes.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from storyteller.engine.bundle import (
    FORMAT,
    MANIFEST,
    PREFIX,
    VERSION,
    check_sizes,
    expected,
    head_rows,
    is_bundle,
    read_manifest,
    verify,
)
from storyteller.engine.config import read_json
from storyteller.engine.layout import LAYOUT
from storyteller.engine.loading import load_tokenizer, stop_ids

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from model_build.pack_calibrate import Calibration
    from model_build.pack_source import Source
    from model_build.quantize import Report

_TEXT_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
#: Bytes of a weight file after which the next begins; what is done of a broken-off packing is counted in files.
_FILE_BYTES = 256 << 20
#: Rows of an embedding or a head worked on at a time.
_ROWS = 4096


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
    parser.add_argument("--embedding", choices=["int8", "int4"], default="int8", help="how the embedding is kept")
    parser.add_argument("--calibration", type=Path, help="a text file; rounding then spares the inputs it uses most")
    parser.add_argument("--world", type=Path, help="a world whose prompt is computed now and shipped with the bundle")
    parser.set_defaults(run=run_pack)
    parser = commands.add_parser("verify", help="compare every byte of a bundle with its checksums")
    parser.add_argument("bundle", type=Path)
    parser.set_defaults(run=run_verify)


def run_pack(options: argparse.Namespace) -> None:
    """The command `pack`."""
    from model_build.pack_source import open_source

    source = open_source(options.source, options.revision, adapter=options.adapter)
    if source.rounded:
        print(
            f"The weights of {source.name} were rounded once already ({', '.join(source.rounded)}) and lose more "
            "by it than 16-bit ones: pack the model's 16-bit weights where you can have them.",
            file=sys.stderr,
        )
    pack(source, options.out, embedding=options.embedding, calibration=options.calibration, show=True)
    if options.world:
        from model_build.pack_prefix import add_prefix

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
    embedding: Literal["int8", "int4"] = "int8",
    calibration: Path | None = None,
    show: bool = False,
) -> Path:
    """Makes the bundle `out` from `source` and returns it; raises PackError or EngineError in a sentence."""
    from tqdm import tqdm

    from model_build.bundle import Progress, sha256, write_json, write_tensors
    from model_build.quantize import Report

    check_sizes(source.config, source.folder / "config.json")
    tokenizer = load_tokenizer(source.folder, source.config, chat=False)
    if out.exists() and any(out.iterdir()) and not is_bundle(out) and not (out / "packing.json").exists():
        raise PackError(f"{out} is not empty and no bundle: give an empty or a new folder.")
    out.mkdir(parents=True, exist_ok=True)
    calibrated = calibrate(source, calibration, tokenizer.encode)
    settings = {"embedding": embedding, "calibration": sha256(calibration) if calibration else None, "layout": LAYOUT}
    progress = Progress(out, {"source": source.origin, **settings})
    if progress.resumed and show:
        print("Going on where the last packing was broken off.", file=sys.stderr)
    tensors = expected(source.config, embedding)
    files = plan_files(tensors)
    total = sum(sum(_bytes(tensors[name]) for name in names) for names in files.values())
    notes, packer = [], Packer(source, calibrated)
    with tqdm(total=total, unit="B", unit_scale=True, desc="packing", disable=not show) as bar:
        for name, names in files.items():
            path = out / name
            note = progress.get(path)
            if note is None:
                packer.report = Report()
                digest = write_tensors(path, {tensor: tensors[tensor] for tensor in names}, packer.produce, bar.update)
                progress.add(path, digest, report=vars(packer.report))
            else:
                bar.update(sum(_bytes(tensors[tensor]) for tensor in names))
            notes.append(progress.get(path) or {})
    listed = {name: {"bytes": note["bytes"], "sha256": note["sha256"]} for name, note in zip(files, notes, strict=True)}
    for name in _TEXT_FILES:
        if (source.folder / name).exists():
            shutil.copyfile(source.folder / name, out / name)
            listed[name] = {"bytes": (out / name).stat().st_size, "sha256": sha256(out / name)}
    report = Report()
    for note in notes:
        for key in ("groups", "searched", "error", "torchao_error", "power"):
            setattr(report, key, getattr(report, key) + note["report"][key])
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "layout": LAYOUT,
        "embedding": embedding,
        "eos_ids": list(stop_ids(source.config, tokenizer)),
        "source": source.origin,
        "quantization": {"bits": 4, "calibrated": bool(calibration), **report.summary()},
        "made_with": {name: version(name) for name in ("torch", "torchao", "numpy")}
        | {"python": platform.python_version(), "machine": platform.machine()},
        "files": listed,
        "config": read_json(source.folder / "config.json", ""),
    }
    write_json(out / MANIFEST, manifest)
    for old in [*out.glob("weights-*"), *out.glob(PREFIX)]:
        if old.name not in listed:
            old.unlink()
    progress.finish()
    return out


def plan_files(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, list[str]]:
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


def calibrate(source: Source, text: Path | None, encode: Any) -> Calibration | None:
    """The calibration for a text file; None without one."""
    if text is None:
        return None
    from model_build.pack_calibrate import Calibration

    try:
        ids = encode(text.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PackError(f"{text} cannot be read ({error}): give a text file in UTF-8.") from None
    if len(ids) < 32:
        raise PackError(f"{text} has only {len(ids)} tokens: give a text of some pages.")
    return Calibration(source, ids)


class Packer:
    """Makes each of a bundle's tensors out of a checkpoint's."""

    def __init__(self, source: Source, calibration: Calibration | None) -> None:
        from model_build.quantize import Report

        self.report: Report = Report()
        self._source = source
        self._calibration = calibration
        self._layer = -1
        self._importance: dict[str, Tensor] = {}

    def produce(self, name: str) -> Iterator[npt.NDArray[Any]]:
        """The content of the bundle's tensor `name`, in blocks."""
        config = self._source.config
        if name.startswith("embedding.") and not name.endswith("packed"):
            yield from self._embedding(name)
        elif name == "norm":
            yield self._source.rows("model.norm.weight").numpy()
        elif name in ("head", "embedding.packed"):
            of_head = name == "head" and not config.tied
            importance = self._head_importance() if name == "head" else None
            yield from self._rows("lm_head.weight" if of_head else "model.embed_tokens.weight", importance)
        else:
            yield self._of_layer(*name.removeprefix("layers.").split("."))

    def _of_layer(self, number: str, name: str) -> npt.NDArray[Any]:
        from model_build.pack_source import stack

        at = f"model.layers.{number}."
        if name == "attention_norm":
            return self._source.rows(at + "input_layernorm.weight").numpy()
        if name == "mlp_norm":
            return self._source.rows(at + "post_attention_layernorm.weight").numpy()
        names = {
            "qkv": ["self_attn.q", "self_attn.k", "self_attn.v"],
            "out": ["self_attn.o"],
            "gate_up": ["mlp.gate", "mlp.up"],
            "down": ["mlp.down"],
        }[name]
        weight = stack([self._source.rows(f"{at}{part}_proj.weight") for part in names])
        config = self._source.config
        has_bias = config.attention_bias if name in ("qkv", "out") else config.mlp_bias
        bias = stack([self._source.rows(f"{at}{part}_proj.bias") for part in names]) if has_bias else None
        return self._matrix(weight, bias, self._importance_of(int(number)).get(name))

    def _importance_of(self, layer: int) -> dict[str, Tensor]:
        """Moves the calibration on to a layer; layers that were packed before are passed through."""
        while self._calibration and self._layer < layer:
            self._layer += 1
            self._importance = self._calibration.layer(self._layer)
        return self._importance

    def _head_importance(self) -> Tensor | None:
        self._importance_of(self._source.config.layers - 1)
        return self._calibration.head() if self._calibration else None

    def _rows(self, name: str, importance: Tensor | None) -> Iterator[npt.NDArray[Any]]:
        import torch

        vocab, rows = self._source.config.vocab, head_rows(self._source.config)
        for begin in range(0, rows, _ROWS):
            end = min(begin + _ROWS, rows)
            part = self._source.rows(name, begin, min(end, vocab))
            filling = torch.zeros(end - begin - len(part), part.shape[1])
            yield self._matrix(torch.cat([part, filling]), None, importance)

    def _matrix(self, weight: Tensor, bias: Tensor | None, importance: Tensor | None) -> npt.NDArray[np.uint8]:
        from model_build.pack_layout import pack as lay_out
        from model_build.quantize import round_weights

        values, scales = round_weights(weight, importance, self.report)
        return lay_out(values.numpy(), scales.numpy(), None if bias is None else bias.numpy())

    def _embedding(self, name: str) -> Iterator[npt.NDArray[Any]]:
        import torch

        from model_build.quantize import round_embedding

        for begin in range(0, self._source.config.vocab, _ROWS):
            values, scales = round_embedding(self._source.rows("model.embed_tokens.weight", begin, begin + _ROWS))
            yield values.numpy() if name.endswith("values") else scales.view(torch.uint16).numpy()


def _bytes(entry: tuple[str, tuple[int, ...]]) -> int:
    import math

    from storyteller.engine.tensorfile import WIDTHS

    return math.prod(entry[1]) * WIDTHS[entry[0]]
