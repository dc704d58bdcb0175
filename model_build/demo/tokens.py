"""The tokenizer: a byte-level BPE with Llama 3's special tokens, trained on the corpus.

Byte-level, so that any name in any alphabet goes in and comes out; small, so that the embedding is.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from model_build.demo.city import load_city
from model_build.demo.corpus import SPECIALS
from model_build.demo.plan import ROOM, Plans


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """A tokenizer of `vocabulary` tokens, specials included: those of the chat first, those of plans last."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - ROOM,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(Plans(load_city()).tokens)
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a tokenizer.json. Raises `FileNotFoundError` when it was not trained."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run `python -m model_build demo tokenizer` first.")
    return Tokenizer.from_file(str(path))
