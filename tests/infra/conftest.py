"""Synthesized templates, one for each combination of settings that a test asks for; and a bundle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.node import require_node
from infra.settings import SettingError
from tests.infra.templates import Synthesized

HERE = Path(__file__).resolve().parent


def without_node() -> str:
    """Why the CDK cannot run here, or nothing."""
    try:
        require_node()
    except SettingError as error:
        return str(error)
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without Node: fail where nothing may be skipped, skip with the reason elsewhere."""
    ours = [one for one in items if one.path.is_relative_to(HERE) and "synth" in getattr(one, "fixturenames", ())]
    reason = without_node() if ours else ""
    if reason and os.environ.get("CI"):
        pytest.exit(reason, returncode=1)
    for item in ours if reason else []:
        item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def synth(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Synthesized]:
    """Synthesizes the stack with the settings given; the same settings only once, so no test may change a template."""
    made: dict[tuple[tuple[str, str], ...], Synthesized] = {}

    def synthesize(**given: Any) -> Synthesized:
        from tests.infra.templates import synthesize as run

        settings = {name: str(value) for name, value in given.items()}
        key = tuple(sorted(settings.items()))
        if key not in made:
            made[key] = run(settings, tmp_path_factory.mktemp("synth"))
        return made[key]

    return synthesize


def write_manifest(folder: Path) -> None:
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in folder.iterdir()
        if path.name != "bundle.json"
    }
    (folder / "bundle.json").write_text(json.dumps({"files": files}))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A complete bundle: as `model_build pack` writes it, it has no `config.json`."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes(b"{}")
    (folder / "weights-001.safetensors").write_bytes(b"weights")
    write_manifest(folder)
    return folder
