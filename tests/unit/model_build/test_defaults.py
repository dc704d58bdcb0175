"""How a model's maker would have it sampled: from generation_config.json through `pack` to generate and serve."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from model_build.__main__ import main
from model_build.packing.pack import pack
from model_build.resolve import write_checkpoint
from model_build.serving.server import make_app
from model_build.sources import open_source
from storyteller.engine import Engine, EngineError, Sampling, load_engine
from storyteller.engine.files.bundle import read_manifest
from storyteller.engine.files.defaults import read_defaults
from tests.tiny_llama import write_tiny_llama

OWN = {"temperature": 0.6, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "repetition_penalty": 1.05}


def model(folder: Path, **own: Any) -> Path:
    write_tiny_llama(folder, heads=2, kv_heads=1)
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **own}))
    return folder


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({}, {}),
        ({"do_sample": True, "max_length": 4096, **OWN}, OWN),
        ({"temperature": None, "top_p": 1, "do_sample": None}, {"top_p": 1.0}),
        ({"do_sample": False, **OWN}, {"repetition_penalty": 1.05}),
    ],
)
def test_what_is_given_is_read(given: dict[str, Any], read: dict[str, Any]) -> None:
    assert read_defaults(given, "here") == read


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"temperature": "warm"}, "here: temperature is 'warm', but must be a number"),
        ({"top_k": 4.5}, "here: top_k is 4.5, but must be"),
        ({"min_p": True}, "here: min_p is True, but must be"),
        ({"top_p": 0}, "here: top_p is 0.0; give a number above 0"),
        ({"top_k": -1}, "here: top_k is -1; give 0"),
    ],
)
def test_what_cannot_be_used_names_file_and_field(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EngineError, match=sentence):
        read_defaults(given, "here")


def test_a_bundle_and_a_written_folder_keep_them(tmp_path: Path) -> None:
    source = open_source(str(model(tmp_path / "model", **OWN)))
    bundle = pack(source, tmp_path / "bundle", calibration="none")
    folder = write_checkpoint(source, tmp_path / "folder")
    for place in (tmp_path / "model", bundle, folder):
        assert load_engine(place, threads=1).defaults == OWN

    manifest = json.loads((bundle / "bundle.json").read_text())
    assert manifest["sampling"] == OWN
    del manifest["sampling"]  # one that was packed before
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    assert load_engine(bundle, threads=1).defaults == {}
    (bundle / "bundle.json").write_text(json.dumps({**manifest, "sampling": [1]}))
    with pytest.raises(EngineError, match=r"sampling is .*pack the model again"):
        read_manifest(bundle)


def test_a_model_that_says_nothing_changes_nothing(tmp_path: Path) -> None:
    assert load_engine(model(tmp_path), threads=1).defaults == {}


def test_generate_takes_them_unless_told_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = model(tmp_path, temperature=1.5, top_k=3, repetition_penalty=1.2)
    engine = load_engine(folder, threads=1)
    ids = engine.encode("Hello")
    command = ["generate", str(folder), "--prompt=Hello", "--raw", "--tokens=12", "--seed=5", "--threads=1"]

    def told(*more: str) -> str:
        assert main([*command, *more]) == 0
        return capsys.readouterr().out

    own = Sampling(1.5, 0.95, top_k=3, repetition_penalty=1.2, seed=5, max_tokens=12)
    assert told() == engine.generate(ids, own).text + "\n"
    other = Sampling(0.9, 0.5, top_k=0, min_p=0.02, repetition_penalty=1.0, seed=5, max_tokens=12)
    options = ("--temperature=0.9", "--top-p=0.5", "--top-k=0", "--min-p=0.02", "--repetition-penalty=1")
    assert told(*options) != told()
    assert told(*options) == engine.generate(ids, other).text + "\n"


async def sampled(engine: Engine, monkeypatch: pytest.MonkeyPatch, **said: Any) -> Sampling:
    """What the server asks of the engine for a request."""
    found: list[Sampling] = []
    generate = engine.generate

    def note(ids: Any, sampling: Sampling, *more: Any, **options: Any) -> Any:
        found.append(sampling)
        return generate(ids, sampling, *more, **options)

    monkeypatch.setattr(engine, "generate", note)
    async with TestClient(TestServer(make_app(engine, "tiny"))) as client:
        answer = await client.post("/v1/completions", json={"prompt": "Knock", "max_tokens": 1, **said})
        assert answer.status == 200, await answer.text()
    return found[0]


def test_serve_takes_them_where_a_request_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load_engine(model(tmp_path, **OWN), threads=1)

    def drawn(**said: Any) -> tuple[float, ...]:
        found = asyncio.run(sampled(engine, monkeypatch, **said))
        return found.temperature, found.top_p, found.top_k, found.min_p, found.repetition_penalty

    assert drawn() == tuple(OWN.values())
    assert drawn(temperature=0, top_k=-1) == (0, 0.9, 0, 0.1, 1.05)
    engine.defaults = {}
    assert drawn(top_k=7) == (1, 1, 7, 0, 1)
