"""What the stack costs: idle, a visit, cold or from a snapshot, provisioned, and against a machine that always runs.

`python -m bench.costs` prints the tables of `docs/costs.md` from the one table of prices (`infra/deploy/prices.py`);
`--check` says whether that page is out of date, `--write` rewrites it. List prices of one region, without free tiers
and taxes. Assumptions are named; none is a measurement on AWS.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.deploy.prices import (
    ALARM_METRICS,
    ALARMS,
    CODE_GB,
    FREE_ALARM_METRICS,
    FREE_DASHBOARDS,
    MONTH_H,
    MONTH_S,
    PRICES,
    VISIT,
    Session,
    around,
    dollars,
    idle,
    usd,
    watching,
)
from infra.deploy.starts import cold_seconds, fit_memory, starts, telling_seconds, tokens_per_s
from planner.costs.prices import EXTRA, INSTANCES, MANAGED_LEAST

PAGE = Path(__file__).resolve().parent.parent / "docs" / "costs.md"


@dataclass(frozen=True)
class Model:
    """A model by the size of its packed weights; rates and memory follow from it (infra/deploy/starts.py)."""

    name: str
    weights_bytes: int

    @property
    def memory_mb(self) -> int:
        return fit_memory(self.weights_bytes)

    @property
    def gb(self) -> float:
        return self.memory_mb / 1024


MODELS = (
    Model("SmolLM2 135M, INT4", 110_000_000),
    Model("Llama 3.2 1B, INT4", 690_000_000),
    Model("Llama 3.2 3B, INT4", 1_900_000_000),
    Model("Llama 3.1 8B, INT4", 4_230_000_000),
)
BIG = MODELS[-1]


def telling(model: Model, visit: Session = VISIT) -> float:
    """The storyteller's work for a visit, without its start."""
    seconds = telling_seconds(model.weights_bytes, model.memory_mb, visit)
    return usd("lambda", model.gb * seconds) + usd("lambda_request", visit.turns)


def start(model: Model) -> float:
    """One cold start."""
    return usd("lambda", model.gb * cold_seconds(model.weights_bytes))


def sweeps(model: Model) -> float:
    """What Front's sweeps wait while the storyteller wakes and tells."""
    return watching(cold_seconds(model.weights_bytes) + telling_seconds(model.weights_bytes, model.memory_mb))


def session(model: Model) -> float:
    """A whole visit that wakes the storyteller once, cold."""
    return start(model) + telling(model) + sweeps(model) + sum(around().values())


def managed(instance: str) -> float:
    """A month of the fewest instances that Managed Instances keep, with Lambda's fee (planner/costs/prices.py)."""
    return INSTANCES[instance].usd_hour * MONTH_H * MANAGED_LEAST * (1 + EXTRA["managed_fee"].usd)


def break_even(model: Model, month_usd: float) -> float:
    """Visits a day at which machines that always run cost as much."""
    return month_usd / session(model) / 30


def snapshot_break_even(model: Model) -> float | None:
    """Visits a day from which the snapshot's cheaper starts pay for keeping it; None where they are not cheaper."""
    cold, snapshot = starts(model.weights_bytes, model.memory_mb)
    saved = cold.visit_usd - snapshot.visit_usd
    return snapshot.month_usd / saved / 30 if saved > 0 else None


def tables() -> str:
    """Everything, as Markdown."""
    parts = ["### Idle: a month in which nobody comes", ""]
    images = {m: m.weights_bytes / 1e9 + CODE_GB for m in MODELS}
    parts += _table(
        ["model", *idle(0), "together"],
        [[m.name, *map(dollars, idle(images[m]).values()), dollars(sum(idle(images[m]).values()))] for m in MODELS],
    )
    parts += [
        "",
        f"The stack's {ALARMS} alarms read {ALARM_METRICS} metrics. Every account has {FREE_ALARM_METRICS} of these "
        f"and {FREE_DASHBOARDS} dashboards free; one that has used them up pays {dollars(usd('alarm', ALARM_METRICS))} "
        f"and {dollars(usd('dashboard', 1))}.",
        "",
        f"### A visit: {VISIT.minutes:g} minutes, {VISIT.turns} turns of {VISIT.reply_tokens} tokens, one start",
        "",
    ]
    parts += _table(
        ["model", "cold start", "telling", "sweeps", *around(), "together"],
        [[m.name, *map(dollars, [start(m), telling(m), sweeps(m), *around().values(), session(m)])] for m in MODELS],
    )
    parts += ["", "### Which start fits", ""]
    rows = []
    for m in MODELS:
        for one in starts(m.weights_bytes, m.memory_mb):
            rows.append(
                [
                    m.name,
                    f"`{one.name}`",
                    f"{one.memory_mb:,} MB",
                    f"{one.seconds:.1f} s",
                    dollars(one.month_usd),
                    dollars(one.visit_usd),
                    *(dollars(one.total(visits)) for visits in (1, 10, 100)),
                ]
            )
    parts += _table(
        ["model", "start", "memory", "to wake", "a month", "a visit", "1 visit a day", "10 a day", "100 a day"], rows
    )
    even = {m: snapshot_break_even(m) for m in MODELS}
    parts += [
        "",
        "A snapshot becomes the cheaper start above "
        + "; ".join(f"{visits:,.0f} visits a day ({m.name})" for m, visits in even.items() if visits is not None)
        + "".join(f"; never for {m.name}, which starts fast by itself" for m, visits in even.items() if visits is None)
        + ". Otherwise it buys the shorter wait.",
        "",
        "### Keeping it awake",
        "",
    ]
    parts += _table(
        ["way", "a month", "when it pays"],
        [
            [
                f"one provisioned environment ({BIG.name})",
                dollars(usd("provisioned", BIG.gb * MONTH_S)),
                "when nobody may ever wait",
            ],
            [
                "an r8g.4xlarge",
                dollars(usd("r8g.4xlarge", MONTH_H)),
                _pays(usd("r8g.4xlarge", MONTH_H)),
            ],
            [
                f"Lambda Managed Instances, {MANAGED_LEAST} r8g.4xlarge (priced, not deployable yet)",
                dollars(managed("r8g.4xlarge")),
                _pays(managed("r8g.4xlarge")),
            ],
        ],
    )
    parts += ["", "### Tokens", ""]
    rates = {m: tokens_per_s(m.weights_bytes, m.memory_mb) for m in MODELS}
    parts += _table(
        ["model", "memory", "tokens/s (assumed)", "cold start, s (assumed)", "a million tokens"],
        [
            [
                m.name,
                f"{m.memory_mb:,} MB",
                f"{rates[m]:.1f}",
                f"{cold_seconds(m.weights_bytes):.0f}",
                dollars(usd("lambda", m.gb / rates[m] * 1e6)),
            ]
            for m in MODELS
        ],
    )
    parts += ["", "### Prices (us-east-1, list, no free tier)", ""]
    parts += _table(
        ["price", "for a", "read", "at"],
        [[f"${p.usd:.10f}".rstrip("0").rstrip("."), p.unit, p.read, p.source] for p in PRICES.values()],
    )
    return "\n".join(parts) + "\n"


def _pays(month_usd: float) -> str:
    return "above " + "; ".join(f"{break_even(m, month_usd):,.0f} visits a day ({m.name})" for m in MODELS[1:])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


BEGIN, END = "<!-- costs: written by python -m bench.costs --write -->\n", "<!-- end of costs -->"


def rewritten(text: str) -> str:
    """The page with its tables as they are now."""
    head, _, rest = text.partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise ValueError(f"{PAGE.name} has lost its marks")
    return head + BEGIN + "\n" + tables() + "\n" + END + tail


def main(argv: Sequence[str] | None = None) -> int:
    """Prints, checks or writes the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.costs", description="Computes docs/costs.md.")
    parser.add_argument("--write", action="store_true", help="rewrite the tables in docs/costs.md")
    parser.add_argument("--check", action="store_true", help="fail if docs/costs.md is out of date")
    options = parser.parse_args(argv)
    if options.write:
        PAGE.write_text(rewritten(PAGE.read_text()))
    elif options.check:
        text = PAGE.read_text()
        if rewritten(text) != text:
            print("docs/costs.md is out of date: run python -m bench.costs --write.", file=sys.stderr)
            return 1
    else:
        print(tables(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
