"""A small bundle told with on arm64 as Lambda is: Neoverse N1, the processor's folder hidden.

`prepare.py` made the bundle on the host and noted what the host's kernel says with it.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
import torch

from storyteller.engine import Engine, Sampling, load_engine
from storyteller.engine.linears import Kleidi
from storyteller.engine.model import Llama
from storyteller.engine.native import NativeLinear
from tests.arm64.prepare import LINE, TOLERANCE

CASE = Path(os.environ.get("OVERTURE_CASE", "/case"))
EXPECTED = json.loads((CASE / "expected.json").read_text())


def model_of(engine: Engine) -> Llama:
    model = engine._model
    assert isinstance(model, Llama)
    return model


@pytest.fixture(scope="module", params=["ours", "KleidiAI with our operations", "KleidiAI alone"])
def engine(request: pytest.FixtureRequest) -> Engine:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "KleidiAI alone":
            patch.setattr("storyteller.engine.native.library_places", list)
        engine = load_engine(CASE / "bundle", threads=2, kernel="auto" if request.param == "ours" else "kleidi")
    model = model_of(engine)
    assert (request.param != "KleidiAI alone") == model.operations.name.startswith("native")
    assert model.cheap_batches == (request.param == "ours")
    assert (model._pass is not None) == (request.param == "ours")  # all layers are one call
    return engine


def test_the_processors_folder_is_hidden_and_our_kernels_are_at_work(caplog: pytest.LogCaptureFixture) -> None:
    assert not Path("/sys/devices/system/cpu/possible").exists()
    with caplog.at_level(logging.INFO):
        engine = load_engine(CASE / "bundle")
    assert engine.kernel == "native dotprod"
    assert any("kernel native dotprod, layout kleidiai" in line for line in caplog.messages)
    layer = model_of(engine)._layers[0]
    assert isinstance(layer.qkv, NativeLinear)
    assert layer.qkv.packed.dtype == torch.uint8


def test_without_our_library_kleidiai_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storyteller.engine.native.library_places", list)
    engine = load_engine(CASE / "bundle")
    assert engine.kernel == "torch with KleidiAI"
    assert isinstance(model_of(engine)._layers[0].qkv, Kleidi)


def test_logits_are_the_hosts_within_tolerance(engine: Engine) -> None:
    ids = engine.encode(LINE)
    assert ids == EXPECTED["prompt"]
    logits = model_of(engine).forward(ids, 0, model_of(engine).new_cache(), rows=len(ids))
    expected = torch.tensor(EXPECTED["logits"])
    assert (logits - expected).norm() / expected.norm() < TOLERANCE


def test_tokens_are_the_hosts(engine: Engine) -> None:
    told: list[str] = []
    done = engine.generate(EXPECTED["prompt"], Sampling(temperature=0.0, max_tokens=24), emit=told.append)
    assert list(done.ids) == EXPECTED["tokens"]
    assert "".join(told) == EXPECTED["text"]


def test_logits_are_the_same_bits_in_any_parts(engine: Engine) -> None:
    model, ids = model_of(engine), EXPECTED["prompt"][:40]
    assert model.batch_invariant
    whole = model.forward(ids, 0, model.new_cache(), rows=len(ids))
    for chunk in (1, 7):
        cache = model.new_cache()
        parts = [
            model.forward(ids[at : at + chunk], at, cache, rows=len(ids[at : at + chunk]))
            for at in range(0, len(ids), chunk)
        ]
        assert torch.equal(torch.cat(parts), whole)


def test_the_shipped_prefix_is_used(engine: Engine) -> None:
    fresh = load_engine(CASE / "bundle", threads=2)
    done = fresh.generate(EXPECTED["prompt"], Sampling(temperature=0.0, max_tokens=2))
    assert done.reused_tokens == EXPECTED["prefix"]
