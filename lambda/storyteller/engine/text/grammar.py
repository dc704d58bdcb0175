"""Holds a reply to a grammar (constrained decoding, by llguidance).

The sampler's token is checked against the grammar, which takes some 10 microseconds. Only where it is refused are all
tokens that may come computed (about a millisecond for 49,000 tokens), and one of them is sampled. With greedy
decoding, or without top_p and min_p, that is the distribution of masking every time; with them, they
are applied to the model's own probabilities first, and to the allowed tokens' where those are needed.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import EngineError
from ..request import Grammar
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Collection

    from llguidance import LLMatcher, LLTokenizer
    from torch import Tensor

#: Between the tokens of JSON, at most so much white space: a small model would otherwise go on with it for ever.
_JSON: Any = {"whitespace_pattern": r"[ \n]{1,20}"}


class Grammars:
    """Compiles grammars for one tokenizer and a model of `vocab` logits; `stop_ids` end a reply."""

    def __init__(self, tokenizer: Tokenizer, vocab: int, stop_ids: Collection[int]) -> None:
        self._tokenizer, self._vocab = tokenizer, vocab
        known = tokenizer.vocabulary.get_vocab_size()
        self.stop_ids = sorted(token for token in stop_ids if token < known)
        self._lock = threading.Lock()
        self._trie: LLTokenizer | None = None
        # A world's form compiles in 4 to 6 ms, and every reply begins with it; a copy takes microseconds.
        self._compiled = lru_cache(maxsize=8)(self._compile)

    def prepare(self) -> LLTokenizer:
        """The vocabulary as llguidance reads it, made once: 0.3 s for 49,000 tokens. Raises EngineError."""
        with self._lock:
            if self._trie is None:
                self._trie = self._read()
            return self._trie

    def _read(self) -> LLTokenizer:
        from llguidance import LLTokenizer

        if not self.stop_ids:
            raise EngineError(
                "This model names no end token, which a grammar needs: add eos_token_id to its config.json."
            )
        try:
            # Without `slices`, which make masks of JSON faster and this slower: few masks are computed here.
            return LLTokenizer(
                self._tokenizer.vocabulary.to_str(), n_vocab=self._vocab, eos_token=self.stop_ids, slices=[]
            )
        except ValueError as error:
            raise EngineError(
                f"A grammar needs a tokenizer with a byte-level or byte-fallback decoder ({error}): use such a model."
            ) from None

    def check(self, grammar: Grammar) -> None:
        """Raises EngineError, in a sentence, for a grammar that does not compile."""
        self.start(grammar)

    def matcher(self, grammar: Grammar, begun: str = "") -> Matcher | None:
        """A matcher for one reply, past the text in `begun`; None where that does not match.

        Raises EngineError for a grammar that does not compile.
        """
        matcher = Matcher(self, grammar)
        # Line by line, so that no token reaches past the end of a part.
        for line in begun.splitlines(keepends=True):
            for token in self.prepare().tokenize_str(line):
                if not matcher.accept(token):
                    return None
        return matcher

    def start(self, grammar: Grammar) -> LLMatcher:
        """llguidance's matcher at the beginning of a grammar; raises EngineError for one that does not compile."""
        return self._compiled(grammar.kind, grammar.text).deep_copy()

    def _compile(self, kind: str, text: str) -> LLMatcher:
        from llguidance import LLMatcher, LLParserLimits, grammar_from

        trie = self.prepare()
        try:
            if kind == "json_schema":
                source = LLMatcher.grammar_from_json_schema(text, overrides=_JSON)
            else:
                source = grammar_from("regex" if kind == "regex" else "grammar", text)
        except ValueError as error:
            raise _refused(kind, str(error)) from None
        compiled = LLMatcher(trie, source, log_level=0, limits=LLParserLimits(verbose_errors=False))
        if compiled.is_error():
            raise _refused(kind, compiled.get_error())
        return compiled


class Matcher:
    """Where one reply stands in its grammar: `complete` once nothing may follow, `refused` choices so far."""

    def __init__(self, grammars: Grammars, grammar: Grammar) -> None:
        self._grammars, self._grammar = grammars, grammar
        self._matcher = grammars.start(grammar)
        self._tokens: list[int] = []
        self.complete, self.refused = False, 0
        self._closing = grammar.close is None

    def close(self) -> None:
        """Goes over to the grammar's shortest end, the first time that it is asked to between two characters."""
        if self._closing or self._grammar.close is None:
            return
        text = self._grammars.prepare().decode_str(self._tokens)
        if text.endswith("\ufffd"):
            return
        self._closing = True
        rest = self._grammar.close(text)
        if rest is not None:
            self._grammar = replace(self._grammar, text=rest)
            self._matcher = self._grammars.start(self._grammar)

    def accept(self, token: int) -> bool:
        """Takes `token` as the next one if the grammar allows it; an end token where the grammar may end."""
        if self.complete or self._matcher.try_consume_tokens([token]) == 0:
            self._raise_error()
            self.refused += 1
            return False
        self._tokens.append(token)
        if self._matcher.is_stopped():
            self._raise_error()
            self._go_on(ended=token in self._grammars.stop_ids)
        return True

    def mask(self, logits: Tensor) -> Tensor:
        """`logits` [vocab] with minus infinity for every token that the grammar does not allow next."""
        import numpy as np
        import torch

        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._raise_error()
        allowed = torch.from_numpy(np.unpackbits(bits, count=len(logits), bitorder="little")).bool()
        if not allowed.any():
            raise EngineError("No token of this model continues the grammar here: allow other text in the grammar.")
        return logits.masked_fill(~allowed, -torch.inf)

    def _go_on(self, ended: bool) -> None:
        """At the end of a part: the next one, or the end of the reply."""
        following = None
        if self._grammar.then and not ended:
            following = self._grammar.then(self._grammars.prepare().decode_str(self._tokens))
        if following is None:
            self.complete = True
        else:
            self._grammar = replace(self._grammar, text=following)
            self._matcher = self._grammars.start(self._grammar)

    def _raise_error(self) -> None:
        if self._matcher.is_error():
            raise EngineError(f"The grammar cannot be kept ({_line(self._matcher.get_error())}): make it simpler.")


def _refused(kind: str, problem: str) -> EngineError:
    name = {"regex": "regular expression", "lark": "grammar", "json_schema": "JSON schema"}[kind]
    return EngineError(f"The {name} does not compile ({_line(problem)}): mend it.")


def _line(problem: str) -> str:
    """A problem told over several lines, some of them a drawing of the place, in one."""
    lines = [line.strip() for line in problem.splitlines()]
    return " ".join(line for line in lines if line.strip("^ ") and " | " not in line).rstrip(".")
