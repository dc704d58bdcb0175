"""Llamas of real shapes with random weights, made on the spot: a bundle or a 16-bit checkpoint for us, a Q4_0
GGUF for llama.cpp.

    python -m bench.engine.random_llama {bundle,gguf,checkpoint} <shape> <path>

Speed does not depend on what the weights are, so none need be downloaded. A block of random weights is
made once and written as often as a shape needs it; every byte has its own place in the file and memory.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_build.packing.bundle import sha256, write_json, write_tensors
from model_build.packing.layout import bfloat16_bits, pack
from model_build.packing.pack import plan_files
from storyteller.engine.files.bundle import FORMAT, MANIFEST, VERSION, WeightTypes, expected
from storyteller.engine.files.checkpoint import expected_tensors
from storyteller.engine.files.config import LlamaConfig, parse_config
from storyteller.engine.files.layout import LAYOUT

_LLAMA_3 = {"model_type": "llama", "vocab_size": 128256, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5}


def _shape(dim: int, intermediate: int, layers: int, heads: int, factor: float, tied: bool) -> dict[str, Any]:
    scaling = {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    return {
        **_LLAMA_3,
        "hidden_size": dim,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "tie_word_embeddings": tied,
        "rope_theta": 500000.0,
        "rope_scaling": {**scaling, "original_max_position_embeddings": 8192},
    }


#: The published shapes of Llama 3.2 1B and 3B and of Llama 3.1 8B, and a small one to try a bench with.
SHAPES = {
    "tiny": {**_shape(256, 512, 2, 8, 32.0, True), "vocab_size": 512},
    "1B": _shape(2048, 8192, 16, 32, 32.0, True),
    "3B": _shape(3072, 8192, 28, 24, 32.0, True),
    "8B": _shape(4096, 14336, 32, 32, 8.0, False),
}


def shape_config(name: str) -> LlamaConfig:
    """A shape as the engine reads it."""
    return parse_config(SHAPES[name], Path(name))


def write_bundle(name: str, folder: Path) -> Path:
    """A bundle of random weights, head and embedding too in INT4; one that is there already is taken."""
    if (folder / MANIFEST).exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    config = shape_config(name)
    types = WeightTypes(embedding="head" if config.tied else "int4", head="int4")
    tensors = expected(config, types)
    columns_of = _columns(config)
    files = {}
    for file, names in plan_files(tensors).items():

        def produce(tensor: str) -> Iterator[npt.NDArray[Any]]:
            dtype, shape = tensors[tensor]
            if dtype == "F32":
                yield np.ones(shape, np.float32)
            elif dtype != "U8":
                yield np.zeros(shape, np.int8 if dtype == "I8" else np.uint16)
            else:
                yield from random_packed(columns_of[tensor.rsplit(".", 1)[-1]], shape[0])

        digest = write_tensors(folder / file, {tensor: tensors[tensor] for tensor in names}, produce)
        files[file] = {"bytes": (folder / file).stat().st_size, "sha256": digest}
    _write_tokenizer(folder)
    files["tokenizer.json"] = {
        "bytes": (folder / "tokenizer.json").stat().st_size,
        "sha256": sha256(folder / "tokenizer.json"),
    }
    manifest = {"format": FORMAT, "version": VERSION, "layout": LAYOUT, **vars(types), "eos_ids": []}
    write_json(
        folder / MANIFEST, {**manifest, "source": {"name": f"random {name}"}, "files": files, "config": SHAPES[name]}
    )
    return folder


def _columns(config: LlamaConfig) -> dict[str, int]:
    dim, queries = config.dim, config.heads * config.head_dim
    return {"qkv": dim, "out": queries, "gate_up": dim, "down": config.intermediate, "head": dim, "packed": dim}


def random_packed(columns: int, total: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Packed random weights of matrices of that many columns, `total` bytes of them, in blocks."""
    random = np.random.default_rng(columns)
    values = random.integers(-8, 8, (256, columns)).astype(np.int8)
    scale = 0.25 / columns**0.5
    block = pack(
        values, np.full((256, columns // 32), scale, np.float32) * random.choice([-1, 1], (256, columns // 32))
    )
    while total:
        part = block[:total]
        yield part
        total -= len(part)


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))


def write_gguf(name: str, path: Path) -> Path:
    """A Q4_0 file of random weights for llama.cpp, head and embedding too; needs the package gguf."""
    gguf: Any = importlib.import_module("gguf")

    if path.exists():
        return path
    config, shape = shape_config(name), SHAPES[name]
    writer = gguf.GGUFWriter(str(path.with_suffix(".part")), "llama")
    writer.add_context_length(shape["max_position_embeddings"])
    writer.add_embedding_length(config.dim)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.intermediate)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope.theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_vocab_size(config.vocab)
    writer.add_file_type(2)
    writer.add_tokenizer_model("none")

    # First every tensor's place, then their bytes one by one: an 8B's never lie in memory together.
    matrices = _gguf_matrices(config)
    norms = [f"blk.{layer}.{norm}.weight" for layer in range(config.layers) for norm in ("attn_norm", "ffn_norm")]
    norms.append("output_norm.weight")
    q4_0 = gguf.GGMLQuantizationType.Q4_0
    for tensor, (rows, columns) in matrices.items():
        wide = columns // 32 * 18
        writer.add_tensor_info(tensor, (rows, wide), np.dtype(np.uint8), rows * wide, raw_dtype=q4_0)
    for tensor in norms:
        writer.add_tensor_info(tensor, (config.dim,), np.dtype(np.float32), 4 * config.dim)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for rows, columns in matrices.values():
        writer.write_tensor_data(_random_q4_0(rows, columns))
    for _ in norms:
        writer.write_tensor_data(np.ones(config.dim, np.float32))
    writer.close()
    path.with_suffix(".part").replace(path)
    return path


def _gguf_matrices(config: LlamaConfig) -> dict[str, tuple[int, int]]:
    """llama.cpp's names of a Llama's matrices, with rows and columns."""
    dim, queries, keys = config.dim, config.heads * config.head_dim, config.kv_heads * config.head_dim
    found = {"token_embd.weight": (config.vocab, dim)}
    for layer in range(config.layers):
        for name, rows, columns in [
            ("attn_q", queries, dim),
            ("attn_k", keys, dim),
            ("attn_v", keys, dim),
            ("attn_output", dim, queries),
            ("ffn_gate", config.intermediate, dim),
            ("ffn_up", config.intermediate, dim),
            ("ffn_down", dim, config.intermediate),
        ]:
            found[f"blk.{layer}.{name}.weight"] = (rows, columns)
    if not config.tied:
        found["output.weight"] = (config.vocab, dim)
    return found


def _random_q4_0(rows: int, columns: int) -> npt.NDArray[np.uint8]:
    random = np.random.default_rng(columns)
    block = np.empty((256, columns // 32, 18), np.uint8)
    block[..., :2] = np.float16(0.25 / columns**0.5 / 4).reshape(1).view(np.uint8)
    block[..., 2:] = random.integers(0, 256, (256, columns // 32, 16), np.uint8)
    return np.resize(block.reshape(256, -1), (rows, columns // 32 * 18))


def write_checkpoint(name: str, folder: Path, shard_bytes: int = 5_000_000_000) -> Path:
    """A checkpoint of random bfloat16 weights in shards with an index, as Hugging Face keeps a large one."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = expected_tensors(shape_config(name))
    shards: list[list[str]] = [[]]
    size = 0
    for tensor, shape in shapes.items():
        count = 2 * math.prod(shape)
        if shards[-1] and size + count > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += count
    placed: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write_shard(folder / file, {tensor: shapes[tensor] for tensor in names})
        placed.update(dict.fromkeys(names, file))
    total = sum(2 * math.prod(shape) for shape in shapes.values())
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": placed})
    write_json(folder / "config.json", SHAPES[name])
    _write_tokenizer(folder)
    return folder


def _write_shard(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for tensor, shape in shapes.items():
        end = at + 2 * math.prod(shape)
        header[tensor] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes.values():
            columns = shape[-1]
            if len(shape) == 1:
                file.write(bfloat16_bits(np.ones(columns, np.float32)).data)
                continue
            random = np.random.default_rng(columns)
            block = bfloat16_bits(random.standard_normal((256, columns), np.float32) * np.float32(0.25 / columns**0.5))
            for begin in range(0, shape[0], 256):
                file.write(block[: shape[0] - begin].data)


def main() -> None:
    """`random_llama.py WHAT SHAPE PATH`."""
    what, shape, path = sys.argv[1:]
    makers: dict[str, Callable[[str, Path], Path]] = {
        "bundle": write_bundle,
        "gguf": write_gguf,
        "checkpoint": write_checkpoint,
    }
    print(makers[what](shape, Path(path)))


if __name__ == "__main__":
    main()
