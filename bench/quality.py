"""What INT4 costs: perplexity and agreement on the likeliest token, a bundle against its 16-bit checkpoint.

    python -m bench.quality <folder, GGUF file or hub id> --text <file> [--bundle <bundle>]

Both read the same passages and are compared token by token. Give a text that the model cannot have learnt by
heart and that is no calibration text. Without `--bundle` the checkpoint is packed first.
Intervals are of 95%, by drawing whole passages anew: tokens of one passage are no independent witnesses.
Knows the engine's scores and nothing of weights.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model_build.pack import add_form, form_options, pack
from storyteller.engine import Engine, EngineError, load_engine

ROOT = Path(__file__).resolve().parents[1]
#: How many times passages are drawn for an interval.
DRAWS = 4000


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


def read(exact: Engine, packed: Engine, passage: Passage) -> Seen:
    """Both engines' scores on a passage."""
    theirs, ours = exact.score(passage.ids, 1), packed.score(passage.ids, 1)
    pairs = [(a, b) for a, b, counted in zip(theirs, ours, passage.counted[1:], strict=True) if counted]
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
    return [round(float(low), 5), round(float(high), 5)]


def _rise(sums: npt.NDArray[np.float64]) -> float:
    return math.exp((sums[2] - sums[1]) / sums[0]) - 1


def _agreement(sums: npt.NDArray[np.float64]) -> float:
    return float(sums[3] / sums[0])


def summarize(seen: Sequence[Seen]) -> dict[str, Any]:
    """Perplexities and agreement over all passages. Raises ValueError when no token counts."""
    seen = [row for row in seen if row.tokens]
    if not seen:
        raise ValueError("The text has no token to be compared: give a longer one.")
    sums = np.array(seen, np.float64).sum(0)
    return {
        "passages": len(seen),
        "tokens": int(sums[0]),
        "perplexity_16bit": round(math.exp(sums[1] / sums[0]), 5),
        "perplexity_int4": round(math.exp(sums[2] / sums[0]), 5),
        "perplexity_rise": round(_rise(sums), 5),
        "perplexity_rise_95": interval(seen, _rise),
        "top1_agreement": round(_agreement(sums), 5),
        "top1_agreement_95": interval(seen, _agreement),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description="What INT4 costs in quality.")
    parser.add_argument("checkpoint", help="a checkpoint folder, a GGUF file or a hub id")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--text", type=Path, required=True, help="a text file in UTF-8")
    add_form(parser)
    parser.add_argument("--length", type=int, default=512, help="tokens of a passage (default 512)")
    parser.add_argument("--passages", type=int, default=64, help="the most passages (default 64)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args(arguments)
    try:
        from model_build.resolve import model_folder

        checkpoint = model_folder(options.checkpoint)
        with tempfile.TemporaryDirectory() as folder:
            bundle = options.bundle
            if bundle is None:
                from model_build.sources import open_source

                bundle, source = Path(folder) / "bundle", open_source(options.checkpoint)
                pack(source, bundle, **form_options(options), show=True)
            exact = load_engine(checkpoint, dtype="bfloat16", chat=False, cache_slots=1)
            packed = load_engine(bundle, chat=False, cache_slots=1)
            ids = exact.encode(options.text.read_text(encoding="utf-8"))
            pieces = cut(ids, min(options.length, exact.context - 1), options.passages)
            found = summarize([read(exact, packed, piece) for piece in tqdm(pieces, desc="passages", disable=None)])
    except (EngineError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(found, indent=1))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "quality.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
