"""A bundle's whole way: packed, checked, loaded, told with; and the same tokens every way."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from model_build.packing.pack import pack
from model_build.packing.prefix import common, write_prefix
from model_build.sources import open_source
from storyteller.engine import Engine, EngineError, Sampling, load_engine
from storyteller.engine.files.bundle import KernelName, read_manifest, verify
from storyteller.engine.files.layout import LAYOUT
from storyteller.engine.model import Llama

LINE = "Once upon a time there was a gate. Behind the gate there was a gate, and behind the gate a city."
LONG = Sampling(temperature=0.0, max_tokens=60)
WARM = Sampling(temperature=1.2, top_p=0.9, seed=5, repetition_penalty=1.1, max_tokens=60)


@pytest.fixture(autouse=True)
def kernel(kernel_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERTURE_KERNEL", str(kernel_file))


@pytest.fixture
def own(bundle: Path, tmp_path: Path) -> Path:
    """A copy to be spoiled."""
    return Path(shutil.copytree(bundle, tmp_path / "own"))


def logits(engine: Engine, text: str = LINE) -> torch.Tensor:
    model, ids = engine._model, engine.encode(text)
    return model.forward(ids, 0, model.new_cache(), rows=len(ids))


def test_it_says_nearly_what_the_checkpoint_says(bundle: Path, checkpoint: Path) -> None:
    exact, packed = logits(load_engine(checkpoint)), logits(load_engine(bundle))
    assert (exact - packed).norm() / exact.norm() < 0.3
    assert torch.nn.functional.cosine_similarity(exact.flatten(), packed.flatten(), dim=0) > 0.95


@pytest.mark.parametrize("kernel", ["native", "stock", "reference"])
def test_every_kernel_says_the_same(bundle: Path, kernel: KernelName) -> None:
    tolerance = {"native": 1e-4, "reference": 1e-6, "stock": 0.05}[kernel]
    expected, got = logits(load_engine(bundle, kernel="reference")), logits(load_engine(bundle, kernel=kernel))
    assert (expected - got).norm() / expected.norm() < tolerance


@pytest.mark.parametrize("sampling", [LONG, WARM], ids=["greedy", "sampled"])
def test_the_tokens_are_the_same_every_way(bundle: Path, own: Path, sampling: Sampling) -> None:
    plain = load_engine(bundle, threads=1, speculate=False)
    prompt = plain.encode(LINE)
    expected = plain.generate(prompt, sampling).ids
    assert len(expected) >= 20

    def told(engine: Engine, ids: list[int] = prompt) -> tuple[int, ...]:
        return engine.generate(ids, sampling).ids

    assert told(load_engine(bundle, threads=3, speculate=False)) == expected
    assert told(load_engine(bundle, threads=2, copy=True)) == expected
    drafting = load_engine(bundle)
    assert drafting.generate(prompt, sampling).ids == expected
    assert told(drafting) == expected  # from its own cache
    for chunk in (8, 256):
        engine = load_engine(bundle, speculate=False)
        engine._chunk = chunk
        assert told(engine) == expected
    reusing = load_engine(bundle, speculate=False)
    reusing.generate(prompt[:30], Sampling(temperature=0, max_tokens=10))
    done = reusing.generate(prompt, sampling)
    assert (done.reused_tokens, done.ids) == (30, expected)
    write_prefix(own, plain, prompt[:37])
    shipped = load_engine(own, speculate=False).generate(prompt, sampling)
    assert (shipped.reused_tokens, shipped.ids) == (37, expected)


def test_logits_are_the_same_bits_in_any_parts(bundle: Path) -> None:
    whole = logits(load_engine(bundle, threads=1))
    engine = load_engine(bundle, threads=2)
    model, ids = engine._model, engine.encode(LINE)
    for chunk in (1, 7, 64):
        cache = model.new_cache()
        parts = [
            model.forward(ids[a : a + chunk], a, cache, rows=len(ids[a : a + chunk])) for a in range(0, len(ids), chunk)
        ]
        assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("bits", [4, 8])
def test_all_layers_in_one_call_are_the_same_bits_as_one_by_one(
    bundle: Path, checkpoint: Path, tmp_path: Path, bits: int
) -> None:
    if bits == 8:
        bundle = pack(open_source(str(checkpoint), None), tmp_path / "bundle", calibration="none", bits=8)
    engine = load_engine(bundle, threads=2)
    model = engine._model
    assert isinstance(model, Llama)
    assert model._pass is not None
    whole = logits(engine)
    model._pass = None
    assert torch.equal(logits(engine), whole)
    assert load_engine(bundle, kernel="reference")._model._pass is None  # type: ignore[attr-defined]


def test_torch_starts_no_threads_beside_the_kernels_own(bundle: Path) -> None:
    before = torch.get_num_threads()
    try:
        for kernel, threads in (("stock", 2), ("native", 1)):
            load_engine(bundle, threads=2, kernel=kernel)  # type: ignore[arg-type]
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_drafting_is_at_work_where_the_text_repeats(bundle: Path) -> None:
    engine = load_engine(bundle)
    prompt = engine.encode(LINE * 2)
    done = engine.generate(prompt, Sampling(temperature=0.0, max_tokens=100))
    assert done.drafted_tokens > 0
    assert 0 <= done.accepted_tokens <= done.drafted_tokens


def test_another_story_begins_from_what_they_share_and_the_first_is_kept(bundle: Path) -> None:
    engine = load_engine(bundle, speculate=False)
    beginning = engine.encode("The storyteller of the city speaks. ")
    first, second = beginning + engine.encode("One " * 20), beginning + engine.encode("Two " * 20)
    assert engine.generate(first, LONG).reused_tokens == 0
    assert engine.generate(second, LONG).reused_tokens == len(beginning)
    assert engine.generate(first, LONG).reused_tokens == len(first) - 1
    assert engine.generate(second, LONG).reused_tokens == len(second) - 1


def test_the_prefix_is_never_worn_out(own: Path) -> None:
    plain = load_engine(own, speculate=False)
    prompt = plain.encode(LINE)
    write_prefix(own, plain, prompt[:40])
    engine = load_engine(own, cache_slots=1, speculate=False)
    assert engine.generate(prompt, LONG).ids == plain.generate(prompt, LONG).ids
    for text in ("Something else entirely. " * 3, LINE):
        engine.generate(engine.encode(text), LONG)
    other = [*prompt[:40], *engine.encode(" But no.")]
    assert engine.generate(other, LONG).reused_tokens >= 40
    assert read_manifest(own).raw["prefix"]["tokens"] == 40


def test_what_prompts_have_in_common() -> None:
    assert common([[1, 2, 3, 4], [1, 2, 9], [1, 2, 3]]) == [1, 2]
    assert common([[1], [2]]) == []


def test_the_log_names_kernel_and_layout(bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="storyteller.engine"):
        load_engine(bundle)
    assert any("kernel native" in line and LAYOUT in line for line in caplog.messages)


def test_progress_counts_the_files_bytes(bundle: Path) -> None:
    reports: list[tuple[int, int]] = []
    load_engine(bundle, lambda done, total: reports.append((done, total)), pace_s=0.2)
    size = sum(path.stat().st_size for path in bundle.glob("*.safetensors"))
    counts = [done for done, _ in reports]
    assert counts == sorted(counts)
    assert reports[-1] == (size, size)


def test_neither_torchao_nor_transformers_is_imported_at_run_time(bundle: Path) -> None:
    code = (
        "import sys, storyteller.engine as e\n"
        f"engine = e.load_engine({str(bundle)!r})\n"
        "engine.generate(engine.encode('x'), e.Sampling(max_tokens=2))\n"
        "print([name for name in ('torchao', 'transformers', 'safetensors') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def change(folder: Path, **values: Any) -> None:
    path = folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def config_without(folder: Path, **values: Any) -> None:
    change(folder, config={**json.loads((folder / "bundle.json").read_text())["config"], **values})


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path, at: int = -100) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def retype(folder: Path) -> None:
    """Packed bytes that claim to be float32."""
    path = folder / WEIGHTS
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    entry = header["layers.0.qkv"]
    entry["dtype"], entry["shape"] = "F32", [entry["shape"][0] // 4]
    path.write_bytes(
        content[:8] + json.dumps(header, separators=(",", ":")).encode().ljust(length) + content[8 + length :]
    )
    forget_checksums(folder)


def forget_checksums(folder: Path) -> None:
    manifest = json.loads((folder / "bundle.json").read_text())
    from model_build.packing.bundle import sha256

    manifest["files"] = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)} for name in manifest["files"]
    }
    (folder / "bundle.json").write_text(json.dumps(manifest))


WEIGHTS = "weights-001.safetensors"
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda f: cut(f / WEIGHTS), f"{WEIGHTS} is cut short .* copy it again"),
    "byte": (lambda f: flip(f / WEIGHTS), f"{WEIGHTS} is not what was packed .sha256 differs.: copy it again"),
    "header byte": (lambda f: flip(f / WEIGHTS, 40), f"{WEIGHTS} is not what was packed"),
    "tokenizer byte": (lambda f: flip(f / "tokenizer.json"), "tokenizer.json is not what was packed"),
    "missing": (lambda f: (f / WEIGHTS).unlink(), f"{WEIGHTS} is missing: copy the whole bundle"),
    "format": (lambda f: change(f, format="gguf"), "is no bundle's manifest"),
    "version": (lambda f: change(f, version=99), "is of version 99, but this engine knows 1"),
    "layout": (lambda f: change(f, layout="marlin"), "names the layout marlin, but this engine knows kleidiai"),
    "embedding": (lambda f: change(f, embedding="int2"), "embedding is 'int2'"),
    "head": (lambda f: change(f, head="int2"), "head is 'int2', but must be int4x2 or int4"),
    "no files": (lambda f: change(f, files=None), "bundle.json lacks its"),
    "outside": (lambda f: change(f, files={"../x": {"bytes": 1, "sha256": ""}}), "no file of its folder"),
    "not a llama": (
        lambda f: config_without(f, model_type="gemma"),
        "describes a gemma model .* not computed as a Llama",
    ),
    "rope": (
        lambda f: config_without(f, rope_scaling={"rope_type": "longrope"}),
        "rope type longrope is not supported",
    ),
    "sizes": (
        lambda f: config_without(f, intermediate_size=100),
        "intermediate_size is 100, no greater multiple of 32",
    ),
    "other config": (lambda f: config_without(f, intermediate_size=256), "has shape .*, not .*: pack the model again"),
    "more layers": (lambda f: config_without(f, num_hidden_layers=3), "lacks the tensor layers.2.attention_norm"),
    "not uint8": (retype, "layers.0.qkv is stored as F32, not U8"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_bundle_is_told_in_one_sentence(own: Path, fault: str) -> None:
    spoil, sentence = BROKEN[fault]
    spoil(own)
    with pytest.raises(EngineError, match=sentence) as raised:
        load_engine(own)
    assert "\n" not in str(raised.value)


def test_a_large_bundle_is_compared_when_asked(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storyteller.engine.files.bundle_reading._CHECKED_BYTES", 0)
    flip(own / WEIGHTS)
    load_engine(own)
    with pytest.raises(EngineError, match="sha256 differs"):
        load_engine(own, check=True)
    with pytest.raises(EngineError, match="sha256 differs"):
        verify(read_manifest(own))
