"""`python -m storyteller.engine FOLDER`: looks a model over without loading it, and without torch.

Says in one line what it is, or in one sentence what is wrong with it (exit status 1).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import EngineError
from .files.bundle import is_bundle, read_manifest
from .files.checkpoint import expected_tensors, find_tensors, read_checkpoint_config
from .files.tensorfile import open_tensor_file
from .loading import load_tokenizer


def look_over(folder: Path) -> str:
    """What the model in a folder is. Raises EngineError for one that could not be loaded."""
    if is_bundle(folder):
        manifest = read_manifest(folder)
        config, kind = manifest.config, "INT4 bundle"
        for path in manifest.weights:
            open_tensor_file(path)
    else:
        config, kind = read_checkpoint_config(folder), "checkpoint"
        find_tensors(folder, config)
    load_tokenizer(folder, config, chat=True)
    parameters = sum(math.prod(shape) for shape in expected_tensors(config).values())
    return f"{folder}: a Llama of {parameters / 1e6:,.1f} M parameters, {kind}, context {config.context:,}"


def main(argv: Sequence[str] | None = None) -> int:
    """Looks one folder over."""
    parser = argparse.ArgumentParser(prog="python -m storyteller.engine", description="Looks a model folder over.")
    parser.add_argument("folder", type=Path, help="a Hugging Face Llama folder, or a bundle")
    try:
        print(look_over(parser.parse_args(argv).folder))
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
