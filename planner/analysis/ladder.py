"""The ladder: the published references' story, step by step, for one and the same visit.

Each step changes one thing and keeps the ones before. Speeds come from `planner.costs.speeds`, which says what is
published, measured or predicted; the visit, the prices and the footprint are the planner's.
"""

from __future__ import annotations

from typing import NamedTuple

from planner.analysis.evaluation import Evaluation, evaluate
from planner.scenario import Scenario, with_values

#: Share of lines that the answer index answers in its step; an assumption, as nobody has counted it.
INDEX_SHARE = 0.1
STEPS: list[tuple[str, dict[str, object], str]] = [
    (
        "16 bits, transformers, a machine that never sleeps",
        {
            "place.kind": "ec2",
            "model.precision": "16",
            "model.engine": "transformers",
            "model.prefix_shipped": False,
            "place.ceiling_gb_s": 0,
        },
        "published: 245 s a reply; predicted by bytes and bench.engine's ratio",
    ),
    (
        "INT4",
        {"model.precision": "int4", "model.engine": "llama.cpp"},
        "bytes of the weights; llama.cpp by bench.engine",
    ),
    ("this engine's kernel", {"model.engine": "ours"}, "published: 25 tokens/s with KleidiAI; bench.engine"),
    ("the shipped prefix", {"model.prefix_shipped": True}, "bench.engine.story: 36 of 190 tokens are left to compute"),
    ("the answer index", {"visit.index_share": INDEX_SHARE}, "an assumption: one line in ten"),
    ("serverless", {"place.kind": "lambda"}, "published: 2.5 tokens/s and a start of 50 s"),
]


class Rung(NamedTuple):
    """One step and what a visit comes to."""

    name: str
    answer: Evaluation
    source: str

    @property
    def at_work_wh(self) -> float:
        """Likely energy of a visit while its storyteller works, without what is held and idle."""
        return sum(self.answer.parts[name].wh.likely for name in ("prefill", "decode") if name in self.answer.parts)

    @property
    def reply_s(self) -> float:
        """Seconds that a reply takes once its storyteller is there."""
        out = self.answer.outcome
        return (out.prefill_s + out.decode_s) / max(1, out.replies)


def climb(scenario: Scenario | None = None, *, visits: int = 1_500, seed: int = 1) -> list[Rung]:
    """All steps, each on top of those before."""
    at = scenario or Scenario()
    rungs = []
    for name, change, source in STEPS:
        at = with_values(at, change)
        rungs.append(Rung(name, evaluate(at, visits=visits, seed=seed, bounds=False), source))
    return rungs
