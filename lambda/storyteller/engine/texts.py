"""The texts an engine holds in memory: their tokens and, for each, a model's cache of them.

Finds the one that begins most like a new prompt, so that what is the same is not computed again:
across the turns of a story, across stories, and from a prefix shipped with the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Caching(Protocol):
    """What is asked of a model here."""

    def new_cache(self) -> Any:
        """Room for the keys and values of one text."""

    def copy_cache(self, source: Any, target: Any, count: int) -> None:
        """Makes the first `count` positions of `target` those of `source`."""


@dataclass(eq=False)
class Text:
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


class Texts:
    """Up to `room` texts, and one that is never changed: the shipped prefix."""

    def __init__(self, model: Caching, room: int, prefix: Text | None = None) -> None:
        self._model = model
        self._room = room
        self._prefix = prefix
        self._held: list[Text] = []  # the one used last is last

    def take(self, prompt: Sequence[int]) -> tuple[Text, int]:
        """A text that begins like `prompt`, cut to what they share, and how many tokens that is.

        The last token of the prompt is never counted: it must be computed to know what follows.
        """
        prompt = prompt[:-1]
        candidates = [*self._held, *([self._prefix] if self._prefix else [])]
        best = max(candidates, key=lambda text: text.shared(prompt), default=None)
        shared = best.shared(prompt) if best else 0
        # A text that goes on as the prompt does, or mostly, is the same story: its end is of no more
        # use. Any other stays as it is for its own return, and its beginning is copied.
        if best is None or best is self._prefix or shared * 2 < len(best.ids):
            text = self._spare()
            if best is not None and best is not text and shared:
                self._model.copy_cache(best.cache, text.cache, shared)
                text.ids[:] = best.ids[:shared]
            best = text
        del best.ids[shared:]
        if best in self._held:
            self._held.remove(best)
        self._held.append(best)
        return best, shared

    def _spare(self) -> Text:
        """A new text, or the one unused for longest when there is no more room."""
        return Text(self._model.new_cache()) if len(self._held) < self._room else self._held[0]
