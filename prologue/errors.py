"""What goes wrong with the files of a world and with what is built from them. Imports nothing."""

from __future__ import annotations


class WorldError(Exception):
    """A file of a world that cannot be used: one sentence naming the file, the place and the remedy."""


class EmbedderError(Exception):
    """An embedder that cannot be used: one sentence with the remedy."""


class AnswerIndexError(Exception):
    """An answer index that cannot be used: one sentence with the remedy."""
