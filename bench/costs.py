"""What the house costs: idle, per session, cold, from a snapshot, provisioned, and against a machine that never sleeps.

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
    ALARMS,
    CODE_GB,
    FREE_ALARMS,
    FREE_DASHBOARDS,
    MONTH_H,
    MONTH_S,
    PRICES,
    STORYTELLER_GB,
    VISIT,
    Session,
    around,
    dollars,
    idle,
    usd,
)

PAGE = Path(__file__).resolve().parent.parent / "docs" / "costs.md"


@dataclass(frozen=True)
class Model:
    """A model on 10 GB of Lambda. Rates are a roofline (bytes of a token over memory bandwidth), not measured."""

    name: str
    image_gb: float
    cold_s: float
    tokens_per_s: float


MODELS = (
    Model("SmolLM2 (135M)", 0.5, 8, 60),
    Model("Llama 3.2 1B, INT4", 1.1, 20, 25),
    Model("Llama 3.2 3B, INT4", 2.3, 30, 10),
    Model("Llama 3.1 8B, INT4", 4.7, 50, 4),
)
BIG = MODELS[-1]


def start(model: Model, *, snapstart: bool = False) -> float:
    """One start of the storyteller. A restored snapshot still pays a second of waking."""
    if snapstart:
        return usd("restore", STORYTELLER_GB) + usd("lambda", STORYTELLER_GB * 1.0)
    return usd("lambda", STORYTELLER_GB * model.cold_s)


def telling(model: Model, visit: Session = VISIT) -> float:
    """The storyteller's work for a visit, without its start."""
    seconds = visit.turns * (visit.first_token_s + visit.reply_tokens / model.tokens_per_s)
    return usd("lambda", STORYTELLER_GB * seconds) + usd("lambda_request", visit.turns)


def session(model: Model, *, snapstart: bool = False) -> float:
    """A whole visit that wakes the storyteller once."""
    return start(model, snapstart=snapstart) + telling(model) + sum(around().values())


def break_even(model: Model) -> float:
    """Visits a day at which an r8g.4xlarge that never sleeps costs as much."""
    return usd("r8g.4xlarge", MONTH_H) / session(model) / 30


def snapshot_break_even(model: Model) -> float:
    """Starts a month from which the snapshot's saving in starts pays for keeping it."""
    return usd("snapshot", STORYTELLER_GB * MONTH_S) / (start(model) - start(model, snapstart=True))


def tables() -> str:
    """Everything, as Markdown."""
    parts = ["### Idle: a month in which nobody comes", ""]
    parts += _table(
        ["model", *idle(0), "together", "with `start=snapstart`"],
        [
            [
                m.name,
                *map(dollars, idle(m.image_gb + CODE_GB).values()),
                dollars(sum(idle(m.image_gb + CODE_GB).values())),
                dollars(sum(idle(m.image_gb + CODE_GB, snapstart=True).values())),
            ]
            for m in MODELS
        ],
    )
    parts += [
        "",
        f"The stack's {ALARMS} alarms and its dashboard are within what every account has free ({FREE_ALARMS} and "
        f"{FREE_DASHBOARDS}); an account that has used these up pays {dollars(usd('alarm', ALARMS))} and "
        f"{dollars(usd('dashboard', 1))} for them.",
        "",
        f"### A visit: {VISIT.minutes:g} minutes, {VISIT.turns} turns of {VISIT.reply_tokens} tokens, one start",
        "",
    ]
    parts += _table(
        ["model", "cold start", "telling", *around(), "together", "from a snapshot"],
        [
            [m.name, *map(dollars, [start(m), telling(m), *around().values(), session(m), session(m, snapstart=True)])]
            for m in MODELS
        ],
    )
    parts += ["", "### Keeping it awake", ""]
    held = usd("provisioned", STORYTELLER_GB * MONTH_S)
    parts += _table(
        ["way", "a month", "when it pays"],
        [
            ["cold starts only", dollars(0), "always the cheapest below the lines that follow"],
            [
                "SnapStart",
                dollars(usd("snapshot", STORYTELLER_GB * MONTH_S)),
                f"above {snapshot_break_even(BIG):,.0f} starts a month ({BIG.name}, {BIG.cold_s:g} s cold); "
                "sooner if waiting counts",
            ],
            ["one provisioned environment", dollars(held), "when nobody may ever wait"],
            [
                "an r8g.4xlarge",
                dollars(usd("r8g.4xlarge", MONTH_H)),
                "above " + "; ".join(f"{break_even(m):,.0f} visits a day ({m.name})" for m in MODELS[1:]),
            ],
        ],
    )
    parts += ["", "### Tokens", ""]
    parts += _table(
        ["model", "tokens/s (assumed)", "cold start, s (assumed)", "a million tokens"],
        [
            [
                m.name,
                f"{m.tokens_per_s:g}",
                f"{m.cold_s:g}",
                dollars(usd("lambda", STORYTELLER_GB / m.tokens_per_s * 1e6)),
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
