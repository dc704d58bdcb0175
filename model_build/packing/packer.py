"""Makes each of a bundle's tensors out of a model's, block by block: which tensor becomes which."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model_build.packing.balance import BALANCED, divide_rows, divisors
from model_build.packing.calibrate import Calibration, Inputs
from model_build.packing.gptq import round_by_gram
from model_build.packing.layout import pack
from model_build.packing.quantize import Report, dequantize, round_embedding, round_weights
from model_build.sources import Source, stack
from storyteller.engine.files.bundle import RESIDUAL, head_rows

#: Rows of an embedding or a head worked on at a time.
_ROWS = 4096


class Packer:
    """`produce` gives the tensors called `names` in their order; `report` adds up what rounding them cost."""

    def __init__(self, source: Source, calibration: Calibration | None, names: Collection[str]) -> None:
        self.report = Report()
        self._source = source
        self._calibration = calibration
        self._names = names
        self._layer = -1
        self._inputs: dict[str, Inputs] = {}
        self._residual: list[npt.NDArray[np.uint8]] = []

    def produce(self, name: str) -> Iterator[npt.NDArray[Any]]:
        """The content of the bundle's tensor `name`, in blocks."""
        if name.endswith(RESIDUAL):
            yield from self._residual
        elif name == "norm":
            yield self._source.weights("model.norm.weight").numpy()
        elif name.startswith("layers."):
            yield self._of_layer(name)
        elif name in ("head", "embedding.packed"):
            yield from self._rows(name)
        else:
            yield from self._embedding(name)

    def _of_layer(self, whole_name: str) -> npt.NDArray[Any]:
        _, number, name = whole_name.split(".")
        at = f"model.layers.{number}."
        inputs = self._inputs_of(int(number))
        by = {name: divisors(inputs[name].magnitudes) for name in BALANCED if inputs}
        norms = {"attention_norm": ("input_layernorm", "qkv"), "mlp_norm": ("post_attention_layernorm", "gate_up")}
        if name in norms:
            norm, following = norms[name]
            weight = self._source.weights(f"{at}{norm}.weight")
            return (weight / by[following] if by else weight).numpy()
        names = {
            "qkv": ["self_attn.q", "self_attn.k", "self_attn.v"],
            "out": ["self_attn.o"],
            "gate_up": ["mlp.gate", "mlp.up"],
            "down": ["mlp.down"],
        }[name]
        weight = stack([self._source.weights(f"{at}{part}_proj.weight") for part in names])
        config = self._source.config
        has_bias = {"qkv": config.qkv_bias, "out": config.out_bias}.get(name, config.mlp_bias)
        bias = stack([self._source.weights(f"{at}{part}_proj.bias") for part in names]) if has_bias else None
        if by and name == "gate_up":
            weight, bias = divide_rows(weight, by["down"]), None if bias is None else divide_rows(bias, by["down"])
        products = inputs[name].products if inputs else None
        if name in by:
            weight, products = weight * by[name], inputs[name].divided(by[name]).products
        self._residual.clear()
        return self._matrix(whole_name, weight, bias, products)

    def _inputs_of(self, layer: int) -> dict[str, Inputs]:
        """Moves the calibration on to a layer; layers that were packed before are passed through."""
        while self._calibration and self._layer < layer:
            self._layer += 1
            self._inputs = self._calibration.layer(self._layer)
        return self._inputs

    def _rows(self, name: str) -> Iterator[npt.NDArray[np.uint8]]:
        config, squares = self._source.config, None
        if name == "head" and self._calibration:
            self._inputs_of(config.layers - 1)
            squares = self._calibration.head()
        of_head = name == "head" and not config.tied
        rows = head_rows(config)
        self._residual.clear()
        for begin in range(0, rows, _ROWS):
            end = min(begin + _ROWS, rows)
            part = self._source.weights(
                "lm_head.weight" if of_head else "model.embed_tokens.weight", begin, min(end, config.vocab)
            )
            filling = torch.zeros(end - begin - len(part), part.shape[1])
            yield self._matrix(name, torch.cat([part, filling]), None, squares)

    def _matrix(self, name: str, weight: Tensor, bias: Tensor | None, products: Tensor | None) -> npt.NDArray[np.uint8]:
        """Packed rows of a matrix; those of its residual are kept until they are asked for.

        `products` are the mean outer products of its inputs, the mean square of each, or unknown.
        """
        report = Report()
        if products is not None and products.dim() == 2:
            values, scales = round_by_gram(weight, products, report)
        else:
            values, scales = round_weights(weight, products, report)
        if name + RESIDUAL in self._names:
            second = Report()
            rest = round_weights(weight - dequantize(values, scales), products, second)
            self._residual.append(pack(rest[0].numpy(), rest[1].numpy()))
            report.error = second.error
        self.report.add(report)
        return pack(values.numpy(), scales.numpy(), None if bias is None else bias.numpy())

    def _embedding(self, name: str) -> Iterator[npt.NDArray[Any]]:
        for begin in range(0, self._source.config.vocab, _ROWS):
            values, scales = round_embedding(self._source.weights("model.embed_tokens.weight", begin, begin + _ROWS))
            yield values.numpy() if name.endswith("values") else scales.view(torch.uint16).numpy()
