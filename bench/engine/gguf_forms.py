"""llama.cpp's own forms of a model, to be compared by `bench.quality`: F16, Q4_0, Q4_K_M and Q8_0.

    PYTHON -m bench.engine.gguf_forms MODEL.gguf FOLDER [FORM ...]

PYTHON is one that has llama-cpp-python (`requirements.txt`). All forms but F16 are made of the F16 one. K-quants need
columns in multiples of 256: llama.cpp takes Q5_0 or Q8_0 for a matrix with others, as SmolLM2-135M's 576 are.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FORMS = {"Q4_0": "LLAMA_FTYPE_MOSTLY_Q4_0", "Q4_K_M": "LLAMA_FTYPE_MOSTLY_Q4_K_M", "Q8_0": "LLAMA_FTYPE_MOSTLY_Q8_0"}


def convert(llama: Any, source: Path, target: Path, kind: str) -> None:
    """Writes `source` in another form. Raises ValueError when llama.cpp refuses."""
    options = llama.llama_model_quantize_default_params()
    options.ftype, options.nthread, options.allow_requantize = getattr(llama, kind), 1, True
    if llama.llama_model_quantize(bytes(source), bytes(target), options):
        raise ValueError(f"llama.cpp cannot write {target}: see what it says above.")


def main(arguments: Sequence[str]) -> None:
    """The command."""
    source, folder, *forms = arguments
    llama: Any = importlib.import_module("llama_cpp")
    exact = Path(folder) / "F16.gguf"
    exact.parent.mkdir(parents=True, exist_ok=True)
    convert(llama, Path(source), exact, "LLAMA_FTYPE_MOSTLY_F16")
    for form in forms or FORMS:
        convert(llama, exact, exact.with_name(f"{form}.gguf"), FORMS[form])


if __name__ == "__main__":
    main(sys.argv[1:])
