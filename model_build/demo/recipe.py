"""The recipe: every number that decides what the demo model becomes, and where its files lie.

Nothing here does anything. A `Recipe` goes into the packed folder as it was used.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WORLD = ROOT / "prologue" / "worlds" / "emerald_city"
#: Its answer book, as `make setup` builds it; its knowledge is what the evaluation's notes are of.
BOOK = ROOT / "build" / "worlds" / "emerald_city" / "book"
#: Where the corpus, the checkpoints and the plot go; not in the repository.
WORK = ROOT / "build" / "demo"
#: The packed model; in the repository.
MODEL = ROOT / "models" / "demo"


@dataclass(frozen=True)
class Recipe:
    """Sizes, seeds and rates. `steps` optimizer steps of `batch` rows of `context` tokens each."""

    # corpus
    seed: int = 1900
    shards: int = 12
    dialogues: int = 2048  # in a shard
    turns: int = 12  # in a dialogue, before it is cut to the context
    # model
    vocabulary: int = 2176  # the tokens of plans included
    context: int = 1536
    width: int = 256
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    hidden: int = 768
    theta: float = 10000.0
    eps: float = 1e-5
    # training
    batch: int = 4
    #: What the rows of a step are, in turn: walks, walks or brisk walks cut to half rows (more visitors, and less
    #: attention), answers, plans or lines alone in thirds of rows, or drills.
    cycle: tuple[str, ...] = (
        "walk", "lines", "answers", "plans", "half", "drill", "lines", "brisk", "answers", "half", "lines", "brisk",
        "plans", "drill",
    )  # fmt: skip
    steps: int = 3000
    warmup: int = 20
    cooling: float = 0.3  # the share of the steps over which the rate falls to nothing
    muon_rate: float = 0.008
    adam_rate: float = 0.002
    drill: int = 1200  # before this step, three of four steps are drills in copying
    drill_rows: int = 26
    drill_context: int = 160
    copied: float = 3.0  # the weight of a token copied from the visitor, against 1 for any other of a reply
    hint: float = 1.5  # the weight of the wish at each token of a visitor's line
    bf16: bool = True
    compile: bool = False

    @property
    def head(self) -> int:
        """The width of one attention head."""
        return self.width // self.heads

    @property
    def cool(self) -> int:
        """The first step of the cooling."""
        return int(self.steps * (1 - self.cooling))

    def is_cooling(self, step: int) -> bool:
        """Whether a step belongs to the cooling."""
        return step >= self.cool

    def is_rounded(self, step: int) -> bool:
        """Whether a step trains the weights as INT4 will round them: in the second half of the cooling."""
        return step >= (self.cool + self.steps) // 2

    def kind(self, step: int) -> str:
        """What the rows of a step are: one of `cycle`."""
        if step < self.drill and step % 4:
            return "drill"
        return self.cycle[step % len(self.cycle)]

    def but(self, **changes: Any) -> Recipe:
        """The recipe with some numbers changed."""
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
