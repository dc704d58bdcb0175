"""Tiny GGUF files of Llamas, written with the package gguf as llama.cpp's converter writes them.

path = write_gguf(tmp_path / "tiny.gguf", write_tiny_llama(tmp_path / "model"), types=[Type.Q4_0])
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from gguf import TokenType as Kind
from safetensors.torch import load_file
from torch import Tensor

PARTS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
#: Where in a block of 256 weights the scales in half precision lie; gguf cannot quantize to these types.
K_SCALES = {Type.Q2_K: (80, 82), Type.Q3_K: (108,), Type.Q4_K: (0, 2), Type.Q5_K: (0, 2), Type.Q6_K: (208,)}
WORDS = ("▁the", "▁gate", "▁green", "▁opens", "ates", "▁ci", "ty", "▁city")


def write_gguf(
    path: Path,
    folder: Path,
    *,
    types: Sequence[Type] = (Type.F32,),
    sentencepiece: bool = False,
    pre: str = "gpt-2",
    architecture: str = "llama",
    split_tensors: int = 0,
    divisors: Sequence[float] | None = None,
    **metadata: Any,
) -> Path:
    """Writes the checkpoint in `folder` as a GGUF file; matrices take `types` in turn.

    `metadata` are numbers, texts or lists by their names with __ for each dot, set instead of the model's own.
    """
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(str(path), architecture, split_max_tensors=split_tensors)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config["rope_theta"])
    if sentencepiece:
        _add_sentencepiece(writer, config["vocab_size"])
    else:
        _add_byte_level(writer, folder, config["vocab_size"], pre)
    for name, value in metadata.items():
        key = name.replace("__", ".")
        for part in writer.kv_data:
            part.pop(key, None)
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_uint32(key, value)
    if divisors is not None:
        writer.add_tensor("rope_freqs.weight", np.array(divisors, np.float32))
    turns = cycle(types)
    for name, tensor in load_file(folder / "model.safetensors").items():
        rows = tensor.float()
        heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(name.split(".")[-2])
        if heads:  # llama.cpp turns neighbouring rows, Hugging Face the two halves
            halves = rows.reshape(config[heads], 2, head_dim // 2, -1)
            rows = halves.transpose(1, 2).reshape(rows.shape)
        kind = next(turns) if rows.dim() == 2 else Type.F32
        data = np.ascontiguousarray(rows.numpy())
        writer.add_tensor(
            _name(name), _blocks(data, kind) if kind in K_SCALES else gguf.quantize(data, kind), raw_dtype=kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def llama_3_divisors(theta: float, head_dim: int, factor: float, low: float, high: float, original: int) -> list[float]:
    """What llama.cpp's converter writes as `rope_freqs` for a `rope_scaling` of the type llama3."""
    found = []
    for place in range(0, head_dim, 2):
        wavelength = 2 * math.pi * theta ** (place / head_dim)
        if wavelength < original / high:
            found.append(1.0)
        elif wavelength > original / low:
            found.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return found


def _name(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if stem.startswith("model.layers."):
        layer, part = stem.removeprefix("model.layers.").split(".", 1)
        return f"blk.{layer}.{PARTS[part]}.{kind}"
    return f"{PARTS[stem]}.{kind}"


def _blocks(data: np.ndarray[Any, Any], kind: Type) -> np.ndarray[Any, Any]:
    """Random blocks of a type, with scales that give weights of the usual size."""
    size = gguf.GGML_QUANT_SIZES[kind][1]
    random = np.random.default_rng(int(kind))
    blocks = random.integers(0, 256, (data.shape[0], data.shape[1] // 256, size), np.uint8)
    for place in K_SCALES[kind]:
        blocks[..., place : place + 2] = np.float16(1e-4).reshape(1).view(np.uint8)
    return blocks.reshape(data.shape[0], -1)


def _add_byte_level(writer: gguf.GGUFWriter, folder: Path, vocab: int, pre: str) -> None:
    written = json.loads((folder / "tokenizer.json").read_text())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    ids = {**written["model"]["vocab"], **{token["content"]: token["id"] for token in written["added_tokens"]}}
    tokens = sorted(ids, key=ids.__getitem__)
    specials = {token["content"] for token in written["added_tokens"]}
    kinds = [Kind.CONTROL if token in specials else Kind.NORMAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    _add_tokens(writer, tokens, kinds, vocab)
    writer.add_token_merges([" ".join(pair) for pair in written["model"]["merges"]])
    writer.add_bos_token_id(ids[settings["bos_token"]])
    writer.add_eos_token_id(ids[settings["eos_token"]])
    writer.add_add_bos_token(False)
    writer.add_chat_template(settings["chat_template"])


def _add_sentencepiece(writer: gguf.GGUFWriter, vocab: int) -> None:
    pieces = list(dict.fromkeys(word[:end] for word in WORDS for end in range(2, len(word) + 1)))
    letters = sorted({letter for word in WORDS for letter in word} | set("abcdefghijklmnop.!?"))
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces, *letters]
    kinds = [
        Kind.UNKNOWN,
        Kind.CONTROL,
        Kind.CONTROL,
        *[Kind.BYTE] * 256,
        *[Kind.NORMAL] * (len(pieces) + len(letters)),
    ]
    scores = [0.0] * 259 + [-float(place) for place in range(len(pieces) + len(letters))]
    writer.add_tokenizer_model("llama")
    _add_tokens(writer, tokens, kinds, vocab)
    writer.add_token_scores(scores + [-1e4] * (vocab - len(tokens)))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def _add_tokens(writer: gguf.GGUFWriter, tokens: list[str], kinds: list[Kind], vocab: int) -> None:
    filling = [f"[PAD{place}]" for place in range(len(tokens), vocab)]
    writer.add_token_list(tokens + filling)
    writer.add_token_types(kinds + [Kind.UNUSED] * len(filling))


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two state dicts hold the same numbers."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
