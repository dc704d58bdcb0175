"""The engine: a prompt's ids in, streamed text out, until a stop, a limit, a cancel or a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .errors import EngineError
from .prefix_cache import CachedPrefix, PrefixCache
from .prompt_lookup import PromptLookup
from .request import Completion, Grammar, Reason, Sampling, TokenLogprob
from .text.grammar import Grammars, Matcher
from .text.reply import Reply
from .text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from .sampling import Sampler

#: Tokens of a prompt computed at a time, where their number could change the result.
CHUNK = 64
#: Where it could not: about as many as take this long, so that a cancel or a deadline acts soon.
_CHUNK_S, _CHUNK_LEAST, _CHUNK_MOST = 0.25, 8, 256
#: How many tokens before its limit a reply goes over to the end that its grammar has ready.
_CLOSING = 96


class ModelProtocol(Protocol):
    """What the engine asks of a model: logits, and a KV cache addressed by position.

    `batch_invariant`: a token's logits are the same bits whichever tokens are computed beside it. `cheap_batches`:
    several rows cost little more than one, so that drafted tokens can pay.
    """

    name: str
    context: int
    vocab: int
    batch_invariant: bool
    cheap_batches: bool

    def forward(self, ids: Sequence[int], start: int, cache: Any, rows: int = 1) -> Tensor:
        """Logits [rows, vocab] after the last `rows` of `ids`, which go to positions `start`.. of the cache."""

    def new_cache(self) -> Any:
        """Room for the keys and values of one text."""

    def copy_cache(self, source: Any, target: Any, count: int) -> None:
        """Makes the first `count` positions of `target` those of `source`."""

    def take_cache(self, cache: Any, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` positions as plain [layers, kv_heads, positions, head_dim] tensors."""


class Engine:
    """One model and its prefix cache. `generate` is for one caller at a time; a second one waits.

    `cache_slots` is how many prompts with their replies stay in memory; `prefix` is one shipped with the model.
    """

    def __init__(
        self,
        model: ModelProtocol,
        tokenizer: Tokenizer,
        stop_ids: Sequence[int],
        *,
        cache_slots: int = 2,
        prefix: CachedPrefix | None = None,
        speculate: bool = True,
        grammars: Grammars | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._stop_ids = frozenset(stop_ids)
        self._grammars = grammars or Grammars(tokenizer, model.vocab, self._stop_ids)
        self._prefix_cache = PrefixCache(model, cache_slots, prefix)
        self._lookup = PromptLookup() if speculate and model.batch_invariant and model.cheap_batches else None
        self._known = min(model.vocab, tokenizer.size)
        self._chunk = CHUNK
        self._lock = threading.Lock()
        #: What the model's maker would have its replies sampled with: some of the fields of `Sampling`.
        self.defaults: Mapping[str, Any] = defaults or {}

    @property
    def context(self) -> int:
        """Tokens that prompt and reply may have together."""
        return self._model.context

    @property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer."""
        return self._tokenizer

    @property
    def kernel(self) -> str:
        """What multiplies the matrices, as it was logged at load."""
        return self._model.name

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

    def check_grammar(self, grammar: Grammar) -> None:
        """Raises EngineError, in a sentence, for a grammar that does not compile."""
        self._grammars.check(grammar)

    def check_prompt(self, ids: Sequence[int]) -> None:
        """Raises EngineError, in a sentence, for a prompt that `generate` would not take."""
        self._check(list(ids))

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
        """Generates the reply to `ids`, handing whole characters to `emit` as they come.

        `cancelled` is asked before each token and each part of the prompt; `deadline` is on
        `time.monotonic()`'s clock. What the last call left in the cache is used as far as it is the
        same. Raises EngineError when `ids` is empty, holds an unknown id or does not fit the context, and
        for a grammar that does not compile.
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
        from .sampling import Sampler, token_logprobs

        began = time.monotonic()
        self._check(prompt)
        matcher = self._grammars.matcher(sampling.grammar, sampling.begun) if sampling.grammar else None
        cached, reused = self._prefix_cache.take(prompt)
        limit = min(sampling.max_tokens, self.context - len(prompt))
        closing = min(_CLOSING, limit // 2)
        sampler, reply = Sampler(sampling), Reply(self._tokenizer, prompt, self._stop_ids, sampling, limit, emit)
        history, logprobs, first = list(prompt), list[TokenLogprob](), 0.0
        end: TokenLogprob | None = None
        drafted = accepted = 0
        reason: Reason | None = "stop" if matcher and matcher.complete else None
        while reason is None:
            if cancelled():
                reason = "cancelled"
                break
            if deadline is not None and time.monotonic() >= deadline:
                reason = "deadline"
                break
            at = len(cached.ids)
            fresh = history[at : at + self._chunk]
            if at + len(fresh) < len(history):
                self._compute(cached, fresh, rows=0)
                continue
            draft = self._draft(history, limit - reply.tokens - 1, began=first > 0)
            logits = self._compute(cached, fresh + draft, rows=1 + len(draft))
            for row, guess in enumerate([*draft, None]):
                # A padded vocabulary has logits that mean no token.
                known = logits[row][: self._known]
                token = _choose(sampler, matcher, known, history)
                first = first or time.monotonic()
                reason = reply.push(token)
                if matcher and matcher.complete:
                    reason = "stop"
                elif matcher and limit - reply.tokens <= closing:
                    matcher.close()
                scored = []
                if sampling.logprobs is not None:
                    scored = token_logprobs(known[None], [token], sampling.logprobs)
                if token in self._stop_ids:
                    end = scored[0] if scored else None
                else:
                    history.append(token)
                    logprobs += scored
                if reason is not None or token != guess:
                    break
                accepted += 1
                if cancelled():  # between the tokens of one draft too
                    reason = "cancelled"
                    break
            drafted += len(draft)
            if self._lookup and draft:
                self._lookup.learn(len(draft), row)
            # What was drafted and not accepted leaves the cache.
            del cached.ids[len(history) - 1 :]
        reply.close()
        ended = time.monotonic()
        return Completion(
            text=reply.text,
            reason=reason,
            tokens=reply.tokens,
            prompt_tokens=len(prompt),
            reused_tokens=reused,
            ttft_s=(first or ended) - began,
            total_s=ended - began,
            ids=tuple(history[len(prompt) :]),
            logprobs=tuple(logprobs),
            end=end,
            drafted_tokens=drafted,
            accepted_tokens=accepted,
            refused_tokens=matcher.refused if matcher else 0,
            repetitive=reply.repetitive,
        )

    def score(
        self, ids: Sequence[int], top_logprobs: int = 0, cancelled: Callable[[], bool] = lambda: False
    ) -> list[TokenLogprob]:
        """The log-probability of each token of a text after those before it; none for the first token.

        `cancelled` is asked before each part of the text; those scored by then are returned.
        """
        from .sampling import token_logprobs

        with self._lock:
            tokens = list(ids)
            self._check(tokens)
            cached = CachedPrefix(self._model.new_cache())
            scored: list[TokenLogprob] = []
            for at in range(0, len(tokens) - 1, CHUNK):
                if cancelled():
                    break
                fresh = tokens[at : min(at + CHUNK, len(tokens) - 1)]
                logits = self._compute(cached, fresh, rows=len(fresh))
                scored += token_logprobs(logits, tokens[at + 1 : at + 1 + len(fresh)], top_logprobs)
            return scored

    def compute_prefix(self, ids: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The keys and values of a text, [layers, kv_heads, tokens, head_dim], to be shipped with the model."""
        with self._lock:
            self._check(list(ids))
            cached = CachedPrefix(self._model.new_cache())
            for at in range(0, len(ids), CHUNK):
                self._compute(cached, list(ids[at : at + CHUNK]), rows=0)
            return self._model.take_cache(cached.cache, len(ids))

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

    def _draft(self, history: list[int], room: int, *, began: bool) -> list[int]:
        """What may come next, to be checked together with the token before it."""
        if self._lookup is None or not began or room < 1:
            return []
        return self._lookup.propose(history)[:room]

    def _compute(self, cached: CachedPrefix, ids: list[int], rows: int) -> Tensor:
        began = time.monotonic()
        logits = self._model.forward(ids, len(cached.ids), cached.cache, rows)
        cached.ids.extend(ids)
        if self._model.batch_invariant and len(ids) >= _CHUNK_LEAST:
            fitting = int(len(ids) * _CHUNK_S / max(time.monotonic() - began, 1e-6)) // 8 * 8
            self._chunk = max(_CHUNK_LEAST, min(fitting, _CHUNK_MOST, 2 * self._chunk))
        return logits


def _choose(sampler: Sampler, matcher: Matcher | None, logits: Tensor, history: Sequence[int]) -> int:
    """The next token: the sampler's own choice, or one among those that the grammar allows."""
    token = sampler.sample(logits, history)
    if matcher is None or matcher.accept(token):
        return token
    token = sampler.sample(matcher.mask(logits), history)
    if not matcher.accept(token):
        raise EngineError(f"The grammar allows token {token} and then refuses it: this is a fault; please report it.")
    return token
