"""Sentence embeddings by all-MiniLM-L6-v2 in plain numpy, from int8 weights.

One file of weights (the safetensors layout) and the tokenizer beside it make an embedder. The file is mapped
and stays int8, so processes share it; a matrix becomes float32 where it is multiplied (0.1 ms for the largest).
Nothing here looks at the CPU, so the vectors agree on every machine to about 1e-6. How the files come
to be is `index_build.embedder_build`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from prologue.errors import EmbedderError

Floats = npt.NDArray[np.float32]

WEIGHTS, TOKENIZER = "weights.safetensors", "tokenizer.json"
DIMENSIONS, LAYERS, HEADS = 384, 6, 12
#: Longer texts are cut, in tokens: a visitor's question is short.
TOKENS = 128
_EPSILON = np.float32(1e-12)


@dataclass(frozen=True)
class _Linear:
    weight: npt.NDArray[np.int8]  # [out, in]
    scale: Floats  # [out]
    bias: Floats  # [out]

    def __call__(self, x: Floats) -> Floats:
        """[..., in] to [..., out]."""
        product: Floats = x @ self.weight.astype(np.float32).T
        product *= self.scale
        product += self.bias
        return product


@dataclass(frozen=True)
class _Layer:
    qkv: _Linear  # 384 to 1152
    out: _Linear  # 384 to 384
    norm1: tuple[Floats, Floats]
    up: _Linear  # 384 to 1536
    down: _Linear  # 1536 to 384
    norm2: tuple[Floats, Floats]


class Embedder:
    """Turns texts into unit vectors. `id` names the exact weights; safe to use from several threads."""

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        if not (folder / WEIGHTS).is_file() or not (folder / TOKENIZER).is_file():
            raise EmbedderError(f"There is no embedder in {folder}: make one with `python -m prologue build`.")
        try:
            tensors, metadata = read_tensors(folder / WEIGHTS)
            self.id: str = metadata["embedder"]
            self._words: npt.NDArray[np.int8] = tensors["words"]
            self._word_scales: Floats = tensors["words.scale"]
            self._places: Floats = tensors["places"]
            self._norm = _norm(tensors, "norm")
            self._layers = [_layer(tensors, f"{n}.") for n in range(LAYERS)]
            self._tokenizer: Any = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:
            raise EmbedderError(
                f"The embedder in {folder} is broken ({error}): remove the folder and build it again."
            ) from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(TOKENS)

    def embed(self, texts: Sequence[str], batch: int = 32) -> Floats:
        """Unit vectors [len(texts), 384], one a text, in order. The empty text has one too."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch([clean_text(text) for text in texts])]
        vectors = np.zeros((len(ids), DIMENSIONS), np.float32)
        order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
        start = 0
        while start < len(order):
            # Only texts of one length share a batch: nothing is padded, so a text's vector
            # does not depend on its company.
            length = len(ids[order[start]])
            stop = start
            while stop < len(order) and stop - start < batch and len(ids[order[stop]]) == length:
                stop += 1
            group = order[start:stop]
            vectors[group] = self._forward(np.array([ids[n] for n in group], np.int64))
            start = stop
        return vectors

    def is_word(self, word: str) -> bool:
        """Whether a lower-case word is one token: a common word of the language."""
        return self._tokenizer.token_to_id(word) is not None

    def _forward(self, ids: npt.NDArray[np.int64]) -> Floats:
        """Token ids [batch, tokens] to unit vectors [batch, 384]."""
        x = self._words[ids].astype(np.float32) * self._word_scales[ids][..., None] + self._places[: ids.shape[1]]
        x = _normalize(x, self._norm)
        for layer in self._layers:
            x = _normalize(x + _attend(x, layer), layer.norm1)
            x = _normalize(x + layer.down(_gelu(layer.up(x))), layer.norm2)
        pooled = x.mean(axis=1)
        unit: Floats = pooled / np.sqrt((pooled * pooled).sum(axis=1, keepdims=True) + _EPSILON)
        return unit


def clean_text(text: str) -> str:
    """The text without lone surrogates, which the tokenizer cannot take."""
    return text.encode("utf-8", "replace").decode()


def read_tensors(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Tensors (mapped, read-only) and metadata of a safetensors file. Raises `ValueError` or `OSError`."""
    kinds = {"F32": np.float32, "F16": np.float16, "I8": np.int8, "I64": np.int64}
    raw = np.memmap(path, np.uint8, mode="r").view(np.ndarray)  # the plain class: memmap's own costs time at each use
    if raw.size < 8:
        raise ValueError("the file is too short")
    start = 8 + int.from_bytes(raw[:8].tobytes(), "little")
    header = json.loads(raw[8:start].tobytes())
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, about in header.items():
        begin, end = about["data_offsets"]
        tensors[name] = raw[start + begin : start + end].view(kinds[about["dtype"]]).reshape(about["shape"])
    return tensors, metadata


def _layer(tensors: dict[str, npt.NDArray[Any]], at: str) -> _Layer:
    return _Layer(
        qkv=_linear(tensors, at + "qkv"),
        out=_linear(tensors, at + "out"),
        norm1=_norm(tensors, at + "norm1"),
        up=_linear(tensors, at + "up"),
        down=_linear(tensors, at + "down"),
        norm2=_norm(tensors, at + "norm2"),
    )


def _linear(tensors: dict[str, npt.NDArray[Any]], name: str) -> _Linear:
    return _Linear(tensors[name], tensors[name + ".scale"], tensors[name + ".bias"])


def _norm(tensors: dict[str, npt.NDArray[Any]], name: str) -> tuple[Floats, Floats]:
    return tensors[name + ".weight"], tensors[name + ".bias"]


def _attend(x: Floats, layer: _Layer) -> Floats:
    batch, tokens, _ = x.shape
    qkv = layer.qkv(x).reshape(batch, tokens, 3, HEADS, DIMENSIONS // HEADS)
    q, k, v = qkv.transpose(2, 0, 3, 1, 4)
    scores = q @ k.transpose(0, 1, 3, 2) * np.float32(1 / math.sqrt(DIMENSIONS // HEADS))
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    mixed: Floats = (scores @ v).transpose(0, 2, 1, 3).reshape(batch, tokens, DIMENSIONS)
    return layer.out(mixed)


def _normalize(x: Floats, norm: tuple[Floats, Floats]) -> Floats:
    x = x - x.mean(axis=-1, keepdims=True)
    scaled: Floats = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + _EPSILON) * norm[0] + norm[1]
    return scaled


def _gelu(x: Floats) -> Floats:
    """x Φ(x), with erf after Abramowitz and Stegun 7.1.26 (absolute error under 1.5e-7)."""
    z = np.abs(x) * np.float32(math.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * (
        np.float32(0.254829592)
        + t
        * (
            np.float32(-0.284496736)
            + t * (np.float32(1.421413741) + t * (np.float32(-1.453152027) + t * np.float32(1.061405429)))
        )
    )
    tail = np.float32(0.5) * series * np.exp(-z * z)
    gelu: Floats = x * np.where(x < 0, tail, 1 - tail)
    return gelu
