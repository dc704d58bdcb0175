"""A Hugging Face Llama checkpoint folder: which tensors it must hold, and its bytes as torch tensors.

Knows names, shapes and element types; reads through `reading` and computes nothing but a change of
type. torch is imported only once the reading has begun.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EngineError
from .config import LlamaConfig, read_config
from .reading import Part, Progress, Reading
from .tensorfile import TensorSpan, open_checkpoint

if TYPE_CHECKING:
    import torch

_FLOATS = ("F32", "F16", "BF16")


def expected_tensors(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a Llama in the order of use, by Hugging Face's names, with its shape."""
    c = config
    q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (c.vocab, c.dim)}
    for i in range(c.layers):
        at = f"model.layers.{i}."
        shapes[at + "input_layernorm.weight"] = (c.dim,)
        for name, (rows, columns) in {
            "q": (q, c.dim),
            "k": (kv, c.dim),
            "v": (kv, c.dim),
            "o": (c.dim, q),
        }.items():
            shapes[f"{at}self_attn.{name}_proj.weight"] = (rows, columns)
            if c.out_bias if name == "o" else c.qkv_bias:
                shapes[f"{at}self_attn.{name}_proj.bias"] = (rows,)
        shapes[at + "post_attention_layernorm.weight"] = (c.dim,)
        for name, (rows, columns) in {
            "gate": (c.intermediate, c.dim),
            "up": (c.intermediate, c.dim),
            "down": (c.dim, c.intermediate),
        }.items():
            shapes[f"{at}mlp.{name}_proj.weight"] = (rows, columns)
            if c.mlp_bias:
                shapes[f"{at}mlp.{name}_proj.bias"] = (rows,)
    shapes["model.norm.weight"] = (c.dim,)
    if not c.tied:
        shapes["lm_head.weight"] = (c.vocab, c.dim)
    return shapes


def find_tensors(folder: Path, config: LlamaConfig) -> dict[str, TensorSpan]:
    """Where each expected tensor lies; raises EngineError for one that is missing or of another shape."""
    spans = open_checkpoint(folder)
    found: dict[str, TensorSpan] = {}
    for name, shape in expected_tensors(config).items():
        span = spans.get(name)
        if span is None and name == "lm_head.weight":
            raise EngineError(
                f"{folder} has no lm_head.weight: if its head is the embedding, say so in config.json "
                '("tie_word_embeddings": true), else download the whole checkpoint again.'
            )
        if span is None:
            raise EngineError(f"{folder} lacks the tensor {name}: download the whole checkpoint again.")
        if span.shape != shape:
            raise EngineError(
                f"{span.path}: {name} has shape {list(span.shape)}, but config.json asks for {list(shape)}: "
                "use the config.json that belongs to these weights."
            )
        if span.dtype not in _FLOATS:
            raise EngineError(f"{span.path}: {name} is stored as {span.dtype}: use a checkpoint in bf16, f16 or f32.")
        found[name] = span
    return found


def read_checkpoint_config(folder: Path) -> LlamaConfig:
    """A folder's config; not tied, whatever config.json says, where the files hold another head than the embedding."""
    config = read_config(folder)
    if config.tied:
        spans = open_checkpoint(folder)
        head, embedding = spans.get("lm_head.weight"), spans.get("model.embed_tokens.weight")
        if head and embedding and not _same_bytes(head, embedding):
            return replace(config, tied=False)
    return config


def _same_bytes(a: TensorSpan, b: TensorSpan) -> bool:
    if a.end - a.begin != b.end - b.begin or a.dtype != b.dtype:
        return False
    with a.path.open("rb") as first, b.path.open("rb") as second:
        first.seek(a.begin)
        second.seek(b.begin)
        left = a.end - a.begin
        while left:
            step = min(left, 1 << 20)
            if first.read(step) != second.read(step):
                return False
            left -= step
    return True


class CheckpointReading:
    """A checkpoint's tensors being read; the threads start when this is made."""

    def __init__(self, folder: Path, config: LlamaConfig, progress: Progress, pace_s: float) -> None:
        self._spans = find_tensors(folder, config)
        self._buffers = {name: mmap.mmap(-1, span.end - span.begin) for name, span in self._spans.items()}
        parts = [
            Part(span.path, span.begin, span.end, memoryview(self._buffers[name])) for name, span in self._spans.items()
        ]
        self.reading = Reading(parts, progress, pace_s=pace_s)

    def tensors(self, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
        """Waits for the bytes, then yields each tensor in order of use, as `dtype`."""
        import torch

        self.reading.wait()
        stored = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
        for name, span in self._spans.items():
            buffer = self._buffers.pop(name)
            yield name, torch.frombuffer(buffer, dtype=stored[span.dtype]).view(span.shape).to(dtype)
