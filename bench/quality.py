"""What rounding costs: perplexity and agreement on the likeliest token, beside a 16-bit model.

    python -m bench.quality REFERENCE [MODEL ...] --text FILE [--forms 4-plain 4 8]

REFERENCE and MODELs are whatever a model may be: a checkpoint folder, a GGUF file, a hub id, smollm2, a bundle.
--forms packs the reference and measures that too: in 4 bits without calibration and with it, in 8 bits; 4 where no
MODEL is given. All read the same passages and are compared token by token with the reference. Give a text that the
model cannot have learnt by heart and that is no calibration text.
Intervals are of 95%, by drawing whole passages: tokens of one passage are no independent witnesses. A GGUF file is
read as the 16-bit weights that its own stand for, so its tokens/s are not llama.cpp's.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from bench import results
from model_build.packing.pack import pack
from model_build.plots import write_bars
from model_build.resolve import model_folder, path_of
from model_build.sources import open_source
from storyteller.engine import Engine, EngineError, TokenLogprob, load_engine
from storyteller.engine.files.bundle import is_bundle, read_manifest
from storyteller.engine.files.checkpoint import expected_tensors
from storyteller.engine.files.config import read_config

#: How many times passages are drawn for an interval.
DRAWS = 4000
#: What `pack` is told for each of our own forms.
FORMS: dict[str, dict[str, Any]] = {
    "4-plain": {"bits": 4, "calibration": "none"},
    "4": {"bits": 4, "calibration": "default"},
    "8": {"bits": 8, "calibration": "default"},
}
UNITS = {"perplexity": "", "rise": "of the reference's perplexity", "agreement": "share of tokens"}


class Passage(NamedTuple):
    """Tokens, and which of them count as targets (the first never does)."""

    ids: list[int]
    counted: list[bool]


def cut(ids: Sequence[int], length: int, most: int) -> list[Passage]:
    """A text in up to `most` passages of `length` tokens, all of which count."""
    pieces = [list(ids[at : at + length]) for at in range(0, len(ids) - 1, length)]
    return [Passage(piece, [True] * len(piece)) for piece in pieces if len(piece) > 1][:most]


class Seen(NamedTuple):
    """What one passage showed: targets, their surprise in nats under each model, and agreements."""

    tokens: int
    exact: float
    packed: float
    agreed: int


def compare(passage: Passage, exact: Sequence[TokenLogprob], packed: Sequence[TokenLogprob]) -> Seen:
    """The reference's and another model's scores on a passage."""
    pairs = [(a, b) for a, b, counted in zip(exact, packed, passage.counted[1:], strict=True) if counted]
    return Seen(
        len(pairs),
        -sum(a.logprob for a, _ in pairs),
        -sum(b.logprob for _, b in pairs),
        sum(a.top[0][0] == b.top[0][0] for a, b in pairs),
    )


def interval(seen: Sequence[Seen], figure: Callable[[npt.NDArray[np.float64]], float], seed: int = 0) -> list[float]:
    """The 95% interval of a figure of the summed columns, passages drawn with replacement."""
    rows, random = np.array(seen, np.float64), np.random.default_rng(seed)
    drawn = [figure(rows[random.integers(0, len(rows), len(rows))].sum(0)) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return [float(low), float(high)]


FIGURES: dict[str, Callable[[npt.NDArray[np.float64]], float]] = {
    "perplexity": lambda sums: math.exp(sums[2] / sums[0]),
    "rise": lambda sums: math.exp((sums[2] - sums[1]) / sums[0]) - 1,
    "agreement": lambda sums: float(sums[3] / sums[0]),
}


def summarize(seen: Sequence[Seen]) -> dict[str, list[float]]:
    """Each figure over all passages, with the ends of its interval. Raises ValueError when no token counts."""
    seen = [row for row in seen if row.tokens]
    if not seen:
        raise ValueError("The text has no token to be compared: give a longer one.")
    sums = np.array(seen, np.float64).sum(0)
    return {name: [figure(sums), *interval(seen, figure)] for name, figure in FIGURES.items()}


class Size(NamedTuple):
    """A model's weights on disk, how many there are, and how its head is kept."""

    bytes: int
    weights: int
    head: str


def size_of(place: str, folder: Path) -> Size:
    """Of a model called `place`, which `folder` is opened for."""
    path, head = path_of(place), ""
    if is_bundle(folder):
        manifest = read_manifest(folder)
        config, files, head = manifest.config, manifest.weights, str(manifest.types.head)
    else:
        config, files = read_config(folder), sorted(folder.glob("*.safetensors"))
        if path.suffix == ".gguf":
            from model_build.sources.gguf import kind_of_head, parts_of

            files, head = parts_of(path), kind_of_head(path)
    weights = sum(math.prod(shape) for shape in expected_tensors(config).values())
    return Size(sum(file.stat().st_size for file in files), weights, head)


def score(engine: Engine, passages: Sequence[Passage], bar: tqdm[Any]) -> tuple[list[list[TokenLogprob]], float]:
    """Each passage's scores, and how many tokens a second were read."""
    found, begun = [], time.perf_counter()
    for passage in passages:
        found.append(engine.score(passage.ids, 1))
        bar.update()
    return found, sum(len(passage.ids) for passage in passages) / (time.perf_counter() - begun)


def packed_forms(reference: str, forms: Sequence[str], folder: Path, threads: int) -> Iterator[tuple[str, str]]:
    """Names and places of the reference in our own forms, each packed when it is its turn."""
    for form in forms:
        torch.set_num_threads(threads)  # loading a bundle leaves torch one
        yield f"ours, {form}", str(pack(open_source(reference), folder / form, **FORMS[form], show=True))


def measure(options: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """A row of figures a model, the reference first. Raises EngineError, OSError or ValueError in a sentence."""
    text = options.text.read_text(encoding="utf-8")
    forms = options.forms if options.forms is not None else [] if options.models else ["4"]
    rows: list[dict[str, Any]] = []
    passages: list[Passage] = []
    ids: list[int] = []
    exact: list[list[TokenLogprob]] = []

    given = ((Path(place).name, place) for place in (options.reference, *options.models))
    for name, place in itertools.chain(given, packed_forms(options.reference, forms, work, options.threads)):
        folder = model_folder(place)
        engine = load_engine(folder, dtype=options.dtype, chat=False, cache_slots=1, threads=options.threads)
        if not rows:
            ids = engine.encode(text)
            passages = cut(ids, min(options.length, engine.context - 1), options.passages)
        elif engine.encode(text) != ids:
            raise ValueError(f"{place} splits the text into other tokens than {options.reference}: leave it out.")
        with tqdm(total=len(passages), desc=name, unit="passage", disable=None) as bar:
            found, speed = score(engine, passages, bar)
        exact = exact or found
        seen = [compare(*one) for one in zip(passages, exact, found, strict=True)]
        rows.append({"model": name, **summarize(seen), **size_of(place, folder)._asdict(), "speed": speed})
        del engine  # before the next is loaded
    return rows


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The figures to be read."""

    def of(row: dict[str, Any], figure: str, scale: float, digits: int) -> str:
        value, low, high = (scale * one for one in row[figure])
        return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"

    lines = ["| | head | perplexity | its rise, % | the same likeliest token, % | bits a weight | GB | tokens/s |"]
    lines.append("|---" * 8 + "|")
    for row in rows:
        cells = [row["model"], row["head"] or "16 bits", of(row, "perplexity", 1, 3), of(row, "rise", 100, 2)]
        cells += [of(row, "agreement", 100, 2), f"{8 * row['bytes'] / row['weights']:.2f}", f"{row['bytes'] / 1e9:.3f}"]
        lines.append(f"| {' | '.join([*cells, format(row['speed'], '.0f')])} |")
    return "\n".join(lines)


def common_rows(rows: Sequence[dict[str, Any]], passages: int) -> list[dict[str, Any]]:
    """The figures in the benches' common form; `rounds` is how many passages there were at the most."""
    found = []
    for row in rows:
        about = {"model": row["model"], "head": row["head"], "rounds": passages}
        for figure, unit in UNITS.items():
            value, low, high = row[figure]
            found.append({"quantity": figure, "unit": unit, "median": value, "low": low, "high": high, **about})
        for quantity, unit, value in (("bytes", "B", row["bytes"]), ("weights", "", row["weights"]),
                                      ("read_tokens_s", "tokens/s", row["speed"])):  # fmt: skip
            found.append({"quantity": quantity, "unit": unit, "median": value, "low": value, "high": value, **about})
    return found


def plot(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Bars: how much the perplexity rises, and on how many tokens the likeliest is another."""
    others = rows[1:]
    groups = {
        "perplexity's rise": {row["model"]: max(0.0, 100 * row["rise"][0]) for row in others},
        "another likeliest token": {row["model"]: 100 * (1 - row["agreement"][0]) for row in others},
    }
    write_bars(path, f"What rounding costs, beside {rows[0]['model']}", groups, "%")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description="What rounding costs in quality.")
    parser.add_argument("reference", help="the 16-bit model that others are compared with")
    parser.add_argument("models", nargs="*", help="bundles, GGUF files, checkpoint folders, hub ids")
    parser.add_argument("--text", type=Path, required=True, help="a text file in UTF-8")
    parser.add_argument(
        "--forms", nargs="*", choices=[*FORMS], help="pack the reference so (4 where no MODEL is given)"
    )
    parser.add_argument("--length", type=int, default=512, help="tokens of a passage (default 512)")
    parser.add_argument("--passages", type=int, default=64, help="the most passages (default 64)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        default="float32",
        help="what 16-bit weights are computed in: bfloat16 takes half the memory, and most CPUs longer",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the table too")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as work:
            rows = measure(options, Path(work))
    except (EngineError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(markdown(rows))
    if options.plot:
        plot(options.plot, rows)
    path = results.write("quality", common_rows(rows, options.passages), threads=options.threads)
    print(f"\nkept in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
