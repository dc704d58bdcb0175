"""A GGUF file of a Llama as a source: its weights dequantized, its config and tokenizer as Hugging Face has them.

    source = open_gguf(Path("model.gguf"))       # or any part of a split one

The package `gguf` parses and dequantizes; here llama.cpp's names and its order of a head's rows become
Hugging Face's.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from torch import Tensor

from model_build.sources import Source, SourceError
from model_build.sources.gguf_tokenizer import GgufTokenizer
from storyteller.engine.files.checkpoint import expected_tensors
from storyteller.engine.files.config import parse_config

#: Hugging Face's names of a layer's parts, and llama.cpp's.
_PARTS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_ENDS = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_SPLIT = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")
_FLOATS = (Type.F32, Type.F16, Type.BF16)
#: What the reader of a broken file may fall over.
_BROKEN = (ValueError, KeyError, IndexError, TypeError, OverflowError, MemoryError, OSError)


class GgufSource(Source):
    """A Llama in one GGUF file or in several parts; its text files lie in a temporary folder."""

    def __init__(self, path: Path) -> None:
        self._paths = parts_of(path)
        readers = [_read(part) for part in self._paths]
        self._path, self._metadata = self._paths[0], _metadata(readers[0])
        self._tensors = {tensor.name: tensor for reader in readers for tensor in reader.tensors}
        self._check_types()
        raw = self._config()
        tokenizer = GgufTokenizer(self._metadata, self._path)
        self.folder = Path(tempfile.mkdtemp(prefix="gguf-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.name, self.revision = str(path), fingerprint(self._paths)
        kinds = dict.fromkeys(tensor.tensor_type for tensor in self._tensors.values())
        self.rounded = tuple(kind.name for kind in kinds if kind not in _FLOATS)
        ends = tokenizer.end_ids()
        raw.update({"bos_token_id": tokenizer.special("bos"), "eos_token_id": ends})
        self.config = parse_config(raw, self._path)
        if len(tokenizer.tokens) > self.config.vocab:
            raise SourceError(
                f"{self._path} has {len(tokenizer.tokens):,} tokens for {self.config.vocab:,} rows: convert it again."
            )
        self._check_shapes()
        self._write("config.json", raw)
        self._write("generation_config.json", {"bos_token_id": raw["bos_token_id"], "eos_token_id": ends})
        self._write("tokenizer_config.json", tokenizer.settings())
        tokenizer.vocabulary.save(str(self.folder / "tokenizer.json"))

    def stored(self, name: str) -> str:
        """Vectors stay in 32 bits; matrices keep their 16 bits, or take half precision, which is the finer one."""
        tensor = self._tensors[_name(name)]
        if len(tensor.shape) == 1:
            return "F32"
        return "BF16" if tensor.tensor_type == Type.BF16 else "F16"

    def rows(self, name: str, begin: int = 0, end: int | None = None) -> Tensor:
        """Rows of a tensor as float32, by Hugging Face's name and in its order."""
        tensor = self._tensors[_name(name)]
        heads = {"q_proj": self.config.heads, "k_proj": self.config.kv_heads}.get(name.split(".")[-2])
        if heads is None:
            return _floats(tensor.data[begin:end], tensor.tensor_type)
        return unpermute(_floats(tensor.data, tensor.tensor_type), heads)[begin:end]

    def _config(self) -> dict[str, Any]:
        architecture = self._metadata.get("general.architecture")
        if architecture != "llama":
            raise SourceError(f"{self._path} holds a model of the architecture {architecture}: use a Llama's.")
        if self._value("expert_count", 0):
            raise SourceError(f"{self._path} is a mixture of {self._value('expert_count')} experts: use a dense Llama.")
        dim, heads = self._whole("embedding_length"), self._whole("attention.head_count")
        head_dim = self._value("attention.key_length") or dim // heads
        for key in ("attention.value_length", "rope.dimension_count"):
            if self._value(key, head_dim) != head_dim:
                raise SourceError(
                    f"{self._path}: {key} is {self._value(key)}, not a head's {head_dim}: use another model."
                )
        if (embedding := self._tensors.get("token_embd.weight")) is None:
            raise SourceError(f"{self._path} lacks the tensor token_embd.weight: download it again.")
        theta = _short(self._value("rope.freq_base", 10_000.0))
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "vocab_size": int(embedding.shape[1]),
            "hidden_size": dim,
            "intermediate_size": self._whole("feed_forward_length"),
            "num_hidden_layers": self._whole("block_count"),
            "num_attention_heads": heads,
            "num_key_value_heads": self._whole("attention.head_count_kv", heads),
            "head_dim": head_dim,
            "max_position_embeddings": self._whole("context_length"),
            "rms_norm_eps": _short(self._value("attention.layer_norm_rms_epsilon", 1e-5)),
            "rope_theta": theta,
            "rope_scaling": self._rope_scaling(theta, head_dim),
            "tie_word_embeddings": "output.weight" not in self._tensors,
            "attention_bias": "blk.0.attn_q.bias" in self._tensors,
            "mlp_bias": "blk.0.ffn_down.bias" in self._tensors,
            "dtype": "bfloat16" if embedding.tensor_type == Type.BF16 else "float16",
        }

    def _rope_scaling(self, theta: float, head_dim: int) -> dict[str, Any] | None:
        kind = self._value("rope.scaling.type", "none")
        factor = self._value("rope.scaling.factor") or self._value("rope.scale_linear") or 1.0
        if kind not in ("none", "linear"):
            raise SourceError(
                f"{self._path} scales its positions by {kind}: use a model with linear or llama3 scaling."
            )
        divisors = self._tensors.get("rope_freqs.weight")
        if divisors is None:
            return None if factor == 1.0 else {"rope_type": "linear", "factor": _short(factor)}
        found = rope_scaling(np.asarray(divisors.data, np.float64), theta, head_dim)
        if found is None:
            raise SourceError(f"{self._path}: rope_freqs is not Llama 3.1's scaling of positions: use another model.")
        return found or None

    def _check_types(self) -> None:
        for tensor in self._tensors.values():
            try:
                gguf.dequantize(tensor.data[:1], tensor.tensor_type)
            except NotImplementedError:
                raise SourceError(
                    f"{self._path}: {tensor.name} is stored as {tensor.tensor_type.name}, which cannot be read: use a "
                    "file in F16, BF16, Q8_0, Q4_K or the like."
                ) from None

    def _check_shapes(self) -> None:
        for name, shape in expected_tensors(self.config).items():
            tensor = self._tensors.get(_name(name))
            if tensor is None:
                raise SourceError(f"{self._path} lacks the tensor {_name(name)}: download or convert it again.")
            if tuple(tensor.shape.tolist()[::-1]) != shape:
                raise SourceError(
                    f"{self._path}: {tensor.name} has the shape {tensor.shape.tolist()[::-1]}, but by its metadata "
                    f"it must be {list(shape)}: convert it again."
                )

    def _value(self, key: str, default: Any = None) -> Any:
        return self._metadata.get(f"llama.{key}", default)

    def _whole(self, key: str, default: int | None = None) -> int:
        value = self._value(key, default)
        if not isinstance(value, int):
            raise SourceError(
                f"{self._path}: llama.{key} is {value!r}, but must be one whole number: convert it again."
            )
        return value

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        (self.folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def kind_of_head(path: Path) -> str:
    """The type in which a file keeps the head, or the embedding where the two are tied."""
    kinds = {tensor.name: tensor.tensor_type.name for part in parts_of(path) for tensor in _read(part).tensors}
    return str(kinds.get("output.weight", kinds["token_embd.weight"]))


def parts_of(path: Path) -> list[Path]:
    """All files of a GGUF of which one is given. Raises SourceError when one is missing."""
    match = _SPLIT.fullmatch(path.name)
    names = [path.name]
    if match:
        names = [f"{match[1]}-{number:05d}-of-{match[3]}.gguf" for number in range(1, int(match[3]) + 1)]
    for name in names:
        if not (path.parent / name).is_file():
            raise SourceError(f"{path.parent / name} is missing: download every part of the model.")
    return [path.parent / name for name in names]


def fingerprint(paths: Iterable[Path]) -> str:
    """Names the content of files by their beginnings, ends, lengths and times, without reading gigabytes."""
    digest = hashlib.sha256()
    for path in paths:
        stat = path.stat()
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, stat.st_size - (1 << 16)))
            digest.update(file.read())
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}".encode())
    return f"local-{digest.hexdigest()[:24]}"


def unpermute(weight: Tensor, heads: int) -> Tensor:
    """A query's or key's rows as Hugging Face has them: llama.cpp turns neighbouring rows, it the two halves."""
    return weight.view(heads, len(weight) // heads // 2, 2, -1).transpose(1, 2).reshape(weight.shape)


def rope_scaling(divisors: np.ndarray[Any, np.dtype[np.float64]], theta: float, head_dim: int) -> dict[str, Any] | None:
    """Llama 3.1's parameters for what a GGUF divides each frequency by; {} for no scaling, None if there are none.

    Between its low and its high frequencies Llama 3.1 blends: 1 / divisor = (1 - s) / factor + s, where s is a
    straight line over the frequency. Two points give that line; of the three numbers behind it, the low
    factor is 1, as in every Llama.
    """
    if len(divisors) != head_dim // 2:
        return None
    if np.allclose(divisors, 1.0):
        return {}
    frequencies = theta ** -(np.arange(0, head_dim, 2) / head_dim)
    factor = float(divisors.max())
    shares = (1 / divisors - 1 / factor) / (1 - 1 / factor)  # s
    candidates = [(4.0, 8192)]
    blended = np.flatnonzero((shares > 1e-4) & (shares < 1 - 1e-4))
    if len(blended) > 1:
        first, last = blended[0], blended[-1]
        slope = (shares[first] - shares[last]) / (frequencies[first] - frequencies[last])
        constant = shares[first] - slope * frequencies[first]
        if constant < 0 < slope:
            high = 1 - 1 / constant
            candidates.append((_near(high), round(slope * (high - 1) * 2 * math.pi)))
    for high, original in candidates:
        line = np.clip((original * frequencies / (2 * math.pi) - 1) / (high - 1), 0, 1)
        if np.allclose(1 / ((1 - line) / factor + line), divisors, rtol=1e-4):
            return {
                "rope_type": "llama3",
                "factor": _near(factor),
                "low_freq_factor": 1.0,
                "high_freq_factor": high,
                "original_max_position_embeddings": original,
            }
    return None


def _near(value: float) -> float:
    """The whole number that float32 arithmetic has missed by a little; else the value."""
    return float(round(value)) if abs(value - round(value)) < 1e-3 else value


def _read(path: Path) -> gguf.GGUFReader:
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise SourceError(f"{path} is not a GGUF file: give one that llama.cpp can load.")
    try:
        with np.errstate(all="ignore"):
            reader = gguf.GGUFReader(path)
    except _BROKEN as error:
        raise SourceError(f"{path} is cut short or broken ({error}): download it again.") from None
    if reader.byte_order == "S":
        raise SourceError(f"{path} is written for machines of the other byte order: use the usual little-endian file.")
    return reader


def _metadata(reader: gguf.GGUFReader) -> dict[str, Any]:
    return {name: field.contents() for name, field in reader.fields.items()}


def _name(name: str) -> str:
    """llama.cpp's name of a tensor called `name` by Hugging Face."""
    if name in _ENDS:
        return _ENDS[name]
    _, _, layer, rest = name.split(".", 3)
    part, _, kind = rest.rpartition(".")
    return f"blk.{layer}.{_PARTS[part]}.{kind}"


def _floats(data: Any, kind: Type) -> Tensor:
    return torch.from_numpy(np.array(gguf.dequantize(data, kind), np.float32))


def _short(value: float) -> float:
    """A float32 as it was written: 1e-05 instead of 9.99999974e-06."""
    return float(str(np.float32(value)))
