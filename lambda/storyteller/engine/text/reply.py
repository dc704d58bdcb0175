"""The text of a reply as its tokens come: stop tokens, stop texts, and a guard against loops."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ..request import Reason, Sampling
from .tokenizer import TextStream, Tokenizer

#: Where a sentence ends: after its mark and closing quotes, or at the end of a line.
_SENTENCE_END = re.compile(r"""(?<=[.!?…])[”’"»)]*\s+|(?<=[。！？])|\n+""")
#: Shorter sentences ("No.") may come as often as they like.
_SENTENCE_CHARACTERS = 12


class Reply:
    """The text of a reply as its tokens come, and whether a token ends it."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        stop_ids: frozenset[int],
        sampling: Sampling,
        limit: int,
        emit: Callable[[str], Any],
    ) -> None:
        self.tokens = 0
        self.repetitive = False
        self._stream = TextStream(tokenizer, prompt)
        self._gate = StopTexts(sampling.stop)
        self._guard = RepetitionGuard(sampling.sentence_limit)
        self._stop_ids = stop_ids
        self._limit = limit
        self._emit = emit
        self._generated: list[str] = []

    @property
    def text(self) -> str:
        """Everything generated so far."""
        return "".join(self._generated)

    def push(self, token: int) -> Reason | None:
        """Emits what the token completes; the reason, if the reply ends with it."""
        if token in self._stop_ids:
            return "stop"
        self.tokens += 1
        self._send(self._gate.push(self._stream.push(token)))
        if self._gate.hit or self.repetitive:
            return "stop"
        return "length" if self.tokens >= self._limit else None

    def close(self) -> None:
        """Emits what was held back."""
        if not self._gate.hit:
            self._send(self._gate.push(self._stream.flush()))
            self._send(self._gate.flush())

    def _send(self, text: str) -> None:
        if text:
            self._generated.append(text)
            self.repetitive = self._guard.push(text) or self.repetitive
            self._emit(text)


class StopTexts:
    """Holds back text that may be the beginning of a stop text, and ends the reply where one is whole."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.hit = False

    def push(self, text: str) -> str:
        """What is safe to show now; after a hit, `hit` is set and the rest is dropped."""
        if not self._stops or not text:
            return text
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.hit = True
            safe, self._held = self._held[: min(found)], ""
            return safe
        keep = max((n for stop in self._stops for n in range(1, len(stop)) if self._held.endswith(stop[:n])), default=0)
        cut = len(self._held) - keep
        safe, self._held = self._held[:cut], self._held[cut:]
        return safe

    def flush(self) -> str:
        """What was held back and turned out to be no stop text."""
        text, self._held = self._held, ""
        return text


class RepetitionGuard:
    """Notices a sentence that comes more often than `limit` times, as small models do once they loop; 0 allows all."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen = Counter[str]()
        self._open = ""

    def push(self, text: str) -> bool:
        """Whether a sentence that ends in `text` has now come too often."""
        if not self._limit:
            return False
        *whole, self._open = _SENTENCE_END.split(self._open + text)
        for sentence in whole:
            key = " ".join(sentence.casefold().split())
            if len(key) >= _SENTENCE_CHARACTERS:
                self._seen[key] += 1
                if self._seen[key] > self._limit:
                    return True
        return False
