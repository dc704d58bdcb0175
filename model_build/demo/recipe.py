"""The recipe: every number that decides what the demo model becomes, and where its files lie.

Nothing here does anything. A `Recipe` goes into the packed folder as it was used.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WORLD = ROOT / "prologue" / "worlds" / "emerald_city"
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
    turns: int = 10  # in a dialogue, before it is cut to the context
    # model
    vocabulary: int = 2048
    context: int = 1536
    width: int = 256
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    hidden: int = 512
    theta: float = 10000.0
    eps: float = 1e-5
    # training
    batch: int = 4
    #: In turn, a step's rows are whole, or this many times as many and shorter: more visitors, and less attention.
    #: No common divisor of their count and `refresh`, or the drills take one part's place each time.
    parts: tuple[int, ...] = (1, 2, 4, 2)
    steps: int = 3000
    warmup: int = 20
    cooling: float = 0.3  # the share of the steps over which the rate falls to nothing
    muon_rate: float = 0.008
    adam_rate: float = 0.002
    drill: int = 1200  # before this step, three of four steps are drills in copying
    refresh: int = 5  # after it, one of so many is
    drill_rows: int = 26
    drill_context: int = 160
    copied: float = 3.0  # the weight of a token copied from the visitor, against 1 for any other of a reply
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

    def part(self, step: int) -> int:
        """How many times as many rows as `batch` a step has, and how many times shorter they are."""
        return self.parts[step % len(self.parts)]

    def is_drill(self, step: int) -> bool:
        """Whether a step practises copying alone."""
        if step < self.drill:
            return step % 4 > 0
        return self.refresh > 0 and step % self.refresh == 0

    def but(self, **changes: Any) -> Recipe:
        """The recipe with some numbers changed."""
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
