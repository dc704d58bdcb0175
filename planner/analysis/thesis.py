"""The thesis' dashboard of 2024, reproduced, with what each of its answers leaves out.

Its page multiplied factors of four changes as if they were independent: precision, input tokens, output tokens and
model size. Data, lines and ambiguities are in `thesis.yaml`; regressions are refits of its printed tables,
as it prints no coefficient.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DATA = Path(__file__).resolve().parent / "thesis.yaml"
#: The dashboard's fixed factors from one precision to another.
PRECISIONS = ("16", "8", "4")


class Factor(NamedTuple):
    """One change: what the dashboard multiplies by, and why that misleads."""

    name: str
    factor: float
    caution: str


@cache
def data() -> dict[str, Any]:
    """All of the thesis' figures."""
    found: dict[str, Any] = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    return found


def precision(before: str, after: str) -> Factor:
    """From 16, 8 or 4 bits to another."""
    factors = data()["framework_factors"]
    of = {
        ("16", "8"): factors["bf16_to_fp8"]["factor"],
        ("16", "4"): factors["bf16_to_int4"]["factor"],
        ("8", "16"): factors["fp8_to_bf16"]["factor"],
        ("4", "16"): factors["int4_to_bf16"]["factor"],
        ("8", "4"): factors["fp8_to_int4"]["repo"],
        ("4", "8"): factors["int4_to_fp8"]["repo"],
    }
    caution = (
        "One model, LLaMA 70B, that went from eight GPUs to four as well. At equal hardware the thesis' table 11 has "
        "0.51-0.64 for 8 bits and 0.37-0.63 for 4."
    )
    return Factor("precision", of.get((before, after), 1.0), caution if before != after else "")


def input_tokens(before: float, after: float) -> Factor:
    """By the dashboard's parabola."""
    fit = data()["refits"]["input_quadratic"]
    caution = (
        "Energy for output tokens, which grew with the input: a prompt's own energy rises 38 times where this says 6.6."
    )
    if after > 38_000:
        caution = "Beyond 38,000 tokens the parabola falls: a longer prompt would cost less. " + caution
    return Factor("input tokens", _parabola(fit, after) / _parabola(fit, before), caution)


def output_tokens(before: float, after: float) -> Factor:
    """By the parabola of table 6."""
    fit = data()["refits"]["output_quadratic"]
    caution = "Measured on 1,000 prompts and scaled; below 41 tokens the fit is up to 11% off."
    return Factor("output tokens", _parabola(fit, after) / _parabola(fit, before), caution)


def model_size(before: float, after: float) -> Factor:
    """By the exponential, in billions of parameters."""
    fit = data()["refits"]["size_exponential"]
    caution = (
        "The bend is the step from four to eight GPUs. On one machine energy is linear in the parameters: "
        f"{_linear(before, after):.2g} times."
    )
    if max(before, after) > 70:
        caution += " Beyond 70 B it is extrapolation: a 405B would take 360 MWh for 7,500 prompts."
    return Factor("model size", math.exp(fit["b"] * (after - before)), caution)


def together(factors: list[Factor]) -> float:
    """The dashboard's product."""
    return math.prod(one.factor for one in factors)


def pareto() -> list[tuple[float, float, str]]:
    """(Wh for 1,000 prompts, score, setup): the front of tables 10 and 11, which the thesis does not draw."""
    return [tuple(row) for row in data()["table_11_quant_energy"]["derived"]["pareto_wh_to_score"]]


def _linear(before: float, after: float) -> float:
    fit = data()["refits"]["size_linear_8_gpus"]
    return float((fit["a"] + fit["b"] * after) / (fit["a"] + fit["b"] * before))


def _parabola(fit: dict[str, float], x: float) -> float:
    return fit["a"] + fit["b"] * x + fit["c"] * x * x
