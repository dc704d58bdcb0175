"""Loading: true progress, the paced wait, and one sentence for every broken folder."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from storyteller.engine import EngineError, Sampling, load_engine
from storyteller.engine.files.checkpoint import read_checkpoint_config
from tests.tiny_llama import write_tiny_llama


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "model", shards=2)


def change(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def reshape(folder: Path, name: str) -> None:
    """Gives a tensor another shape of the same size."""
    for path in folder.glob("*.safetensors"):
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        if name in header:
            header[name]["shape"] = [
                header[name]["shape"][0] * 2,
                *header[name]["shape"][1:-1],
                header[name]["shape"][-1] // 2,
            ]
            written = json.dumps(header, separators=(",", ":")).encode().ljust(length)
            path.write_bytes(content[:8] + written[:length] + content[8 + length :])


def drop(folder: Path, name: str) -> None:
    index = folder / "model.safetensors.index.json"
    parsed = json.loads(index.read_text())
    del parsed["weight_map"][name]
    index.write_text(json.dumps(parsed))
    for path in folder.glob("*.safetensors"):
        content = path.read_bytes()
        path.write_bytes(content.replace(name.encode(), b"x" * len(name)))


def remove_weights(folder: Path) -> None:
    for path in folder.glob("*safetensors*"):
        path.unlink()


def write_header(path: Path, header: bytes) -> None:
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def to_pickles(folder: Path) -> None:
    remove_weights(folder)
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04")


def to_ggufs(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "model-q4.gguf").write_bytes(b"GGUF")


def change_template(folder: Path, template: str) -> None:
    (folder / "chat_template.jinja").write_text(template)


SHARD = "model-00002-of-00002.safetensors"
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda f: f.rename(f.with_name("gone")), "does not exist: give the folder"),
    "no config": (lambda f: (f / "config.json").unlink(), r"config\.json is missing: give a folder"),
    "config not JSON": (lambda f: (f / "config.json").write_text("{"), r"config\.json cannot be read as JSON"),
    "another model": (lambda f: change(f, model_type="gemma"), "describes a gemma model .* not computed as a Llama"),
    "another head": (
        lambda f: change(f, architectures=["LlamaForSequenceClassification"]),
        "LlamaForSequenceClassification.*not computed as a Llama",
    ),
    "quantized": (lambda f: change(f, quantization_config={"bits": 4}), "already quantized: use the original"),
    "activation": (lambda f: change(f, hidden_act="gelu"), "hidden_act is gelu"),
    "no width": (lambda f: change(f, hidden_size="big"), "hidden_size is 'big', but must be a whole number"),
    "heads": (lambda f: change(f, num_key_value_heads=3), "no multiple of num_key_value_heads 3"),
    "rope": (lambda f: change(f, rope_scaling={"rope_type": "longrope"}), "rope type longrope is not supported"),
    "rope factor": (lambda f: change(f, rope_scaling={"rope_type": "linear"}), "factor is None"),
    "partial rotation": (lambda f: change(f, partial_rotary_factor=0.5), "partial_rotary_factor is not supported"),
    "eos": (lambda f: change(f, eos_token_id="x"), "eos_token_id is 'x'"),
    "endless layers": (lambda f: change(f, num_hidden_layers=10**12), "num_hidden_layers is 1,000,000,000,000, more"),
    "absurd width": (lambda f: change(f, hidden_size=1 << 40), "hidden_size is .* more than any Llama's"),
    "endless context": (lambda f: change(f, max_position_embeddings=10**15), "max_position_embeddings is .* more than"),
    "no number": (lambda f: change(f, rms_norm_eps=float("nan")), "rms_norm_eps is nan, but must be a number above 0"),
    "nested config": (lambda f: (f / "config.json").write_text("[" * 200_000), r"config\.json cannot be read as JSON"),
    "nested header": (lambda f: write_header(f / SHARD, b"[" * 200_000), f"{SHARD} is cut short or no safetensors"),
    "git-lfs": (
        lambda f: (f / SHARD).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n"),
        f"{SHARD} is a git-lfs pointer, not the weights: run `git lfs pull`",
    ),
    "renamed GGUF": (lambda f: (f / SHARD).write_bytes(b"GGUF" + bytes(99)), f"{SHARD} is a GGUF file by its content"),
    "renamed pickle": (lambda f: (f / SHARD).write_bytes(b"PK\x03\x04" + bytes(99)), f"{SHARD} is a PyTorch file"),
    "pickles": (to_pickles, r"has its weights in pytorch_model\.bin, which may run code"),
    "GGUF files": (to_ggufs, r"is a folder of GGUF files: pack one of them first, such as .*model-q4\.gguf"),
    "no head": (lambda f: drop(f, "lm_head.weight"), r"no lm_head.weight: .*tie_word_embeddings"),
    "endless template": (
        lambda f: change_template(f, "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}"),
        "chat template of .* is broken .*nested too deeply",
    ),
    "no weights": (remove_weights, r"has no \*\.safetensors"),
    "shard missing": (lambda f: (f / SHARD).unlink(), f"{SHARD} is missing: download the whole checkpoint"),
    "shard cut": (lambda f: cut(f / SHARD, 100_000), f"{SHARD} is cut short .* bytes.: download it again"),
    "header cut": (lambda f: cut(f / SHARD, 5), f"{SHARD} is cut short or no safetensors file"),
    "no safetensors": (lambda f: (f / SHARD).write_text("<html>" * 99), f"{SHARD} is cut short or no safetensors"),
    "tensor missing": (lambda f: drop(f, "model.norm.weight"), "lacks the tensor model.norm.weight"),
    "wrong shape": (
        lambda f: reshape(f, "model.layers.1.mlp.up_proj.weight"),
        r"up_proj\.weight has shape \[192, 32\], but config\.json asks for \[96, 64\]",
    ),
    "config of another": (lambda f: change(f, intermediate_size=128), "but config.json asks for"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), r"tokenizer\.json is missing"),
    "broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), r"tokenizer\.json cannot be read"),
    "no template": (lambda f: (f / "tokenizer_config.json").unlink(), "has no chat template: use an Instruct"),
    "small vocabulary": (lambda f: change(f, vocab_size=32), "but config.json asks for"),
    "index": (lambda f: (f / "model.safetensors.index.json").write_text("{}"), "has no weight_map"),
    "index out of folder": (
        lambda f: (f / "model.safetensors.index.json").write_text('{"weight_map": {"x": "../y"}}'),
        "which is no file of its folder",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_folder_is_told_in_one_sentence(folder: Path, fault: str) -> None:
    spoil, sentence = BROKEN[fault]
    spoil(folder)
    with pytest.raises(EngineError, match=sentence) as raised:
        load_engine(folder)
    told = str(raised.value)
    assert "\n" not in told
    assert told.endswith((".", "again."))


def test_without_chat_a_missing_template_is_no_error(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    engine = load_engine(folder, chat=False)
    assert engine.generate(engine.encode("abc"), Sampling(temperature=0, max_tokens=2)).tokens <= 2
    with pytest.raises(EngineError, match="has no chat template"):
        engine.encode_chat([{"role": "user", "content": "x"}])


def test_progress_is_the_bytes_read_and_ends_at_all_of_them(folder: Path) -> None:
    reports: list[tuple[int, int]] = []
    load_engine(folder, lambda done, total: reports.append((done, total)), pace_s=1.0)
    tensors = 0
    for path in folder.glob("*.safetensors"):
        content = path.read_bytes()
        tensors += len(content) - 8 - int.from_bytes(content[:8], "little")
    assert {total for _, total in reports} == {tensors}
    counts = [done for done, _ in reports]
    assert counts == sorted(counts)
    assert len(set(counts)) >= 3
    assert reports[-1] == (tensors, tensors)


def test_the_pace_holds_the_reading_back_and_changes_nothing_else(folder: Path) -> None:
    prompt = list(b"Once upon a time")
    plain = load_engine(folder).generate(prompt, Sampling(temperature=0, max_tokens=20))
    began = time.monotonic()
    paced = load_engine(folder, pace_s=0.5)
    assert time.monotonic() - began >= 0.5
    assert paced.generate(prompt, Sampling(temperature=0, max_tokens=20)).ids == plain.ids


def test_the_context_is_never_more_than_the_model_was_made_for(folder: Path) -> None:
    assert load_engine(folder, context=100).context == 100
    assert load_engine(folder, context=100_000).context == 256


def test_threads_are_set(folder: Path) -> None:
    before = torch.get_num_threads()
    try:
        load_engine(folder, threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_importing_the_engine_imports_no_torch() -> None:
    code = "import sys, storyteller.engine as e; e.Sampling(), e.Engine; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_reading_begins_before_torch_is_imported(folder: Path) -> None:
    code = (
        "import sys, storyteller.engine as e\n"
        "seen = []\n"
        f"e.load_engine({str(folder)!r}, lambda d, t: seen.append('torch.nn' in sys.modules), pace_s=0.5)\n"
        "print(seen[0], seen[-1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(EngineError, match=r"model\.gguf is a GGUF file, not a folder: pack it first"):
        load_engine(tmp_path / "model.gguf")


@pytest.mark.parametrize("own", [True, False])
def test_a_head_beside_a_tied_embedding_is_used_where_it_differs(tmp_path: Path, own: bool) -> None:
    untied = write_tiny_llama(tmp_path / "untied")
    head = load_file(untied / "model.safetensors")["lm_head.weight"]
    tied = write_tiny_llama(tmp_path / "tied", tied=True)
    tensors = load_file(tied / "model.safetensors")
    tensors["lm_head.weight"] = head if own else tensors["model.embed_tokens.weight"].clone()
    plain = load_engine(tied)
    save_file(tensors, tied / "model.safetensors", metadata={"format": "pt"})
    ids = plain.encode("the gate")
    scores = [load_engine(folder).score(ids)[0].logprob for folder in (tied, untied)]
    assert read_checkpoint_config(tied).tied is not own
    assert scores[0] == pytest.approx(scores[1] if own else plain.score(ids)[0].logprob, rel=1e-6)


@pytest.mark.parametrize(("kind", "given", "context"), [
    ("mistral", {"sliding_window": 64}, 64), ("mistral", {"sliding_window": None}, 256),
    ("qwen2", {"sliding_window": 64, "use_sliding_window": True}, 64),
    ("qwen2", {"sliding_window": 64, "use_sliding_window": False}, 256),
    ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}, 256),
])  # fmt: skip
def test_the_context_ends_where_attention_would_differ(
    tmp_path: Path, kind: str, given: dict[str, Any], context: int
) -> None:
    architecture = {"mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM", "llama": "LlamaForCausalLM"}[kind]
    folder = write_tiny_llama(tmp_path, model_type=kind, architectures=[architecture], **given)
    assert load_engine(folder).context == context


def test_broken_weights_are_told_when_they_are_sampled(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    engine = load_engine(folder)
    with pytest.raises(EngineError, match="logits are no numbers"):
        engine.generate(engine.encode("abc"), Sampling(max_tokens=2))
