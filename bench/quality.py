"""What INT4 costs: perplexity and agreement on the likeliest token, a bundle against its 16-bit checkpoint.

    python -m bench.quality <checkpoint folder> --bundle <bundle> --text <file>

Reads a text in passages through both and compares token by token. Without `--bundle` the checkpoint is
packed under build/bench first. Knows the engine's scores and nothing of weights.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from storyteller.engine import Engine, EngineError, TokenLogprob, load_engine


def passages(engine: Engine, text: str, length: int, most: int) -> list[list[int]]:
    """The text in pieces of `length` tokens."""
    ids = engine.encode(text)
    return [ids[at : at + length] for at in range(0, len(ids) - 1, length) if len(ids[at : at + length]) > 1][:most]


def perplexity(scores: list[TokenLogprob]) -> float:
    """e to the mean surprise of a token."""
    return math.exp(-sum(entry.logprob for entry in scores) / len(scores))


def compare(exact: Engine, packed: Engine, pieces: list[list[int]]) -> dict[str, float]:
    """Both engines' perplexities on the pieces, and how often their likeliest tokens agree."""
    theirs = [entry for piece in pieces for entry in exact.score(piece, 1)]
    ours = [entry for piece in pieces for entry in packed.score(piece, 1)]
    agree = sum(a.top[0][0] == b.top[0][0] for a, b in zip(theirs, ours, strict=True))
    before, after = perplexity(theirs), perplexity(ours)
    return {
        "tokens": len(theirs),
        "perplexity_16bit": before,
        "perplexity_int4": after,
        "perplexity_rise": after / before - 1,
        "top1_agreement": agree / len(theirs),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description="What INT4 costs in quality.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--embedding", choices=["int8", "int4"], default="int8")
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--length", type=int, default=512, help="tokens of a passage (default 512)")
    parser.add_argument("--passages", type=int, default=64, help="the most passages (default 64)")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            bundle = options.bundle
            if bundle is None:
                from model_build.pack import pack
                from model_build.pack_source import open_source

                bundle, source = Path(folder) / "bundle", open_source(str(options.checkpoint), None)
                pack(source, bundle, embedding=options.embedding, calibration=options.calibration, show=True)
            exact = load_engine(options.checkpoint, dtype="bfloat16", chat=False)
            packed = load_engine(bundle, chat=False)
            text = options.text.read_text(encoding="utf-8")
            length = min(options.length, exact.context - 1)
            found = compare(exact, packed, passages(exact, text, length, options.passages))
    except (EngineError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
