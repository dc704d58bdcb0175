"""Llamas of real shapes with random weights, made on the spot: a bundle for us, a Q4_0 GGUF for llama.cpp.

Speed does not depend on what the weights are, so none need be downloaded. A block of random weights is
made once and written as often as a shape needs it; every byte has its own place in the file and memory.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_build.bundle import sha256, write_json, write_tensors
from model_build.pack import plan_files
from model_build.pack_layout import pack
from storyteller.engine.bundle import FORMAT, MANIFEST, VERSION, expected
from storyteller.engine.config import LlamaConfig, parse_config
from storyteller.engine.layout import LAYOUT

_LLAMA_3 = {"model_type": "llama", "vocab_size": 128256, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5}


def _shape(width: int, hidden: int, layers: int, heads: int, factor: float, tied: bool) -> dict[str, Any]:
    scaling = {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    return {
        **_LLAMA_3,
        "hidden_size": width,
        "intermediate_size": hidden,
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


def write_bundle(name: str, folder: Path, embedding: str = "int4") -> Path:
    """A bundle of random weights; one that is there already is taken."""
    if (folder / MANIFEST).exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    tensors = expected(shape_config(name), embedding)
    columns_of = _columns(shape_config(name))
    files = {}
    for file, names in plan_files(tensors).items():

        def produce(tensor: str) -> Iterator[npt.NDArray[Any]]:
            dtype, shape = tensors[tensor]
            if dtype == "F32":
                yield np.ones(shape, np.float32)
            elif dtype != "U8":
                yield np.zeros(shape, np.int8 if dtype == "I8" else np.uint16)
            else:
                yield from _random_packed(columns_of[tensor.rsplit(".", 1)[-1]], shape[0])

        digest = write_tensors(folder / file, {tensor: tensors[tensor] for tensor in names}, produce)
        files[file] = {"bytes": (folder / file).stat().st_size, "sha256": digest}
    _write_tokenizer(folder)
    files["tokenizer.json"] = {
        "bytes": (folder / "tokenizer.json").stat().st_size,
        "sha256": sha256(folder / "tokenizer.json"),
    }
    manifest = {"format": FORMAT, "version": VERSION, "layout": LAYOUT, "embedding": embedding, "eos_ids": []}
    write_json(
        folder / MANIFEST, {**manifest, "source": {"name": f"random {name}"}, "files": files, "config": SHAPES[name]}
    )
    return folder


def _columns(config: LlamaConfig) -> dict[str, int]:
    width, queries = config.width, config.heads * config.head_dim
    return {"qkv": width, "out": queries, "gate_up": width, "down": config.hidden, "head": width, "packed": width}


def _random_packed(columns: int, total: int) -> Iterator[npt.NDArray[np.uint8]]:
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
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.hidden)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope.theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_vocab_size(config.vocab)
    writer.add_file_type(2)
    writer.add_tokenizer_model("none")

    def matrix(tensor: str, rows: int, columns: int) -> None:
        random = np.random.default_rng(columns)
        block = np.empty((256, columns // 32, 18), np.uint8)
        block[..., :2] = np.float16(0.25 / columns**0.5 / 4).reshape(1).view(np.uint8)
        block[..., 2:] = random.integers(0, 256, (256, columns // 32, 16), np.uint8)
        whole = np.resize(block.reshape(256, -1), (rows, columns // 32 * 18))
        writer.add_tensor(tensor, whole, raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    matrix("token_embd.weight", config.vocab, config.width)
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    for layer in range(config.layers):
        at = f"blk.{layer}."
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{at}{norm}.weight", np.ones(config.width, np.float32))
        for tensor, rows, columns in [
            ("attn_q", queries, config.width),
            ("attn_k", keys, config.width),
            ("attn_v", keys, config.width),
            ("attn_output", config.width, queries),
            ("ffn_gate", config.hidden, config.width),
            ("ffn_up", config.hidden, config.width),
            ("ffn_down", config.width, config.hidden),
        ]:
            matrix(f"{at}{tensor}.weight", rows, columns)
    writer.add_tensor("output_norm.weight", np.ones(config.width, np.float32))
    if not config.tied:
        matrix("output.weight", config.vocab, config.width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.with_suffix(".part").replace(path)
    return path


def describe(name: str) -> str:
    """A shape in one line."""
    return json.dumps({key: SHAPES[name][key] for key in ("hidden_size", "num_hidden_layers", "intermediate_size")})
