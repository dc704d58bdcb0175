"""How fast a model is in a place, and how good: published points, this project's benches, and rules between them.

Decoding reads every weight for every token, so speed is bytes over bandwidth. The bandwidths are fitted to the two
published points; `calibration()` says how far the predictions then lie from every published point, fitted or not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from overture.accounting.ranges import Range
from planner.costs.prices import INSTANCES, Instance
from planner.scenario import Engine, Model, Place, Precision, Scenario, ScenarioError, Shape


class Llama(NamedTuple):
    """A shape: parameters, weights in GB by precision, and a published score."""

    parameters_b: float
    gigabytes: dict[Precision, float]
    mmlu: float
    source: str


#: INT4: the memory that bench.engine measured (README); 135M, int8 and 16: parameters times bits.
LLAMAS: dict[Shape, Llama] = {
    "135M": Llama(0.135, {"int4": 0.11, "int8": 0.15, "16": 0.27}, 29.3, "SmolLM2-135M-Instruct's card (MMLU, cloze)"),
    "1B": Llama(1.24, {"int4": 0.98, "int8": 1.3, "16": 2.5}, 49.3, "Llama 3.2 1B Instruct's card (MMLU, 5-shot)"),
    "3B": Llama(3.21, {"int4": 2.11, "int8": 3.4, "16": 6.4}, 63.4, "Llama 3.2 3B Instruct's card (MMLU, 5-shot)"),
    "8B": Llama(8.03, {"int4": 4.84, "int8": 8.5, "16": 16.1}, 69.4, "Llama 3.1 8B Instruct's card (MMLU, 5-shot)"),
}
#: What is left of a score at a precision: LLaMA 3.1 8B on Arena-Hard, thesis table 10 (fp8 for int8, AWQ for int4).
RETAINED: dict[Precision, float] = {"16": 1.0, "int8": 33.65 / 33.83, "int4": 29.40 / 33.83}
#: GB/s that decoding reads. Lambda at 10 GB: 2.5 tokens/s x 4.84 GB, as published; high: a roofline of its memory,
#: 4 tokens/s. A vCPU of Graviton4: 25 tokens/s on 16 of them, as published; high: 33, the other reference's.
LAMBDA_GB_S = Range(2.5 * 4.84, 2.5 * 4.84, 4 * 4.84)
GRAVITON4_GB_S = Range(25 * 4.84, 25 * 4.84, 33 * 4.84)
#: Decode speed of other engines over ours at the same shape (bench.engine, README: medians of 1B, 3B and 8B).
ENGINE: dict[Engine, float] = {"ours": 1.0, "llama.cpp": 1 / 1.10, "transformers": 1 / 6.7}
#: Tokens of a prompt that are computed in the time of one decoded token (bench.engine at 8B: 54.5 over 8.3).
PREFILL_RATIO = 54.5 / 8.3
#: Seconds of a start that no weight explains (image, runtime, import torch), and seconds a GB: 50 s at 8B, published.
START_FIXED_S = 8.0
START_S_GB = (50 - START_FIXED_S) / 4.84
#: A restored snapshot, as AWS gives no figure for 10 GB.
RESTORE_S = Range(1, 3, 10)
#: A hosted API: first token and speed that small models commonly have there.
API_FIRST_S, API_TOKENS_S = 0.5, 80.0
#: Memory beside the weights: runtime, libraries and the cache of a context of 4,096 (bench.engine: 5.0 GiB for an 8B).
BESIDE_GB = 0.6
#: Words of a token, and words a minute that people read (Brysbaert 2019, fiction: 260).
WORDS_A_TOKEN, READING_WPM = 0.75, 260
#: The published demo's line for an interactive chat: 100 ms a token.
INTERACTIVE_TOKENS_S = 10.0


class Speeds(NamedTuple):
    """What the simulation needs to know of a model in a place. `start_s` is 0 where nothing starts."""

    tokens_per_s: Range
    prefill_per_s: float
    first_fixed_s: float
    start_s: float


def weights_gb(model: Model) -> float:
    """Bytes of the weights, in GB."""
    return LLAMAS[model.shape].gigabytes[model.precision]


def quality(model: Model) -> float:
    """A score for ranking: the shape's published MMLU times what the precision retains. No measurement of stories."""
    return LLAMAS[model.shape].mmlu * RETAINED[model.precision]


def speeds(scenario: Scenario) -> Speeds:
    """The speeds of a scenario. Raises `ScenarioError` where the model does not fit."""
    model, place = scenario.model, scenario.place
    if place.kind == "api":
        rate = model.tokens_per_s or API_TOKENS_S
        return Speeds(Range.exactly(rate), 10_000, API_FIRST_S, 0.0)
    check_fit(model, place)
    bandwidth = _bandwidth(place)
    rate_range = bandwidth * (ENGINE[model.engine] / weights_gb(model))
    if model.tokens_per_s is not None:
        rate_range = Range.exactly(model.tokens_per_s)
    start = 0.0
    if place.kind in ("lambda", "provisioned"):
        start = START_FIXED_S + START_S_GB * weights_gb(model)
    elif place.kind == "snapstart":
        start = RESTORE_S.likely
    if model.start_s is not None and place.kind in ("lambda", "provisioned", "snapstart"):
        start = model.start_s
    return Speeds(rate_range, rate_range.likely * PREFILL_RATIO, 0.05, start)


def check_fit(model: Model, place: Place) -> None:
    """Raises `ScenarioError` where weights, cache and runtime are more than the memory."""
    needed = weights_gb(model) + BESIDE_GB
    has = place.memory_mb / 1024 if place.kind in ("lambda", "snapstart", "provisioned") else instance(place).memory_gb
    if needed > has:
        raise ScenarioError(
            f"model.shape {model.shape} at precision {model.precision} needs {needed:.1f} GB and the place has "
            f"{has:.1f} GB: take a smaller shape, fewer bits or more memory."
        )


def _bandwidth(place: Place) -> Range:
    if place.kind in ("lambda", "snapstart", "provisioned"):
        return LAMBDA_GB_S * (place.memory_mb / 10_240)
    return GRAVITON4_GB_S * (instance(place).vcpus / 16)


def instance(place: Place) -> Instance:
    """The instance type of a place. Raises `ScenarioError`."""
    try:
        return INSTANCES[place.instance]
    except KeyError:
        raise ScenarioError(
            f"place.instance is {place.instance!r}: known are {', '.join(INSTANCES)}; take one, or add its row to "
            "planner/costs/prices.py."
        ) from None


class Point(NamedTuple):
    """A published or measured figure beside what the planner predicts for it."""

    what: str
    published: float
    predicted: float
    fitted: bool
    source: str

    @property
    def error(self) -> float:
        """Relative error of the prediction."""
        return self.predicted / self.published - 1


def calibration(results: Path | None = None) -> Iterator[Point]:
    """How far the predictions lie from every published point, and from this machine's benches where there are any."""
    here = speeds(Scenario())
    r8g = speeds(Scenario(place=Place(kind="ec2")))
    baseline = speeds(Scenario(model=Model(precision="16", engine="transformers"), place=Place(kind="ec2")))
    reply = 250  # tokens of the reference's reply: 10 s at 25 tokens/s
    yield Point("8B INT4 on Lambda, tokens/s", 2.5, here.tokens_per_s.likely, True, "Arm blog, serverless")
    yield Point("8B INT4 on r8g.4xlarge, tokens/s", 25, r8g.tokens_per_s.likely, True, "Arm blog, KleidiAI")
    yield Point("the same in the demo dashboard, tokens/s", 33, r8g.tokens_per_s.likely, False, "Arm demo dashboard")
    yield Point("cold start of the 8B on Lambda, s", 50, here.start_s, True, "Arm blog, serverless")
    yield Point("reply in INT4 on r8g.4xlarge, s", 10, reply / r8g.tokens_per_s.likely, False, "Arm blog")
    yield Point("the same reply in 16 bits, s", 245, reply / baseline.tokens_per_s.likely, False, "Arm blog")
    for file in sorted((results or Path("build/bench")).glob("*.json")):
        yield from _bench_points(file)


def _bench_points(file: Path) -> Iterator[Point]:
    """Points of a bench's results (bench/results.py): speed predicted from bytes and that machine's bandwidth."""
    found = json.loads(file.read_text())
    bandwidth = found.get("machine", {}).get("read_gb_s")
    for row in found.get("rows", []):
        shape, precision = row.get("shape"), row.get("precision")
        wanted = row.get("quantity") == "decode_tokens_per_s" and row.get("engine") == "ours"
        if wanted and bandwidth and shape in LLAMAS:
            predicted = bandwidth / LLAMAS[shape].gigabytes[precision]
            yield Point(f"{shape} {precision} here, tokens/s", row["median"], predicted, False, file.name)
