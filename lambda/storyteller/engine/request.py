"""What one generation is asked for and what it gives back; plain data, without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .errors import EngineError

#: Why a reply ended.
Reason = Literal["stop", "length", "cancelled", "deadline"]


@dataclass(frozen=True)
class Grammar:
    """What a reply must match from its first character to its last.

    `kind` says how `text` is written: a regular expression (Rust's syntax, without anchors), a grammar in
    llguidance's dialect of Lark (or llama.cpp's GBNF), or a JSON schema. `then` lets a later part depend on an
    earlier one: when nothing more may follow in this grammar, it is given the whole text so far and returns the
    next part's `text`, or None at the end. A part that another may follow must end by itself, as with a line break.
    `close` is asked once, when few tokens are left: given the text so far, it returns the `text` of the shortest end
    after it, which takes the place of this part, or None where this part is to go on.
    """

    kind: Literal["regex", "lark", "json_schema"]
    text: str
    then: Callable[[str], str | None] | None = None
    close: Callable[[str], str | None] | None = None


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, and when to stop.

    `temperature` 0 is greedy. `min_p` leaves out what is less likely than that share of the likeliest
    token, before the temperature (Nguyen et al., 2024; 0 leaves out nothing), `top_k` all but that many of the
    likeliest (0: none), `top_p` what comes after that share of what is left. `repetition_penalty`
    divides the logits of tokens seen among the last `repetition_window` tokens of prompt and reply (1.0
    is none; multiplied where a logit is negative).
    A `seed` makes the reply the same every time; None draws a new one. `stop` are texts at which the
    reply ends; they are not part of it. `logprobs` asks for the log-probability of each token of the
    reply and of that many of the likeliest (None asks for nothing); a grammar does not change them.

    `sentence_limit` is how often one sentence may come in a reply: small models fall into loops, and the reply ends
    after the sentence that comes once more (0 is no limit).

    `grammar` holds the reply to a form; it ends with "stop" as soon as nothing may follow. `begun` is the part of
    the reply that the prompt already ends with: the grammar reads it first, and where it does not
    match, the rest is free.

    Raises EngineError when a number is out of its range.
    """

    temperature: float = 0.8
    top_p: float = 0.95
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    repetition_window: int = 256
    logprobs: int | None = None
    grammar: Grammar | None = None
    begun: str = ""
    sentence_limit: int = 2
    top_k: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 100.0:
            raise EngineError(f"temperature is {self.temperature}; give a number from 0 (greedy) to 100.")
        if not 0.0 < self.top_p <= 1.0:
            raise EngineError(f"top_p is {self.top_p}; give a number above 0 and up to 1.")
        if self.top_k < 0:
            raise EngineError(f"top_k is {self.top_k}; give 0 (none) or more.")
        if not 0.0 <= self.min_p < 1.0:
            raise EngineError(f"min_p is {self.min_p}; give a number from 0 up to 1.")
        if not 0.01 <= self.repetition_penalty <= 100.0:
            raise EngineError(f"repetition_penalty is {self.repetition_penalty}; give a number from 0.01 to 100.")
        if self.max_tokens < 1:
            raise EngineError(f"max_tokens is {self.max_tokens}; give at least 1.")
        if self.sentence_limit < 0:
            raise EngineError(f"sentence_limit is {self.sentence_limit}; give 0 (none) or more.")
        if any(not text for text in self.stop):
            raise EngineError("stop holds an empty text; leave it out.")


@dataclass(frozen=True)
class TokenLogprob:
    """One token's natural-log probability before temperature, with the likeliest ones in its place."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Completion:
    """A finished reply: its text, why it ended, and what it took. Times are in seconds.

    The first token, whose time `ttft_s` is, may be a special one: a model that plans says a few that nobody reads.
    `repetitive` says that a sentence came too often, which ended the reply.
    `end` is the stop token that ended the reply, where log-probabilities were asked for; `logprobs` is without it.
    `refused_tokens` is how many choices the grammar refused, so that another was made.
    """

    text: str
    reason: Reason
    tokens: int
    prompt_tokens: int
    reused_tokens: int
    ttft_s: float
    total_s: float
    ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    end: TokenLogprob | None = None
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    refused_tokens: int = 0
    repetitive: bool = False
