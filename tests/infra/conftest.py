"""Templates to test: each test that asks for one gets an App of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.infra.templates import Synthesized

HERE = Path(__file__).resolve().parent
NO_NODE = "The stack's tests need Node 20 or newer, because the CDK runs on it: install it (https://nodejs.org)."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without Node: fail where nothing may be skipped, skip with the reason elsewhere."""
    if shutil.which("node") is not None:
        return
    for item in items:
        if item.path.is_relative_to(HERE) and "synth" in getattr(item, "fixturenames", ()):
            if os.environ.get("CI"):
                pytest.exit(NO_NODE, returncode=1)
            item.add_marker(pytest.mark.skip(reason=NO_NODE))


@pytest.fixture
def synth(tmp_path: Path) -> Callable[..., Synthesized]:
    """Synthesizes the stack with the settings given, in an App of its own."""

    def synthesize(**given: Any) -> Synthesized:
        from tests.infra.templates import synthesize as run

        return run({name: str(value) for name, value in given.items()}, tmp_path)

    return synthesize
