"""Sentence embeddings by all-MiniLM-L6-v2 in plain numpy, from int8 weights.

One file of weights (the safetensors layout) and the tokenizer beside it make an embedder. The linear
layers are unpacked to float32 when it is loaded, the word table stays int8 and mapped. Nothing here
looks at the CPU, so the vectors agree on every machine to about 1e-6. How the files come to be is
`embedder_build`.
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
class _Layer:
    qkv: Floats  # [384, 1152]
    qkv_bias: Floats
    out: Floats  # [384, 384]
    out_bias: Floats
    norm1: tuple[Floats, Floats]
    up: Floats  # [384, 1536]
    up_bias: Floats
    down: Floats  # [1536, 384]
    down_bias: Floats
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
            self._word_scales: Floats = tensors["words.scale"].astype(np.float32)
            self._places: Floats = _float(tensors, "places")
            self._norm = (_float(tensors, "norm.weight"), _float(tensors, "norm.bias"))
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
            x = _normalize(x + (_gelu(x @ layer.up + layer.up_bias) @ layer.down + layer.down_bias), layer.norm2)
        pooled = x.mean(axis=1)
        unit: Floats = pooled / np.sqrt((pooled * pooled).sum(axis=1, keepdims=True) + _EPSILON)
        return unit


def clean_text(text: str) -> str:
    """The text without lone surrogates, which the tokenizer cannot take."""
    return text.encode("utf-8", "replace").decode()


def read_tensors(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Tensors (mapped, read-only) and metadata of a safetensors file. Raises `ValueError` or `OSError`."""
    kinds = {"F32": np.float32, "F16": np.float16, "I8": np.int8, "I64": np.int64}
    raw = np.memmap(path, np.uint8, mode="r")
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


def _float(tensors: dict[str, npt.NDArray[Any]], name: str) -> Floats:
    """A tensor as float32, with its scales (one a row) where it has some."""
    value: Floats = tensors[name].astype(np.float32)
    if name + ".scale" in tensors:
        value *= tensors[name + ".scale"].astype(np.float32)[:, None]
    return value


def _layer(tensors: dict[str, npt.NDArray[Any]], at: str) -> _Layer:
    # The file has [out, in], one scale an output row. Transposed views are as fast for BLAS.
    return _Layer(
        qkv=_float(tensors, at + "qkv").T,
        qkv_bias=_float(tensors, at + "qkv.bias"),
        out=_float(tensors, at + "out").T,
        out_bias=_float(tensors, at + "out.bias"),
        norm1=(_float(tensors, at + "norm1.weight"), _float(tensors, at + "norm1.bias")),
        up=_float(tensors, at + "up").T,
        up_bias=_float(tensors, at + "up.bias"),
        down=_float(tensors, at + "down").T,
        down_bias=_float(tensors, at + "down.bias"),
        norm2=(_float(tensors, at + "norm2.weight"), _float(tensors, at + "norm2.bias")),
    )


def _attend(x: Floats, layer: _Layer) -> Floats:
    batch, tokens, _ = x.shape
    qkv = (x @ layer.qkv + layer.qkv_bias).reshape(batch, tokens, 3, HEADS, DIMENSIONS // HEADS)
    q, k, v = qkv.transpose(2, 0, 3, 1, 4)
    scores = q @ k.transpose(0, 1, 3, 2) * np.float32(1 / math.sqrt(DIMENSIONS // HEADS))
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    mixed: Floats = (scores @ v).transpose(0, 2, 1, 3).reshape(batch, tokens, DIMENSIONS)
    attended: Floats = mixed @ layer.out + layer.out_bias
    return attended


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
