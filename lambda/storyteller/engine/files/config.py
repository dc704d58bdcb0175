"""A Llama's shape, read from a Hugging Face `config.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EngineError


@dataclass(frozen=True)
class Rope:
    """How positions turn into angles. `kind` is default (Llama 2 and 3), linear, llama3 (3.1, 3.2) or yarn."""

    theta: float = 10_000.0
    kind: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_context: int = 8192
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    #: What yarn multiplies sines and cosines by.
    attention_factor: float = 1.0


@dataclass(frozen=True)
class LlamaConfig:
    """The numbers that fix every tensor's shape, under our own short names."""

    vocab: int
    dim: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    norm_eps: float
    rope: Rope
    tied: bool
    qkv_bias: bool
    out_bias: bool
    mlp_bias: bool
    eos_ids: tuple[int, ...]


#: What is computed as a Llama is, by model type: the architecture that its config names.
_ARCHITECTURES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM"}

#: The greatest sizes taken for true, far above any published Llama's: a broken config must not fill the memory.
_MOST = {
    "vocab_size": 1 << 22,
    "hidden_size": 1 << 17,
    "intermediate_size": 1 << 19,
    "num_hidden_layers": 1024,
    "num_attention_heads": 4096,
    "num_key_value_heads": 4096,
    "head_dim": 4096,
    "max_position_embeddings": 1 << 26,
    "sliding_window": 1 << 26,
}


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object in a file; raises EngineError naming the file, with `remedy` when it is missing."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EngineError(f"{path} is missing: {remedy}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise EngineError(f"{path} cannot be read as JSON ({error}): download it again.") from None
    if not isinstance(value, dict):
        raise EngineError(f"{path} holds no JSON object: download it again.")
    return value


def read_config(folder: Path) -> LlamaConfig:
    """The config of a checkpoint folder; raises EngineError when it is missing or not a Llama's."""
    if folder.is_file():
        what = "a GGUF file" if folder.suffix == ".gguf" else "a file"
        raise EngineError(f"{folder} is {what}, not a folder: pack it first (python -m model_build pack {folder} …).")
    if not folder.is_dir():
        raise EngineError(f"The model folder {folder} does not exist: give the folder of a Hugging Face Llama.")
    if not (folder / "config.json").exists() and (files := sorted(folder.glob("*.gguf"))):
        raise EngineError(f"{folder} is a folder of GGUF files: pack one of them first, such as {files[0]}.")
    raw = read_json(
        folder / "config.json",
        "give a folder with a Hugging Face Llama checkpoint (config.json, *.safetensors, tokenizer.json).",
    )
    extra: list[int] = []
    generation = folder / "generation_config.json"
    if generation.exists():
        extra = _ids(read_json(generation, "").get("eos_token_id"), generation)
    return parse_config(raw, folder / "config.json", extra)


def parse_config(raw: Mapping[str, Any], path: Path | str, extra_eos: list[int] | None = None) -> LlamaConfig:
    """Checks a config's every field that the engine relies on; `path` is only named in errors."""
    kind = raw.get("model_type")
    known = _ARCHITECTURES.get(kind) if isinstance(kind, str) else None
    architectures = raw.get("architectures") or [known]
    if known is None or not isinstance(architectures, list) or known not in architectures:
        raise EngineError(
            f"{path} describes a {kind} model ({architectures}), which is not computed as a Llama is: "
            f"use a checkpoint of one of {', '.join(_ARCHITECTURES.values())}."
        )
    if raw.get("quantization_config"):
        raise EngineError(f"{path} is of a checkpoint that is already quantized: use the original 16-bit checkpoint.")
    if raw.get("hidden_act", "silu") != "silu":
        raise EngineError(f"{path}: hidden_act is {raw['hidden_act']}, but a Llama's is silu: use another checkpoint.")

    def whole(key: str, default: int | None = None) -> int:
        value = raw.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise EngineError(f"{path}: {key} is {value!r}, but must be a whole number above 0: download it again.")
        if value > _MOST[key]:
            raise EngineError(f"{path}: {key} is {value:,}, more than any Llama's ({_MOST[key]:,}): download it again.")
        return value

    dim, heads = whole("hidden_size"), whole("num_attention_heads")
    kv_heads = whole("num_key_value_heads", heads)
    if raw.get("head_dim") is None and dim % heads:
        raise EngineError(f"{path}: hidden_size {dim} is no multiple of num_attention_heads {heads}: give head_dim.")
    head_dim = whole("head_dim", dim // heads)
    if heads % kv_heads:
        raise EngineError(
            f"{path}: num_attention_heads {heads} is no multiple of num_key_value_heads {kv_heads}: correct one."
        )
    if head_dim % 2:
        raise EngineError(f"{path}: head_dim is {head_dim}, but rotary positions need an even one: correct it.")
    context = whole("max_position_embeddings", 2048)
    rope = _rope(raw, context, path)
    if kind == "mistral" and raw.get("sliding_window", 4096) is not None:
        context = min(context, whole("sliding_window", 4096))  # up to there a window changes nothing
    if kind == "qwen2" and raw.get("use_sliding_window"):
        context = min(context, whole("sliding_window", 4096))
    return LlamaConfig(
        vocab=whole("vocab_size"),
        dim=dim,
        intermediate=whole("intermediate_size"),
        layers=whole("num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        context=context,
        norm_eps=_number(raw, "rms_norm_eps", path, 1e-6),
        rope=rope,
        tied=bool(raw.get("tie_word_embeddings", False)),
        qkv_bias=kind == "qwen2" or bool(raw.get("attention_bias", False)),
        out_bias=kind != "qwen2" and bool(raw.get("attention_bias", False)),
        mlp_bias=bool(raw.get("mlp_bias", False)),
        eos_ids=tuple(dict.fromkeys([*_ids(raw.get("eos_token_id"), path), *(extra_eos or [])])),
    )


def _rope(raw: Mapping[str, Any], context: int, path: Path | str) -> Rope:
    """Both spellings: transformers 5 writes `rope_parameters`, earlier ones `rope_scaling` and `rope_theta`."""
    scaling = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(scaling, Mapping):
        raise EngineError(f"{path}: rope_scaling must be an object: download it again.")
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    theta = _number(scaling, "rope_theta", path, _number(raw, "rope_theta", path, 10_000.0))
    for source in (raw, scaling):
        if source.get("partial_rotary_factor") not in (None, 1, 1.0):
            raise EngineError(
                f"{path}: partial_rotary_factor is not supported: use a checkpoint that turns whole heads."
            )
    if kind in ("default", "dynamic"):  # dynamic changes nothing up to the context that the model was made for
        return Rope(theta=theta)
    if kind == "linear":
        return Rope(theta=theta, kind=kind, factor=_number(scaling, "factor", path))
    if kind == "llama3":
        return Rope(
            theta=theta,
            kind=kind,
            factor=_number(scaling, "factor", path),
            low_freq_factor=_number(scaling, "low_freq_factor", path),
            high_freq_factor=_number(scaling, "high_freq_factor", path),
            original_context=_original_context(raw, scaling, context, path),
        )
    if kind == "yarn":
        factor = _number(scaling, "factor", path)
        if any(scaling.get(key) for key in ("mscale", "mscale_all_dim")) or scaling.get("truncate") is False:
            raise EngineError(f"{path}: this form of yarn (mscale, truncate) is not supported: use another checkpoint.")
        return Rope(
            theta=theta,
            kind=kind,
            factor=factor,
            original_context=_original_context(raw, scaling, context, path),
            beta_fast=_number(scaling, "beta_fast", path, 32.0),
            beta_slow=_number(scaling, "beta_slow", path, 1.0),
            attention_factor=_number(scaling, "attention_factor", path, 0.1 * math.log(max(factor, 1.0)) + 1.0),
        )
    raise EngineError(
        f"{path}: the rope type {kind} is not supported: use a model with default, linear, dynamic, llama3 or yarn."
    )


def _original_context(raw: Mapping[str, Any], scaling: Mapping[str, Any], context: int, path: Path | str) -> int:
    key = "original_max_position_embeddings"
    source = scaling if scaling.get(key) else raw
    return int(_number(source, key, path, context))


def _number(source: Mapping[str, Any], key: str, path: Path | str, default: float | None = None) -> float:
    value = source.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise EngineError(f"{path}: {key} is {value!r}, but must be a number above 0: download it again.")
    return float(value)


def _ids(value: Any, path: Path | str) -> list[int]:
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if any(isinstance(item, bool) or not isinstance(item, int) for item in ids):
        raise EngineError(f"{path}: eos_token_id is {value!r}, but must be one or several token ids: correct it.")
    return ids
