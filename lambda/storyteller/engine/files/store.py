"""Where a bundle's files lie when they lie in no folder: what the engine asks of it (`storyteller.bucket` is S3's)."""

from __future__ import annotations

from typing import Protocol


class Store(Protocol):
    """A bundle's files by name. The methods may be called from several threads, and raise EngineError."""

    #: As a person knows it; begins every message.
    address: str
    #: How many ranges are worth reading at once.
    parallel: int

    def read(self, name: str) -> bytes:
        """The whole of a small file."""

    def fill(self, name: str, begin: int, view: memoryview) -> None:
        """Fills `view` with the bytes of a file from `begin` on."""
