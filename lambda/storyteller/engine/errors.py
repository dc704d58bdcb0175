"""The one error that the engine raises for a person: a sentence that says what and how to mend it."""

from __future__ import annotations


class EngineError(ValueError):
    """A model folder or a request that the engine cannot work with, told in one sentence."""
