"""What transformers makes of a GGUF file, and that our engine tells the same."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from storyteller.engine import Sampling, load_engine


def theirs(path: Path) -> Any:
    """transformers' model from the file, dequantized and rounded to 16 bits as ours is."""
    with warnings.catch_warnings():  # its own, and torchao's
        warnings.simplefilter("ignore")
        from transformers import AutoModelForCausalLM, GgufConfig

        options: dict[str, Any] = {"dtype": torch.float16, "quantization_config": GgufConfig(dequantize=True)}
        found: Any = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, **options)
        return found.float().eval()


def their_ids(model: Any, ids: list[int], ends: list[int], count: int) -> list[int]:
    with torch.inference_mode():
        prompt = torch.tensor([ids])
        told = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=count, do_sample=False,
                              eos_token_id=ends)  # fmt: skip
    return [int(token) for token in told[0, len(ids) :]]


def assert_tells_the_same(folder: Path, model: Any, their_tokenizer: Any, prompts: list[str], count: int) -> None:
    engine = load_engine(folder, chat=False, threads=1)
    for prompt in prompts:
        ids = engine.encode(prompt)
        assert ids == their_tokenizer(prompt)["input_ids"]
        told = their_ids(model, ids, sorted(engine.stop_ids), count)
        done = engine.generate(ids, Sampling(temperature=0, max_tokens=count))
        assert done.text == their_tokenizer.decode(told, skip_special_tokens=True)
