"""Random Llamas of a few kilobytes in Hugging Face's folder form, for any test that needs a model.

    folder = write_tiny_llama(tmp_path / "model", layers=2, kv_heads=2)

Its byte-level tokenizer is made on the spot: every byte is a token, so any text goes through, and
a character of several bytes comes as several tokens. Words given as `merges` become one token each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from storyteller.engine.files.checkpoint import expected_tensors
from storyteller.engine.files.config import parse_config

BEGIN, END_TEXT, END_TURN = "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"
SPECIALS = (BEGIN, END_TEXT, "<|start_header_id|>", "<|end_header_id|>", END_TURN)

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n{{ message['content'] | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)

#: The RoPE forms in use, as `config.json` spells them.
LLAMA_2 = {"rope_theta": 10_000.0, "rope_scaling": None}
LLAMA_3 = {"rope_theta": 500_000.0, "rope_scaling": None}
LLAMA_3_1 = {
    "rope_theta": 500_000.0,
    "rope_scaling": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
        "rope_type": "llama3",
    },
}
LLAMA_3_2 = {"rope_theta": 500_000.0, "rope_scaling": {**LLAMA_3_1["rope_scaling"], "factor": 32.0}}  # type: ignore[dict-item]
TRANSFORMERS_5 = {"rope_parameters": {"rope_theta": 500_000.0, **LLAMA_3_1["rope_scaling"]}}  # type: ignore[dict-item]


def write_tokenizer(folder: Path, words: Sequence[str] = ()) -> int:
    """A byte-level `tokenizer.json` and its config; returns the number of tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(letters)}
    merges: list[tuple[str, str]] = []
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for word in words:
        letters_of = "".join(piece for piece, _ in spell.pre_tokenize_str(word))
        for end in range(2, len(letters_of) + 1):
            merged = letters_of[:end]
            if merged not in vocabulary:
                vocabulary[merged] = len(vocabulary)
                merges.append((letters_of[: end - 1], letters_of[end - 1]))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    tokenizer.save(str(folder / "tokenizer.json"))
    return int(tokenizer.get_vocab_size())


def write_tiny_llama(
    folder: Path,
    *,
    width: int = 64,
    hidden: int = 96,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    context: int = 256,
    tied: bool = False,
    shards: int = 1,
    stored: torch.dtype = torch.float32,
    seed: int = 0,
    scale: float = 0.1,
    words: Sequence[str] = (),
    template: str | None = CHAT_TEMPLATE,
    template_file: bool = False,
    **config: Any,
) -> Path:
    """Writes a whole checkpoint folder and returns it; `config` goes into config.json as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    size = write_tokenizer(folder, words)
    vocab = -(-size // 32) * 32
    ids = {token: size - len(SPECIALS) + place for place, token in enumerate(SPECIALS)}
    settings = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocab,
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "tie_word_embeddings": tied,
        "bos_token_id": ids[BEGIN],
        "eos_token_id": ids[END_TEXT],
        **LLAMA_3,
        **config,
    }
    if "rope_parameters" in config:
        del settings["rope_theta"], settings["rope_scaling"]
    _write_json(folder / "config.json", settings)
    _write_json(folder / "generation_config.json", {"eos_token_id": [ids[END_TEXT], ids[END_TURN]]})
    chat: dict[str, Any] = {"bos_token": BEGIN, "eos_token": END_TURN}
    if template is not None and template_file:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    elif template is not None:
        chat["chat_template"] = template
    _write_json(folder / "tokenizer_config.json", chat)
    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in expected_tensors(parse_config(settings, folder / "config.json")).items():
        values = torch.randn(shape, generator=random) * scale
        tensors[name] = (values + 1.0 if name.endswith("norm.weight") else values).to(stored)
    _write_weights(folder, tensors, shards)
    return folder


def _write_weights(folder: Path, tensors: dict[str, torch.Tensor], shards: int) -> None:
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    placed: dict[str, str] = {}
    names = list(tensors)
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = names[shard::shards]
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        placed.update(dict.fromkeys(part, file))
    _write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": placed})


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
