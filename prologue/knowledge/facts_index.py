"""Finds the facts of a world that bear on a visitor's line, by meaning.

Lies beside the answer index and uses the same embedder: `facts.json` has the facts, `facts.faiss` a row for
each fact's text and each of its `about` phrases. A fact is as near as its nearest row. It is asked with a
line's vector; nothing is embedded here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from prologue.knowledge.facts_file import Fact

FACTS, VECTORS = "facts.json", "facts.faiss"
#: Raised when the meaning of the files changes.
FORMAT = 1
#: The most facts that go with a line.
MOST_FACTS = 3
#: What the cosine of a line and a fact must reach; and how far behind the nearest fact another may be.
#: Both were chosen on the labelled lines of tests/unit/prologue/data/fact_lines.yaml.
BAR, BEHIND = 0.50, 0.15
#: How many rows near a line are looked at: more than one fact has.
_NEAR = 32

Floats = npt.NDArray[np.float32]


class FactIndex:
    """The facts of a world, to be found by a line's vector."""

    def __init__(self, texts: Sequence[str], owners: Sequence[int], index: Any) -> None:
        if index.ntotal != len(owners) or any(not 0 <= owner < len(texts) for owner in owners):
            raise ValueError("the index belongs to other facts")
        self._texts, self._owners, self._index = texts, owners, index

    def find(self, vector: Floats) -> list[str]:
        """The facts nearest to a unit vector [d], the nearest first; often none."""
        if not self._owners:
            return []
        scores, rows = self._index.search(vector[None, :], min(_NEAR, len(self._owners)))
        nearest: dict[int, float] = {}
        for row, score in zip(rows[0], scores[0], strict=True):
            if row >= 0:
                nearest.setdefault(self._owners[row], float(score))
        bar = max([BAR, *(score - BEHIND for score in list(nearest.values())[:1])])
        return [self._texts[owner] for owner, score in nearest.items() if score >= bar][:MOST_FACTS]


def map_index(path: Path) -> Any:
    """FAISS's index of a file, mapped: processes share its pages. Raises `RuntimeError` for a broken file."""
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)


def load_facts(folder: Path, embedder: str) -> FactIndex:
    """The facts in an index's folder; none where there are none.

    Raises `ValueError` (or what reading a broken file raises) where they were made with another embedder.
    """
    if not (folder / FACTS).is_file():
        return FactIndex([], [], faiss.IndexFlatIP(1))
    raw = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    if raw["format"] != FORMAT or raw["embedder"] != embedder:
        raise ValueError("the facts were made with another embedder or another format")
    return FactIndex(raw["texts"], raw["owners"], map_index(folder / VECTORS))


def write_facts(folder: Path, facts: Sequence[Fact], vectors: Floats, embedder: str) -> None:
    """Writes facts into an index's folder; `vectors` [rows, d] are those of `phrases(facts)`."""
    owners = [number for number, fact in enumerate(facts) for _ in (fact.text, *fact.about)]
    raw = {"format": FORMAT, "embedder": embedder, "texts": [fact.text for fact in facts], "owners": owners}
    (folder / FACTS).write_text(json.dumps(raw, ensure_ascii=False, indent=0), encoding="utf-8")
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    faiss.write_index(index, str(folder / VECTORS))


def phrases(facts: Sequence[Fact]) -> list[str]:
    """What is embedded of facts: each text, followed by its `about` phrases."""
    return [phrase for fact in facts for phrase in (fact.text, *fact.about)]
