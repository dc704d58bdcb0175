"""Makes on the host what the tests under emulation compare with: a bundle, and what the host's kernel says."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

LINE = "Once upon a time there was a gate, and behind the gate a city of green glass."

#: How far the logits of two kernels may be apart: int8 activations turn a last bit into a whole step now and then.
TOLERANCE = 5e-3


def prepare(case: Path) -> None:
    """Fills `case` with a bundle and `expected.json`."""
    from model_build.packing.pack import pack
    from model_build.packing.prefix import write_prefix
    from model_build.sources import open_source
    from storyteller.engine import Sampling, load_engine
    from storyteller.engine.native import find_native
    from tests.tiny_llama import LLAMA_3_1, write_tiny_llama

    shutil.rmtree(case, ignore_errors=True)
    options: dict[str, Any] = {**LLAMA_3_1, "width": 256, "hidden": 512, "head_dim": 64, "scale": 0.06, "seed": 3}
    write_tiny_llama(case / "model", **options)
    pack(open_source(str(case / "model"), None), case / "bundle", calibration="none")
    # Not stock torch: its activations stay in floating point, KleidiAI's and ours become int8.
    engine = load_engine(case / "bundle", kernel="native" if find_native(1) else "reference")
    ids = engine.encode(LINE)
    model = engine._model
    logits = model.forward(ids, 0, model.new_cache(), rows=len(ids))
    done = engine.generate(ids, Sampling(temperature=0.0, max_tokens=24))
    prefix = write_prefix(case / "bundle", engine, ids[:20])
    expected = {
        "prompt": ids,
        "logits": logits.tolist(),
        "tokens": list(done.ids),
        "text": done.text,
        "prefix": prefix,
        "kernel": engine.kernel,
    }
    (case / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
