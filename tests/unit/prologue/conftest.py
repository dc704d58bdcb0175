from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from prologue.answers.embedder import Embedder, Floats
from prologue.answers.index_build.builder import Report, build_answer_index
from prologue.answers.index_build.embedder_build import build_embedder

ANSWERS = """
- id: save
  phrasings: [Can I save my story?, How do I save?, Is my progress saved?, Where is the save button?]
  answer: It is kept as you go.
- id: sound
  phrasings: [How do I turn the music off?, How do I turn the music on?, Can I mute the sound?, Where is the volume?]
  answer: The small loudspeaker in the corner.
- id: who_are_you
  phrasings: [Who are you?, What is your name?, Who am I talking to?, Introduce yourself]
  answer: The keeper of the door.
  when: [prologue]
- id: languages
  phrasings: [Do you speak German?, Which languages do you know?, Can I play in French?]
  answer: Only English.
"""


@pytest.fixture(scope="session", autouse=True)
def _negatives_are_embedded_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every build embeds the same negatives and held-out lines, which takes most of a small index's seconds.

    Here the first one does, for all of pytest-xdist's workers.
    """
    embed, shared = Embedder.embed, tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def remembering(self: Embedder, texts: Sequence[str], batch: int = 32) -> Floats:
        if len(texts) < 50:
            return embed(self, texts, batch)
        key = hashlib.sha256(repr((self.id, batch, *texts)).encode()).hexdigest()
        file = shared / f"vectors-{key}.npy"
        with FileLock(f"{file}.lock"):
            if not file.exists():
                np.save(file, embed(self, texts, batch))
        vectors: Floats = np.load(file)
        return vectors

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Embedder, "embed", remembering)
        yield


@pytest.fixture(scope="session")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_embedder(tmp_path_factory.mktemp("embedder"))


@pytest.fixture(scope="session")
def model(embedder: Path) -> Embedder:
    return Embedder(embedder)


@pytest.fixture(scope="session")
def built(embedder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """A small index, and what its build reported."""
    folder = tmp_path_factory.mktemp("index")
    (folder / "answers.yaml").write_text(ANSWERS)
    report = build_answer_index(folder / "answers.yaml", folder / "out", embedder=embedder)
    return folder / "out", report
