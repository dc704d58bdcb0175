"""The prefix cache: tokens whose keys and values are in memory, reused by prompts that begin with them.

That saves prefill across the turns of a story, across stories, and with a prefix shipped with the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class CacheProtocol(Protocol):
    """What is asked of a model here."""

    def new_cache(self) -> Any:
        """An empty KV cache of the model's whole context."""

    def copy_cache(self, source: Any, target: Any, count: int) -> None:
        """Makes the first `count` positions of `target` those of `source`."""


@dataclass(eq=False)
class CachedPrefix:
    """Tokens whose keys and values are in `cache`, position by position."""

    cache: Any
    ids: list[int] = field(default_factory=list)

    def shared(self, prompt: Sequence[int]) -> int:
        """How many tokens at the beginning are the same."""
        limit = min(len(self.ids), len(prompt))
        for place in range(limit):
            if self.ids[place] != prompt[place]:
                return place
        return limit


class PrefixCache:
    """Up to `slots` KV caches, and one that is never changed: the shipped prefix."""

    def __init__(self, model: CacheProtocol, slots: int, prefix: CachedPrefix | None = None) -> None:
        self._model = model
        self._slots = slots
        self._prefix = prefix
        self._held: list[CachedPrefix] = []  # the one used last is last

    def take(self, prompt: Sequence[int]) -> tuple[CachedPrefix, int]:
        """A slot that begins like `prompt`, cut to what they share, and how many tokens that is.

        The last token of the prompt is never counted: it must be computed to know what follows.
        """
        prompt = prompt[:-1]
        candidates = [*self._held, *([self._prefix] if self._prefix else [])]
        best = max(candidates, key=lambda slot: slot.shared(prompt), default=None)
        shared = best.shared(prompt) if best else 0
        # A slot that shares at least half with the prompt is the same story: its end is of no more use. Any other
        # stays as it is for its own return, and its beginning is copied.
        if best is None or best is self._prefix or shared * 2 < len(best.ids):
            slot = self._spare()
            if best is not None and best is not slot and shared:
                self._model.copy_cache(best.cache, slot.cache, shared)
                slot.ids[:] = best.ids[:shared]
            best = slot
        del best.ids[shared:]
        if best in self._held:
            self._held.remove(best)
        self._held.append(best)
        return best, shared

    def _spare(self) -> CachedPrefix:
        """A new slot, or the one unused for longest where there is none left."""
        return CachedPrefix(self._model.new_cache()) if len(self._held) < self._slots else self._held[0]
