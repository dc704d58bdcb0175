"""The storyteller's own handler with the engine of `bench.replay.paced`."""

from __future__ import annotations

from bench.replay.paced import load_paced
from storyteller import engine

engine.load_engine = load_paced  # type: ignore[assignment]

from storyteller.handler import lambda_handler  # noqa: E402

__all__ = ["lambda_handler"]
