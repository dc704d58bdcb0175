"""Notes: which facts of a world bear on a visitor's line, by meaning.

Lies beside the answer book and uses the same embedder: `knowledge.json` has the facts, `knowledge.faiss`
a row for each fact's text and each of its `about` phrases. A fact is as near as its nearest row. Whoever
has a line's vector already (the book has) asks with that; nothing is embedded here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from prologue.knowledge import Fact

NOTES, INDEX = "knowledge.json", "knowledge.faiss"
#: Raised when the meaning of the files changes.
FORMAT = 1
#: At most so many facts go with a line.
MOST = 3
#: What the cosine of a line and a fact must reach; and how far behind the nearest fact another may be.
#: Both were chosen on the labelled lines of tests/unit/prologue/data/knowledge_lines.yaml.
BAR, BEHIND = 0.50, 0.15
#: How many rows near a line are looked at: more than one fact has.
_NEAR = 32

Floats = npt.NDArray[np.float32]


class Notes:
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
        return [self._texts[owner] for owner, score in nearest.items() if score >= bar][:MOST]


def load_notes(folder: Path, embedder: str) -> Notes:
    """The notes in a book's folder; none where there are none.

    Raises `ValueError` (or what reading a broken file raises) where they were made with another embedder.
    """
    if not (folder / NOTES).is_file():
        return Notes([], [], faiss.IndexFlatIP(1))
    raw = json.loads((folder / NOTES).read_text(encoding="utf-8"))
    if raw["format"] != FORMAT or raw["embedder"] != embedder:
        raise ValueError("the knowledge was made with another embedder or another format")
    return Notes(raw["texts"], raw["owners"], faiss.read_index(str(folder / INDEX)))


def write_notes(folder: Path, facts: Sequence[Fact], vectors: Floats, embedder: str) -> None:
    """Writes the notes of facts into a book's folder; `vectors` [rows, d] are those of `phrases(facts)`."""
    owners = [number for number, fact in enumerate(facts) for _ in (fact.text, *fact.about)]
    raw = {"format": FORMAT, "embedder": embedder, "texts": [fact.text for fact in facts], "owners": owners}
    (folder / NOTES).write_text(json.dumps(raw, ensure_ascii=False, indent=0), encoding="utf-8")
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    faiss.write_index(index, str(folder / INDEX))


def phrases(facts: Sequence[Fact]) -> list[str]:
    """What is embedded of facts: each text, followed by its `about` phrases."""
    return [phrase for fact in facts for phrase in (fact.text, *fact.about)]
