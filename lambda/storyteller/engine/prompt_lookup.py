"""Prompt lookup decoding: drafts the next tokens by looking up what followed the last ones earlier in the text.

The model checks a draft, several tokens in one pass, so drafting changes the speed and never the text.
"""

from __future__ import annotations

from collections.abc import Sequence

#: How many tokens are guessed at a time, and how many must match before a guess is made.
DRAFT, MATCH = 3, 3

_LOOK_BACK = 2048
_LEAST = 0.3
_REST = 64


class PromptLookup:
    """Drafts, and keeps count of how often they are right: below `_LEAST` it rests for a while.

    A guess costs a part of a token's time, so that about three in ten must be right for it to pay.
    """

    def __init__(self) -> None:
        self._rate = 0.5
        self._rest = 0

    def propose(self, history: Sequence[int]) -> list[int]:
        """Up to `DRAFT` tokens that may follow `history`; none when nothing like its end came before."""
        if self._rest:
            self._rest -= 1
            return []
        if len(history) <= MATCH:
            return []
        end = list(history[-MATCH:])
        first = max(0, len(history) - _LOOK_BACK)
        for at in range(len(history) - MATCH - 1, first - 1, -1):
            if history[at + MATCH - 1] == end[-1] and list(history[at : at + MATCH]) == end:
                return list(history[at + MATCH : at + MATCH + DRAFT])
        return []

    def learn(self, drafted: int, accepted: int) -> None:
        """Takes note of how many drafted tokens the model agreed with."""
        self._rate += 0.1 * (accepted / drafted - self._rate)
        if self._rate < _LEAST:
            self._rest, self._rate = _REST, 0.5
