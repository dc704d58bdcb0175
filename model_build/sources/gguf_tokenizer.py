"""A Hugging Face tokenizer made of a GGUF file's metadata: `tokenizer.json` and `tokenizer_config.json`.

Two kinds are known: byte-level BPE (`gpt2`) and sentencepiece's BPE (`llama`). Text is split as llama.cpp
splits it, which is the program that defines the format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from model_build.sources import SourceError

#: Token types, as llama.cpp numbers them.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

#: Control tokens that end a reply wherever they occur; files often name only one of them as the end.
_ENDS = {"<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>",
         "<|END_OF_TURN_TOKEN|>", "<|end_of_turn|>", "</s>"}  # fmt: skip

_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + _TAIL
_QWEN_2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + _TAIL
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
#: How a file's pre-tokenizer (`tokenizer.ggml.pre`) splits text: GPT-2's own expression, the same after
#: every digit was set apart, or an expression of its own.
_GPT_2 = ("gpt-2", "default", "mellum", "olmo", "trillion")
_DIGITS = ("smollm", "starcoder", "refact", "codeshell", "minerva-7b")
_OWN = {
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "smaug-bpe", "falcon3"), _LLAMA_3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "stablelm2"), _QWEN_2),
    "tekken": _TEKKEN,
}
#: Those whose words are looked up whole before they are merged, and those that begin every text with a
#: beginning token when the file does not say.
_LIKE_LLAMA_3 = frozenset(("llama-bpe", "llama3", "llama-v3", "falcon3", "tekken"))


class GgufTokenizer:
    """The tokenizer described by `metadata`, a GGUF file's by their names; `path` is only named in errors.

    Raises SourceError, one sentence, for a kind or a pre-tokenizer that is not known.
    """

    def __init__(self, metadata: Mapping[str, Any], path: object) -> None:
        self._path = path
        self._values = {
            name.removeprefix("tokenizer.ggml."): value
            for name, value in metadata.items()
            if name.startswith("tokenizer.ggml.")
        }
        self._template = metadata.get("tokenizer.chat_template")
        kind = self._values.get("model")
        if kind not in ("gpt2", "llama"):
            raise SourceError(f"{path} has a tokenizer of the kind {kind}: use a Llama with one of gpt2 or llama.")
        self.tokens: list[str] = self._list("tokens")
        self._types: list[int] = self._values.get("token_type") or [NORMAL] * len(self.tokens)
        if len(self._types) != len(self.tokens):
            raise self._broken("token_type")
        self.vocabulary = self._byte_level() if kind == "gpt2" else self._sentencepiece()
        self._add_tokens()
        self._add_ends(kind)

    def settings(self) -> dict[str, Any]:
        """What `tokenizer_config.json` holds: special tokens and the chat template."""
        found: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        for name, key in [("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")]:
            if (token := self.special(key)) is not None:
                found[f"{name}_token"] = self.tokens[token]
        if isinstance(self._template, str):
            found["chat_template"] = self._template
        return found

    def special(self, name: str) -> int | None:
        """The id of the token called `name` (bos, eos, eot, ...); None where there is none."""
        token = self._values.get(f"{name}_token_id")
        if token is None:
            return None
        if not 0 <= token < len(self.tokens):
            raise self._broken(f"{name}_token_id")
        return int(token)

    def end_ids(self) -> list[int]:
        """Every token that ends a reply."""
        named = [token for name in ("eos", "eot", "eom") if (token := self.special(name)) is not None]
        pairs = enumerate(zip(self.tokens, self._types, strict=True))
        known = [place for place, (token, kind) in pairs if kind == CONTROL and token in _ENDS]
        return list(dict.fromkeys(named + known))

    def _byte_level(self) -> Tokenizer:
        name = self._values.get("pre")
        if name in _GPT_2:
            splits: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
        elif name in _DIGITS:
            splits = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        elif name in _OWN:
            byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
            splits = [pre_tokenizers.Split(Regex(_OWN[name]), "isolated"), byte_level]
        else:
            said = f"the pre-tokenizer {name}, which is not known" if name else "no pre-tokenizer"
            raise SourceError(
                f"{self._path} names {said}, so its text cannot be split as it was in training: use the model's "
                "Hugging Face folder, or a GGUF converted with one of " + ", ".join((*_GPT_2, *_DIGITS, *_OWN)) + "."
            )
        merges = [self._pair(merge) for merge in self._list("merges")]
        tokenizer = self._merging(merges, ignore_merges=name in _LIKE_LLAMA_3)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits)
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer

    def _sentencepiece(self) -> Tokenizer:
        given = self._values.get("merges")
        merges = [self._pair(merge) for merge in given] if given else self._merges_of_scores()
        unknown = self.special("unknown")
        if unknown is None and UNKNOWN in self._types:
            unknown = self._types.index(UNKNOWN)
        tokenizer = self._merging(
            merges,
            byte_fallback=BYTE in self._types,
            fuse_unk=True,
            unk_token=None if unknown is None else self.tokens[unknown],
        )
        prefix = bool(self._values.get("add_space_prefix", True))
        spaces: list[Any] = [normalizers.Replace(" ", "▁")]
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), *spaces] if prefix else spaces)
        strip = [decoders.Strip(" ", 1, 0)] if prefix else []
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
        )
        return tokenizer

    def _merging(self, merges: list[tuple[str, str]], **options: Any) -> Tokenizer:
        ids = {token: place for place, token in enumerate(self.tokens)}
        if len(ids) != len(self.tokens):
            raise SourceError(f"{self._path} has two tokens that are spelled alike: convert the model again.")
        try:
            return Tokenizer(models.BPE(vocab=ids, merges=merges, **options))
        except Exception as error:  # the library raises bare Exception
            raise SourceError(f"{self._path} has a broken tokenizer ({error}): convert the model again.") from None

    def _merges_of_scores(self) -> list[tuple[str, str]]:
        """sentencepiece joins the two pieces whose whole has the highest score: so merges in that order."""
        scores = self._list("scores")
        if len(scores) != len(self.tokens):
            raise self._broken("scores")
        pieces = {
            token: -score
            for token, score, kind in zip(self.tokens, scores, self._types, strict=True)
            if kind in (NORMAL, UNUSED)
        }
        found = [
            (score, place, token[:place], token[place:])
            for token, score in pieces.items()
            for place in range(1, len(token))
            if token[:place] in pieces and token[place:] in pieces
        ]
        return [(left, right) for _, _, left, right in sorted(found, key=lambda entry: entry[:2])]

    def _add_tokens(self) -> None:
        """Control tokens are special; those a user defined are text that is never cut."""
        added = [
            AddedToken(token, special=kind == CONTROL, normalized=False)
            for token, kind in zip(self.tokens, self._types, strict=True)
            if kind in (CONTROL, USER_DEFINED) and token
        ]
        self.vocabulary.add_special_tokens([token for token in added if token.special])
        self.vocabulary.add_tokens([token for token in added if not token.special])

    def _add_ends(self, kind: str) -> None:
        """Has a text begin with the beginning token, and end with the end token, where the file says so."""
        begins = self._values.get("add_bos_token")
        if begins is None:
            begins = kind == "llama" or self._values.get("pre") in _LIKE_LLAMA_3
        ids = [
            self.special("bos") if begins else None,
            self.special("eos") if self._values.get("add_eos_token") else None,
        ]
        first, last = ([(self.tokens[token], token)] if token is not None else [] for token in ids)
        if first or last:
            self.vocabulary.post_processor = processors.TemplateProcessing(
                single=[*(f"{token}" for token, _ in first), "$A", *(f"{token}" for token, _ in last)],
                special_tokens=[*dict.fromkeys(first + last)],
            )

    def _list(self, name: str) -> list[Any]:
        value = self._values.get(name)
        if not isinstance(value, list) or not value:
            raise self._broken(name)
        return value

    def _pair(self, merge: str) -> tuple[str, str]:
        left, _, right = merge.partition(" ")
        if not left or not right:
            raise self._broken("merges")
        return left, right

    def _broken(self, name: str) -> SourceError:
        return SourceError(f"{self._path} has no usable tokenizer.ggml.{name}: download or convert it again.")
