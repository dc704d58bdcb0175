"""Packing: every form, files that go on where they were, and refusals in a sentence."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from model_build.__main__ import main
from model_build.packing import bundle as bundle_files
from model_build.packing.calibrate import Calibration, CalibrationError, default_passages
from model_build.packing.pack import pack, plan_files
from model_build.sources import Source, SourceError, open_source
from storyteller.engine import EngineError, load_engine
from storyteller.engine.files.bundle import read_manifest, verify
from storyteller.engine.loading import load_tokenizer
from tests.tiny_llama import CHAT_TEMPLATE, write_tiny_llama

TEXT = "The gate of the city is green, and so is the glass. " * 40


uncalibrated = partial(pack, calibration="none")


def checkpoint(folder: Path, **form: Any) -> Source:
    return open_source(str(write_tiny_llama(folder, **{"heads": 2, "kv_heads": 1, **form})), None)


FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tied": {"tied": True},
    "shards": {"shards": 3, "stored": torch.bfloat16},
    "biases": {"attention_bias": True, "mlp_bias": True},
}


@pytest.mark.parametrize(
    "options",
    [{}, {"embedding": "int4"}, {"head": "int4"}, {"head": "int4", "embedding": "int4"}, {"bits": 8}],
    ids=["default", "embedding-4", "head-4", "all-4", "all-8"],
)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_packs_and_scores_nearly_the_same(tmp_path: Path, form: str, options: dict[str, Any]) -> None:
    source = checkpoint(tmp_path / "model", scale=0.06, **FORMS[form])
    out = uncalibrated(source, tmp_path / "bundle", **options)
    verify(read_manifest(out))
    exact, packed = load_engine(source.folder), load_engine(out, kernel="reference")
    ids = exact.encode(TEXT[:200])
    theirs = torch.tensor([entry.logprob for entry in exact.score(ids)])
    ours = torch.tensor([entry.logprob for entry in packed.score(ids)])
    assert (theirs - ours).abs().mean() < (0.03 if options.get("bits") == 8 else 0.15)


@pytest.mark.parametrize("form", FORMS)
def test_evened_out_inputs_change_no_output(tmp_path: Path, form: str) -> None:
    source = checkpoint(tmp_path / "model", scale=0.06, **FORMS[form])
    text = tmp_path / "text"
    text.write_text(TEXT)
    out = pack(source, tmp_path / "bundle", bits=8, calibration=text)
    exact, packed = load_engine(source.folder), load_engine(out, kernel="reference")
    norms = [engine._model._layers[0].attention_norm for engine in (exact, packed)]  # type: ignore[attr-defined]
    assert not torch.allclose(norms[0], norms[1], rtol=0.1)
    ids = exact.encode(TEXT[:200])
    theirs = torch.tensor([entry.logprob for entry in exact.score(ids)])
    ours = torch.tensor([entry.logprob for entry in packed.score(ids)])
    assert (theirs - ours).abs().mean() < 0.03


def test_a_tied_embedding_is_read_from_the_head(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "model", tied=True)
    weight = source.rows("model.embed_tokens.weight")
    kinds: list[tuple[dict[str, Any], float]] = [
        ({"head": "int8"}, 0.01),
        ({"head": "int4", "embedding": "int4"}, 0.15),
    ]
    for options, limit in kinds:
        out = uncalibrated(source, tmp_path / "bundle", **options)
        assert "embedding.values" not in tensor_names(out)
        found = load_engine(out)._model._embed(  # type: ignore[attr-defined]
            torch.arange(len(weight))
        )
        assert 0 < (found - weight).norm() / weight.norm() < limit


def tensor_names(bundle: Path) -> list[str]:
    with safe_open(bundle / "weights-001.safetensors", "pt") as file:
        return [name for name in file.offset_keys() if not name.startswith("filling.")]


def test_the_files_are_plain_aligned_safetensors_in_the_order_of_use(tmp_path: Path) -> None:
    out = uncalibrated(checkpoint(tmp_path / "model"), tmp_path / "bundle")
    path, names = out / "weights-001.safetensors", tensor_names(out)
    with safe_open(path, "pt") as file:
        assert file.get_tensor("layers.0.qkv").dtype == torch.uint8
    assert names[:4] == ["embedding.values", "embedding.scales", "layers.0.attention_norm", "layers.0.qkv"]
    assert names[-3:] == ["norm", "head", "head.residual"]
    from storyteller.engine.files.tensorfile import open_tensor_file

    assert all(span.begin % 64 == 0 for span in open_tensor_file(path).spans.values())


def test_the_manifest_tells_where_it_came_from(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "model")
    raw = read_manifest(pack(source, tmp_path / "bundle")).raw
    assert raw["source"] == {"name": str(source.folder), "revision": source.revision}
    assert raw["made_with"]["torch"]
    assert raw["calibration"]["text"] == "default"
    assert raw["config"]["model_type"] == "llama"
    assert 0.9 < raw["quantization"]["groups_where_search_won"] <= 1


def test_a_bundle_is_the_same_every_time(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "model")
    first, second = (read_manifest(uncalibrated(source, tmp_path / name)).files for name in ("a", "b"))
    assert first == second


@pytest.mark.parametrize("same", [True, False], ids=["as-before", "rounded-in-another-way"])
def test_a_broken_off_packing_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: bool) -> None:
    source, calibration = checkpoint(tmp_path / "model", layers=4), tmp_path / "text"
    calibration.write_text(TEXT)
    monkeypatch.setattr("model_build.packing.pack._FILE_BYTES", 1)  # a file for each layer
    whole = uncalibrated(source, tmp_path / "whole", calibration=calibration)
    written: list[str] = []
    real = bundle_files.write_tensors

    def write(path: Path, *rest: Any) -> str:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path.name)
        return real(path, *rest)

    monkeypatch.setattr("model_build.packing.pack.write_tensors", write)
    with pytest.raises(KeyboardInterrupt):
        uncalibrated(source, tmp_path / "bundle", calibration=calibration)
    with pytest.raises(EngineError, match=r"config\.json is missing|bundle\.json"):
        load_engine(tmp_path / "bundle")
    monkeypatch.setattr("model_build.packing.pack.write_tensors", real)
    before = {name: (tmp_path / "bundle" / name).stat().st_mtime_ns for name in written}
    if not same:
        monkeypatch.setattr("model_build.packing.pack.ROUNDING", 0)
    out = uncalibrated(source, tmp_path / "bundle", calibration=calibration)
    assert ({name: (out / name).stat().st_mtime_ns for name in written} == before) == same
    assert read_manifest(out).files == read_manifest(whole).files
    assert not (out / "packing.json").exists()


def test_another_model_does_not_go_on_from_what_was_left(tmp_path: Path) -> None:
    left = bundle_files.Progress(tmp_path, {"source": "a"})
    (tmp_path / "x").write_text("x")
    left.add(tmp_path / "x", "digest")
    assert bundle_files.Progress(tmp_path, {"source": "a"}).get(tmp_path / "x")
    assert not bundle_files.Progress(tmp_path, {"source": "b"}).get(tmp_path / "x")
    (tmp_path / "x").write_text("longer")
    assert not bundle_files.Progress(tmp_path, {"source": "a"}).get(tmp_path / "x")


def test_a_layer_is_never_split_over_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_build.packing.pack._FILE_BYTES", 10)
    tensors = {
        "embedding.values": ("U8", (4,)),
        "layers.0.a": ("U8", (8,)),
        "layers.0.b": ("U8", (8,)),
        "head": ("U8", (1,)),
    }
    assert list(plan_files(tensors).values()) == [["embedding.values", "layers.0.a", "layers.0.b"], ["head"]]


def test_calibration_sees_what_the_model_sees(tmp_path: Path) -> None:
    source = checkpoint(tmp_path, layers=2)
    engine = load_engine(tmp_path)
    calibration = Calibration(source, [engine.encode(TEXT)[:200], engine.encode(TEXT)[:90]])
    first, second = calibration.layer(0), calibration.layer(1)
    assert set(first) == {"qkv", "out", "gate_up", "down"}
    assert not torch.equal(first["qkv"].products, second["qkv"].products)
    # The states after the last layer are those from which the engine takes its logits.
    ids = torch.tensor(engine.encode(TEXT)[: len(calibration._states[0])])
    normed = torch.nn.functional.rms_norm(calibration._states[0], (64,), source.rows("model.norm.weight"), 1e-5)
    theirs = engine._model.forward(ids.tolist(), 0, engine._model.new_cache(), rows=len(ids))
    torch.testing.assert_close(normed @ source.rows("lm_head.weight").T, theirs, rtol=1e-3, atol=1e-3)
    assert calibration.head().shape == (64,)
    grams = Calibration(source, [engine.encode(TEXT)[:200], engine.encode(TEXT)[:90]], grams=True).layer(0)
    assert grams["down"].products.shape == (source.config.intermediate, source.config.intermediate)
    for name, inputs in first.items():
        torch.testing.assert_close(grams[name].products.diagonal(), inputs.products)
        by = torch.arange(1.0, 1 + len(inputs.products))
        torch.testing.assert_close(grams[name].divided(by).products.diagonal(), inputs.divided(by).products)


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, None, "{{ raise_exception('no') }}"])
def test_the_default_calibration_is_the_play_and_three_pages(tmp_path: Path, template: str | None) -> None:
    source = checkpoint(tmp_path, template=template)
    tokenizer = load_tokenizer(source.folder, source.config, chat=False)
    passages = default_passages(tokenizer, 512)
    texts = [tokenizer.decode(ids) for ids in passages]
    assert len(passages) == 16
    assert all(len(ids) == 512 for ids in passages)
    assert "interactive story" in texts[0]
    assert sum("\n\n> " in text for text in texts) > 6  # replies with their choices
    assert "def shortest_route" in texts[13]
    assert "Kino" in texts[14]
    if template == CHAT_TEMPLATE:
        assert sum(tokenizer.vocabulary.token_to_id("<|eot_id|>") in ids for ids in passages) > 6


def test_packing_says_what_no_calibration_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = checkpoint(tmp_path / "model"), tmp_path / "bundle"
    assert main(["pack", str(source.folder), "--out", str(out), "--calibration", "none"]) == 0
    assert "Without calibration" in capsys.readouterr().err
    plain_bytes = read_manifest(out).raw["files"]["weights-001.safetensors"]
    assert read_manifest(out).raw["calibration"] is None
    assert read_manifest(pack(source, out)).raw["files"]["weights-001.safetensors"] != plain_bytes


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "model.norm.weight", "lm_head.weight"])
def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path: Path, name: str, value: float) -> None:
    source = checkpoint(tmp_path / "model")
    tensors = load_file(source.folder / "model.safetensors")
    tensors[name].view(-1)[5] = value
    save_file(tensors, source.folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SourceError, match=f"{name} holds infinities or no numbers"):
        uncalibrated(open_source(str(source.folder)), tmp_path / "bundle")


def test_a_head_of_its_own_is_packed_whatever_the_config_says(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "model", tied=True)
    tensors = load_file(source.folder / "model.safetensors")
    shape, generator = tensors["model.embed_tokens.weight"].shape, torch.Generator().manual_seed(1)
    tensors["lm_head.weight"] = 0.1 * torch.randn(shape, generator=generator)
    save_file(tensors, source.folder / "model.safetensors", metadata={"format": "pt"})
    out = uncalibrated(open_source(str(source.folder)), tmp_path / "bundle")
    assert not read_manifest(out).config.tied
    ids = load_engine(out).encode("the gate")
    exact, packed = load_engine(source.folder).score(ids), load_engine(out, kernel="reference").score(ids)
    assert [entry.logprob for entry in packed] == pytest.approx([entry.logprob for entry in exact], abs=0.5)


def test_qwen2_packs_with_its_biases(tmp_path: Path) -> None:
    form = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "scale": 0.06}
    source = checkpoint(tmp_path / "model", **form)
    out = uncalibrated(source, tmp_path / "bundle")
    ids = load_engine(out).encode("the gate")
    exact, packed = load_engine(source.folder).score(ids), load_engine(out, kernel="reference").score(ids)
    assert [entry.logprob for entry in packed] == pytest.approx([entry.logprob for entry in exact], abs=0.5)


def test_refusals_are_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*arguments: str) -> str:
        assert main(arguments) == 1
        return capsys.readouterr().err

    odd = checkpoint(tmp_path / "odd", hidden=100)
    assert "intermediate_size is 100, no greater multiple of 32" in told(
        "pack", str(odd.folder), "--out", str(tmp_path / "x")
    )
    assert "does not exist" in told("pack", str(tmp_path / "no"), "--out", str(tmp_path / "x"))
    other = write_tiny_llama(tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "gemma"}))
    assert "a gemma model" in told("pack", str(other), "--out", str(tmp_path / "x"))
    good = checkpoint(tmp_path / "good")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("mine")
    assert "not empty and no bundle" in told("pack", str(good.folder), "--out", str(tmp_path / "full"))
    (tmp_path / "short").write_text("too short")
    with pytest.raises(CalibrationError, match="has only 9 tokens"):
        pack(good, tmp_path / "y", calibration=tmp_path / "short")
    with pytest.raises(CalibrationError, match="cannot be read"):
        pack(good, tmp_path / "y", calibration=tmp_path)


def test_the_commands_pack_and_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = checkpoint(tmp_path / "model"), tmp_path / "bundle"
    assert main(["pack", str(source.folder), "--out", str(out)]) == 0
    assert main(["verify", str(out)]) == 0
    assert "is whole" in capsys.readouterr().out
    content = bytearray((out / "weights-001.safetensors").read_bytes())
    content[-5000] ^= 4
    (out / "weights-001.safetensors").write_bytes(content)
    assert main(["verify", str(out)]) == 1
    assert "is not what was packed" in capsys.readouterr().err


def test_a_hub_id_is_downloaded_and_its_commit_noted(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    asked: list[Any] = []

    def download(name: str, **options: Any) -> str:
        asked.append((name, options["revision"]))
        return str(write_tiny_llama(tmp_path / commit))

    source = open_source("someone/Some-Llama", "main", download)
    assert asked == [("someone/Some-Llama", "main")]
    assert (source.name, source.revision) == ("someone/Some-Llama", commit)


def test_why_the_hub_gave_nothing_is_told() -> None:
    from huggingface_hub import errors

    response: Any = SimpleNamespace(headers={}, request=None)
    for error_kind, sentence in [
        (errors.GatedRepoError, "is gated: accept its licence at https://huggingface.co/meta-llama/L"),
        (errors.RevisionNotFoundError, "has no revision v9"),
        (errors.RepositoryNotFoundError, "The hub has no meta-llama/L"),
        (errors.HfHubHTTPError, "could not be downloaded"),
    ]:

        def download(name: str, kind: Any = error_kind, **options: Any) -> str:
            raise kind("refused", response=response)

        with pytest.raises(SourceError, match=sentence) as raised:
            open_source("meta-llama/L", "v9", download)
        assert "\n" not in str(raised.value)
