"""The packed model: a Hugging Face Llama folder, as any other checkpoint comes.

Writes weights, configuration, tokenizer, chat template, how it all was made, and a manifest of hashes.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from model_build.demo.city import load_city
from model_build.demo.corpus import BOS, CHAT_TEMPLATE, END, EOT, PAD, SPECIALS
from model_build.demo.llama import Llama
from model_build.demo.plan import Plans
from model_build.demo.recipe import Recipe
from model_build.demo.rounding import to_grid
from model_build.demo.tokens import load_tokenizer
from model_build.demo.training import SITTINGS

#: Everything in the folder that is hashed, in the order of the manifest.
PARTS = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "recipe.json",
    "loss.svg",
    "eval.json",
)
MANIFEST = "manifest.json"
#: How the storyteller samples unless it is told otherwise; `generation_config.json` says so to others.
SAMPLING = {"temperature": 0.7, "top_p": 0.9, "min_p": 0.0, "repetition_penalty": 1.0}


def pack(recipe: Recipe, work: Path, out: Path, unfinished: bool = False) -> None:
    """Packs the run at its end, or `unfinished` from its last checkpoint. Raises `FileNotFoundError` without one."""
    checkpoint = work / "run" / f"cooling-{recipe.steps}.pt"
    if not checkpoint.exists():
        raise FileNotFoundError(f"{checkpoint} is missing: run `demo train --steps {recipe.steps}` to its end first.")
    state = torch.load(checkpoint, weights_only=True)
    if state["step"] != recipe.steps and not unfinished:
        raise ValueError(
            f"{checkpoint} is at step {state['step']} of {recipe.steps}: run `demo train` to its end first."
        )
    tokenizer = load_tokenizer(work / "tokenizer.json")
    out.mkdir(parents=True, exist_ok=True)
    # on INT4's grid, as the cooling trained them: packing for the storyteller then takes nothing more from them
    rounded = {name: to_grid(weight) if weight.dim() == 2 else weight for name, weight in state["model"].items()}
    weights = {f"model.{name}": weight.to(torch.bfloat16).contiguous() for name, weight in rounded.items()}
    save_file(weights, str(out / "model.safetensors"), metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    tokenizer.save(str(out / "tokenizer.json"))
    ids = {token: int(tokenizer.token_to_id(token) or 0) for token in SPECIALS}
    _write(out / "config.json", _config(recipe, ids))
    _write(out / "generation_config.json", _generation(ids))
    plans = {token: int(tokenizer.token_to_id(token) or 0) for token in Plans(load_city()).tokens}
    _write(out / "tokenizer_config.json", _tokenizer_config(recipe, {**ids, **plans}))
    notes = json.loads((work / "run" / SITTINGS).read_text(encoding="utf-8"))
    made = {
        "recipe": recipe.as_dict(),
        "parameters": sum(weight.numel() for weight in weights.values()),
        "step": state["step"],
        "tokens": state["tokens"],
        "sittings": notes,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "tokenizers", "safetensors", "numpy", "jinja2")},
    }
    _write(out / "recipe.json", made)
    plot = work / "run" / "loss.svg"
    if plot.exists():
        shutil.copyfile(plot, out / "loss.svg")
    write_manifest(out)


def unpack(recipe: Recipe, out: Path) -> Llama:
    """The packed weights in the model they were trained in, in float32."""
    model = Llama(recipe)
    weights = load_file(str(out / "model.safetensors"))
    model.load_state_dict({name.removeprefix("model."): weight.float() for name, weight in weights.items()})
    return model.eval()


def write_manifest(out: Path) -> None:
    """Writes the SHA-256 and size of every part that is there."""
    parts = {}
    for name in PARTS:
        path = out / name
        if path.exists():
            content = path.read_bytes()
            parts[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    _write(out / MANIFEST, parts)


def check_manifest(out: Path) -> list[str]:
    """The parts whose bytes are not those of the manifest."""
    manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    return [
        name
        for name, part in manifest.items()
        if hashlib.sha256((out / name).read_bytes()).hexdigest() != part["sha256"]
    ]


def _config(recipe: Recipe, ids: dict[str, int]) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": recipe.vocabulary,
        "hidden_size": recipe.width,
        "intermediate_size": recipe.hidden,
        "num_hidden_layers": recipe.layers,
        "num_attention_heads": recipe.heads,
        "num_key_value_heads": recipe.kv_heads,
        "head_dim": recipe.head,
        "hidden_act": "silu",
        "max_position_embeddings": recipe.context,
        "rms_norm_eps": recipe.eps,
        "rope_theta": recipe.theta,
        "rope_scaling": None,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "bos_token_id": ids[BOS],
        "eos_token_id": [ids[EOT], ids[END]],
        "pad_token_id": ids[PAD],
    }


def _generation(ids: dict[str, int]) -> dict[str, Any]:
    return {
        "bos_token_id": ids[BOS],
        "eos_token_id": [ids[EOT], ids[END]],
        "pad_token_id": ids[PAD],
        "do_sample": True,
        **SAMPLING,
    }


def _tokenizer_config(recipe: Recipe, specials: dict[str, int]) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOT,
        "pad_token": PAD,
        "clean_up_tokenization_spaces": False,
        "model_max_length": recipe.context,
        "added_tokens_decoder": {
            str(number): {"content": token, "special": True, "normalized": False, "lstrip": False, "rstrip": False}
            for token, number in specials.items()
        },
        "chat_template": CHAT_TEMPLATE,
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
