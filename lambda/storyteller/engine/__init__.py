"""Llama on a CPU: load a folder, stream a reply. Imports torch only when a model is loaded.

    engine = load_engine("models/storyteller")
    ids = engine.encode_chat([{"role": "user", "content": "Who keeps the gate?"}])
    engine.generate(ids, Sampling(max_tokens=100), emit=print)

It imports no code of sessions, sockets, AWS or worlds.
"""

from __future__ import annotations

from .errors import EngineError
from .generation import Engine
from .loading import load_engine
from .request import Completion, Grammar, Reason, Sampling, TokenLogprob
from .text.tokenizer import Tokenizer

__all__ = [
    "Completion",
    "Engine",
    "EngineError",
    "Grammar",
    "Reason",
    "Sampling",
    "TokenLogprob",
    "Tokenizer",
    "load_engine",
]
