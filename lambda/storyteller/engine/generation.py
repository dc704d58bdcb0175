"""The engine: a prompt's ids in, streamed text out, until a stop, a limit, a cancel or a deadline.

Works on any model with `forward` and any tokenizer; knows no weights and no files.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .errors import EngineError
from .request import Completion, Reason, Sampling, TokenLogprob
from .tokenizer import TextStream, Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

#: Tokens of a prompt computed at a time, and so how long a cancel or a deadline may go unseen.
CHUNK = 64


class Model(Protocol):
    """What the engine asks of a model: logits, and a cache addressed by position."""

    context: int

    @property
    def vocab(self) -> int:
        """How many token ids there are."""

    def forward(self, ids: Sequence[int], start: int, rows: int = 1) -> Tensor:
        """Logits [rows, vocab] after the last `rows` of `ids`, which go to positions `start`.. of the cache."""


class Engine:
    """One model with one cache. `generate` is for one caller at a time; a second one waits."""

    def __init__(self, model: Model, tokenizer: Tokenizer, stop_ids: Sequence[int]) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._stop_ids = frozenset(stop_ids)
        self._cached: list[int] = []
        self._lock = threading.Lock()

    @property
    def context(self) -> int:
        """Tokens that prompt and reply may have together."""
        return self._model.context

    @property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer."""
        return self._tokenizer

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens at which a reply ends."""
        return self._stop_ids

    def encode(self, text: str) -> list[int]:
        """The ids of a plain text, without a chat template."""
        return self._tokenizer.encode(text)

    def encode_chat(self, messages: Sequence[Mapping[str, str]], go_on: bool = False) -> list[int]:
        """The prompt for chat `messages`; with `go_on` the assistant's last message is continued."""
        return self._tokenizer.encode_chat(messages, go_on=go_on)

    def count_chat(self, messages: Sequence[Mapping[str, str]]) -> int:
        """How many tokens the prompt for `messages` has."""
        return len(self.encode_chat(messages))

    def generate(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        emit: Callable[[str], Any] = lambda text: None,
        cancelled: Callable[[], bool] = lambda: False,
        deadline: float | None = None,
    ) -> Completion:
        """Tells the reply to `ids`, handing whole characters to `emit` as they come.

        `cancelled` is asked before each token and each part of the prompt; `deadline` is on
        `time.monotonic()`'s clock. What the last call left in the cache is used as far as it is the
        same. Raises EngineError when `ids` is empty, holds an unknown id or does not fit the context.
        """
        with self._lock:
            return self._generate(list(ids), sampling, emit, cancelled, deadline)

    def _generate(
        self,
        prompt: list[int],
        sampling: Sampling,
        emit: Callable[[str], Any],
        cancelled: Callable[[], bool],
        deadline: float | None,
    ) -> Completion:
        from .sampling import Sampler, token_logprob

        began = time.monotonic()
        self._check(prompt)
        reused = self._reuse(prompt)
        limit = min(sampling.max_tokens, self.context - len(prompt))
        sampler, stream, gate = Sampler(sampling), TextStream(self._tokenizer, prompt), StopTexts(sampling.stop)
        history, logprobs, told, first = list(prompt), list[TokenLogprob](), list[str](), 0.0
        reason: Reason | None = None

        def tell(text: str) -> None:
            if text:
                told.append(text)
                emit(text)

        def interrupted() -> Reason | None:
            if cancelled():
                return "cancelled"
            return "deadline" if deadline is not None and time.monotonic() >= deadline else None

        at = reused
        while reason is None:
            if (reason := interrupted()) is not None:
                break
            fresh = history[at : at + CHUNK]
            last = at + len(fresh) == len(history)
            logits = self._forward(fresh, at, rows=int(last))
            at += len(fresh)
            if not last:
                continue
            token = sampler.pick(logits[0], history)
            if token in self._stop_ids:
                reason = "stop"
                break
            if sampling.logprobs is not None:
                logprobs.append(token_logprob(logits[0], token, sampling.logprobs))
            history.append(token)
            first = first or time.monotonic()
            tell(gate.push(stream.push(token)))
            if gate.hit:
                reason = "stop"
            elif len(history) - len(prompt) >= limit:
                reason = "length"
        if not gate.hit:
            tell(gate.push(stream.flush()))
            tell(gate.flush())
        ended = time.monotonic()
        return Completion(
            text="".join(told),
            reason=reason,
            tokens=len(history) - len(prompt),
            prompt_tokens=len(prompt),
            reused_tokens=reused,
            ttft_s=(first or ended) - began,
            total_s=ended - began,
            ids=tuple(history[len(prompt) :]),
            logprobs=tuple(logprobs),
        )

    def _check(self, prompt: list[int]) -> None:
        if not prompt:
            raise EngineError("The prompt is empty: give at least one token.")
        if len(prompt) >= self.context:
            raise EngineError(
                f"The prompt has {len(prompt):,} tokens, but the context holds {self.context:,} with the reply: "
                "shorten the prompt or load the model with a larger context."
            )
        if min(prompt) < 0 or max(prompt) >= self._model.vocab:
            raise EngineError("The prompt holds a token id that the model does not know: use its own tokenizer.")

    def _reuse(self, prompt: list[int]) -> int:
        """Cuts the cache down to what it shares with `prompt`, short of its last token, and counts that."""
        shared = 0
        for mine, theirs in zip(self._cached, prompt[:-1], strict=False):
            if mine != theirs:
                break
            shared += 1
        del self._cached[shared:]
        return shared

    def _forward(self, ids: list[int], start: int, rows: int) -> Tensor:
        del self._cached[start:]
        logits = self._model.forward(ids, start, rows)
        self._cached.extend(ids)
        return logits


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
