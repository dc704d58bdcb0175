"""LoRA adapters: merged as PEFT itself merges them, before anything is rounded, or refused by name."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from model_build import resolve
from model_build.__main__ import main
from model_build.packing.pack import pack
from model_build.resolve import model_folder
from model_build.sources import SourceError, open_source
from model_build.sources.adapter import CONFIG, WEIGHTS, AdaptedSource, adapter_digest
from storyteller.engine.files.bundle import read_manifest
from storyteller.engine.files.checkpoint import expected_tensors
from tests.tiny_gguf import same, write_gguf
from tests.tiny_llama import write_tiny_llama

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TEXT = "The gate of the city is green, and so is the glass. " * 40


def peft_model(checkpoint: Path, **settings: Any) -> Any:
    """The checkpoint with a LoRA whose two sides are random."""
    with warnings.catch_warnings():  # its own, and torchao's
        warnings.simplefilter("ignore")
        from peft import LoraConfig, get_peft_model
        from transformers import LlamaForCausalLM

        base = LlamaForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
        torch.manual_seed(5)
        options = {"r": 4, "lora_alpha": 8, "target_modules": LINEARS, "init_lora_weights": False, **settings}
        return get_peft_model(base, LoraConfig(**options))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes: dict[str, Any] = {"width": 128, "hidden": 192, "head_dim": 64, "heads": 2, "kv_heads": 1}
    return write_tiny_llama(tmp_path_factory.mktemp("base") / "model", words=["gate"], scale=0.06, **sizes)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    folder = tmp_path_factory.mktemp("adapter") / "voice"
    peft_model(checkpoint).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True, "r": 9},
        {"target_modules": ["q_proj", "down_proj"], "layers_to_transform": [1]},
        {"target_modules": [*LINEARS, "lm_head", "embed_tokens"]},
        {"rank_pattern": {"k_proj": 2, "layers.1.mlp.up_proj": 7}, "alpha_pattern": {r"layers\.0\..*q_proj": 3}},
    ],
    ids=["all linears", "rslora", "some", "head and embedding", "patterns"],
)
def test_it_is_merged_as_peft_merges_it(tmp_path: Path, checkpoint: Path, settings: dict[str, Any]) -> None:
    model = peft_model(checkpoint, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the embedding is saved too
        model.save_pretrained(tmp_path / "voice", save_embedding_layers=False)
    theirs = {name: tensor.clone() for name, tensor in model.merge_and_unload().state_dict().items()}
    source = open_source(str(checkpoint), adapter=tmp_path / "voice")
    plain = load_file(checkpoint / "model.safetensors")
    changed = 0
    for name in expected_tensors(source.config):
        assert torch.allclose(source.rows(name), theirs[name], atol=1e-6), name
        changed += not torch.equal(theirs[name], plain[name])
    assert changed == len(source._pairs)  # type: ignore[attr-defined]
    assert torch.allclose(source.rows("lm_head.weight", 5, 9), theirs["lm_head.weight"][5:9], atol=1e-6)
    assert torch.allclose(
        source.rows("model.embed_tokens.weight", 5, 9), theirs["model.embed_tokens.weight"][5:9], atol=1e-6
    )


@pytest.mark.parametrize("calibrated", [False, True])
def test_packing_rounds_the_merged_weights(tmp_path: Path, checkpoint: Path, adapter: Path, calibrated: bool) -> None:
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    options: dict[str, Any] = {"calibration": text if calibrated else None}
    source = open_source(str(checkpoint), adapter=adapter)
    merged = model_folder(checkpoint, adapter, tmp_path / "models")
    # Merged by hand and in 32 bits, so that both roundings see the very same numbers.
    save_file({name: source.rows(name) for name in expected_tensors(source.config)}, merged / "model.safetensors")
    first = read_manifest(pack(source, tmp_path / "first", **options))
    second = read_manifest(pack(open_source(str(merged)), tmp_path / "second", **options))
    third = read_manifest(pack(open_source(str(checkpoint)), tmp_path / "third", **options))
    assert first.raw["files"] == second.raw["files"] != third.raw["files"]
    assert first.raw["source"]["adapter"] == {"name": "voice", "sha256": adapter_digest(adapter)}
    assert "adapter" not in third.raw["source"]


def test_another_adapter_packs_again(
    tmp_path: Path, checkpoint: Path, adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    peft_model(checkpoint, r=2).save_pretrained(other)
    out, digests = tmp_path / "bundle", []
    for one in (adapter, other):
        assert main(["pack", str(checkpoint), "--adapter", str(one), "--out", str(out)]) == 0
        digests.append(read_manifest(out).raw["files"]["weights-001.safetensors"]["sha256"])
    assert digests[0] != digests[1]
    assert main(["generate", str(out), "--adapter", str(adapter), "--prompt", "Hello"]) == 1
    assert "is packed already: give the adapter when you pack the model" in capsys.readouterr().err


def test_it_is_merged_into_a_gguf_file(
    tmp_path: Path, checkpoint: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", checkpoint)
    first, second = (open_source(str(one), adapter=adapter) for one in (path, checkpoint))
    names = expected_tensors(first.config)
    assert same({name: first.rows(name) for name in names}, {name: second.rows(name) for name in names})
    monkeypatch.setattr(resolve, "MODELS", tmp_path / "models")
    say = ["--prompt", "The gate", "--raw", "--tokens", "8", "--temperature", "0", "--threads", "1"]
    told = []
    for arguments in ([str(path), "--adapter", str(adapter)], [str(path)]):
        assert main(["generate", *arguments, *say]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] != told[1]
    assert len(list((tmp_path / "models").iterdir())) == 2


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"peft_type": "IA3"}, "an adapter of the kind IA3: use a LoRA"),
        ({"use_dora": True}, "uses DoRA, which cannot be merged"),
        ({"modules_to_save": ["lm_head"]}, "modules trained as a whole"),
        ({"bias": "lora_only"}, "trains biases"),
        ({"lora_bias": True}, "a bias of its own"),
        ({"init_lora_weights": "pissa"}, "began with pissa, which changes the model's own weights"),
        ({"layer_replication": [[0, 1]]}, "repeated layers"),
        ({"trainable_token_indices": [1]}, "trained tokens"),
        ({"r": 5}, r"rank 5 and the model's .+ ask for"),
        ({"r": 0}, "r is 0"),
        ({"lora_alpha": "much"}, "lora_alpha 'much'"),
    ],
)
def test_what_is_no_plain_lora_is_refused_by_name(
    tmp_path: Path, checkpoint: Path, adapter: Path, settings: dict[str, Any], sentence: str
) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    config = json.loads((adapter / CONFIG).read_text())
    (changed / CONFIG).write_text(json.dumps({**config, **settings}))
    (changed / WEIGHTS).write_bytes((adapter / WEIGHTS).read_bytes())
    refused(checkpoint, changed, sentence)


AT = "base_model.model.model.layers.0."


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({AT + "self_attn.q_proj.lora_magnitude_vector": (128,)}, "lora_magnitude_vector, which is no linear"),
        ({AT + "self_attn.qkv.lora_A.weight": (4, 128)}, "self_attn.qkv.lora_A.weight, which is no linear"),
        ({AT.replace("0", "7") + "mlp.up_proj.lora_A.weight": (4, 128)}, "layers.7.mlp.up_proj"),
        ({AT + "input_layernorm.lora_A.weight": (4, 128)}, "input_layernorm"),
        ({AT + "mlp.up_proj.lora_A.weight": (4, 128)}, "only half of the change of model.layers.0.mlp.up_proj"),
        ({AT + "mlp.up_proj.lora_A.weight": (4, 64), AT + "mlp.up_proj.lora_B.weight": (192, 4)}, "own base model"),
        ({}, "changes nothing"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_by_name(
    tmp_path: Path, checkpoint: Path, adapter: Path, tensors: dict[str, tuple[int, ...]], sentence: str
) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / CONFIG).write_bytes((adapter / CONFIG).read_bytes())
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, changed / WEIGHTS)
    refused(checkpoint, changed, sentence)


def test_a_tied_head_and_missing_files_are_refused(tmp_path: Path, checkpoint: Path, adapter: Path) -> None:
    tied = write_tiny_llama(tmp_path / "tied", tied=True, width=128, heads=2, kv_heads=1)
    changed = tmp_path / "changed"
    changed.mkdir()
    refused(checkpoint, changed, "adapter_config.json is missing")
    (changed / CONFIG).write_bytes((adapter / CONFIG).read_bytes())
    refused(checkpoint, changed, "adapter_model.safetensors is missing")
    (changed / WEIGHTS).write_bytes((adapter / WEIGHTS).read_bytes()[:-100])
    refused(checkpoint, changed, "is cut short or broken")
    save_file({"base_model.model.model.embed_tokens.lora_embedding_A": torch.zeros(4, 288)}, changed / WEIGHTS)
    refused(tied, changed, "embedding and head are one here")


def refused(checkpoint: Path, adapter: Path, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence) as raised:
        AdaptedSource(open_source(str(checkpoint)), adapter)
    assert str(adapter) in str(raised.value)
    assert "\n" not in str(raised.value)
