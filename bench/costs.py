"""What the house costs: idle, per session, cold, from a snapshot, provisioned, and against a machine that never sleeps.

`python -m bench.costs` prints the tables of `docs/costs.md` from the one table of prices below; `--check` says
whether that page is out of date, `--write` rewrites it. Prices are list prices of one region, without free tiers
and taxes. Assumptions are named; none is a measurement on AWS. Imports nothing of the project.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).resolve().parent.parent / "docs" / "costs.md"
MONTH_H = 730
MONTH_S = 30 * 24 * 3600


class Price(NamedTuple):
    """US dollars for one unit, and where and when that was read."""

    usd: float
    unit: str
    source: str
    read: str = "2026-11"


#: us-east-1. The one place where a price stands; lambda/overture/costs.py has the first one too, and a test compares.
PRICES = {
    "lambda": Price(0.0000133334, "GB-second, arm64", "aws.amazon.com/lambda/pricing"),
    "lambda_request": Price(0.20e-6, "invocation", "aws.amazon.com/lambda/pricing"),
    "provisioned": Price(0.0000033334, "GB-second held, arm64", "aws.amazon.com/lambda/pricing"),
    "provisioned_run": Price(0.0000077778, "GB-second run, arm64", "aws.amazon.com/lambda/pricing"),
    "snapshot": Price(0.0000015046, "GB-second cached, each version", "aws.amazon.com/lambda/pricing"),
    "restore": Price(0.0001397998, "GB restored", "aws.amazon.com/lambda/pricing"),
    "message": Price(1.0e-6, "WebSocket message of up to 32 KB", "aws.amazon.com/api-gateway/pricing"),
    "minute": Price(0.25e-6, "WebSocket connection minute", "aws.amazon.com/api-gateway/pricing"),
    "http": Price(1.0e-6, "HTTP API request", "aws.amazon.com/api-gateway/pricing"),
    "write": Price(0.625e-6, "DynamoDB write unit (1 KB)", "aws.amazon.com/dynamodb/pricing/on-demand"),
    "read": Price(0.125e-6, "DynamoDB read unit (4 KB, consistent)", "aws.amazon.com/dynamodb/pricing/on-demand"),
    "ecr": Price(0.10, "GB-month of images", "aws.amazon.com/ecr/pricing"),
    "alarm": Price(0.10, "alarm-month", "aws.amazon.com/cloudwatch/pricing"),
    "dashboard": Price(3.00, "dashboard-month", "aws.amazon.com/cloudwatch/pricing"),
    "r8g.4xlarge": Price(0.94256, "hour, on demand", "aws.amazon.com/ec2/pricing/on-demand"),
}

#: What AWS gives each account and month for ever, where it matters here.
FREE_ALARMS, FREE_DASHBOARDS = 10, 3
#: The stack's own figures; tests/infra compares them with the template.
FRONT_GB, STORYTELLER_GB, ALARMS = 1.0, 10.0, 7


@dataclass(frozen=True)
class Session:
    """One visit, as assumed: a prologue while the storyteller wakes, then a story."""

    minutes: float = 12
    turns: int = 10
    reply_tokens: int = 120
    #: Written answers and steps of the prologue, each one frame to Front.
    steps: int = 20
    #: What Front takes for a frame.
    front_s: float = 0.05
    #: Tokens are gathered for 100 ms: at 4 tokens a second every token is a post.
    posts_per_token: float = 1.0
    first_token_s: float = 2.0


@dataclass(frozen=True)
class Model:
    """A model on 10 GB of Lambda. Rates are a roofline (bytes of a token over memory bandwidth), not measured."""

    name: str
    image_gb: float
    cold_s: float
    tokens_per_s: float


MODELS = (
    Model("the demo model (3 M)", 0.3, 8, 60),
    Model("Llama 3.2 1B, INT4", 1.1, 20, 25),
    Model("Llama 3.2 3B, INT4", 2.3, 30, 10),
    Model("Llama 3.1 8B, INT4", 4.7, 50, 4),
)
BIG = MODELS[-1]
VISIT = Session()


def usd(name: str, units: float) -> float:
    """What so many units cost."""
    return PRICES[name].usd * units


def idle(model: Model, *, snapstart: bool = False, free: bool = True) -> dict[str, float]:
    """A month in which nobody comes, by what is paid for."""
    costs = {
        "image in ECR": usd("ecr", model.image_gb + 0.3),
        "Front's snapshot": usd("snapshot", FRONT_GB * MONTH_S),
        "alarms": usd("alarm", 0 if free else ALARMS),
        "dashboard": usd("dashboard", 0 if free else 1),
    }
    if snapstart:
        costs["the storyteller's snapshot"] = usd("snapshot", STORYTELLER_GB * MONTH_S)
    return costs


def start(model: Model, *, snapstart: bool = False) -> float:
    """One start of the storyteller. A restored snapshot still pays a second of waking."""
    if snapstart:
        return usd("restore", STORYTELLER_GB) + usd("lambda", STORYTELLER_GB * 1.0)
    return usd("lambda", STORYTELLER_GB * model.cold_s)


def telling(model: Model, visit: Session = VISIT) -> float:
    """The storyteller's work for a visit, without its start."""
    seconds = visit.turns * (visit.first_token_s + visit.reply_tokens / model.tokens_per_s)
    return usd("lambda", STORYTELLER_GB * seconds) + usd("lambda_request", visit.turns)


def around(visit: Session = VISIT) -> dict[str, float]:
    """All of a visit but the storyteller."""
    frames = visit.turns + visit.steps
    posts = visit.turns * visit.reply_tokens * visit.posts_per_token
    return {
        "Front": usd("lambda", frames * visit.front_s * FRONT_GB) + usd("lambda_request", frames),
        "messages": usd("message", 2 * frames + posts) + usd("minute", visit.minutes) + usd("http", 1),
        # Each frame reads and writes the session and the house; each post reads the session.
        "table": usd("write", 4 * frames + 2 * visit.turns * 30) + usd("read", 4 * frames + posts),
    }


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
        ["model", *idle(BIG), "together", "with `start=snapstart`"],
        [
            [
                m.name,
                *map(_usd, idle(m).values()),
                _usd(sum(idle(m).values())),
                _usd(sum(idle(m, snapstart=True).values())),
            ]
            for m in MODELS
        ],
    )
    parts += [
        "",
        f"The stack's {ALARMS} alarms and its dashboard are within what every account has free ({FREE_ALARMS} and "
        f"{FREE_DASHBOARDS}); an account that has used these up pays {_usd(usd('alarm', ALARMS))} and "
        f"{_usd(usd('dashboard', 1))} for them.",
        "",
        f"### A visit: {VISIT.minutes:g} minutes, {VISIT.turns} turns of {VISIT.reply_tokens} tokens, one start",
        "",
    ]
    parts += _table(
        ["model", "cold start", "telling", *around(), "together", "from a snapshot"],
        [
            [m.name, *map(_usd, [start(m), telling(m), *around().values(), session(m), session(m, snapstart=True)])]
            for m in MODELS
        ],
    )
    parts += ["", "### Keeping it awake", ""]
    held = usd("provisioned", STORYTELLER_GB * MONTH_S)
    parts += _table(
        ["way", "a month", "when it pays"],
        [
            ["cold starts only", _usd(0), "always the cheapest below the lines that follow"],
            [
                "SnapStart",
                _usd(usd("snapshot", STORYTELLER_GB * MONTH_S)),
                f"above {snapshot_break_even(BIG):,.0f} starts a month ({BIG.name}, {BIG.cold_s:g} s cold); "
                "sooner if waiting counts",
            ],
            ["one provisioned environment", _usd(held), "when nobody may ever wait"],
            [
                "an r8g.4xlarge",
                _usd(usd("r8g.4xlarge", MONTH_H)),
                "above " + "; ".join(f"{break_even(m):,.0f} visits a day ({m.name})" for m in MODELS[1:]),
            ],
        ],
    )
    parts += ["", "### Tokens", ""]
    parts += _table(
        ["model", "tokens/s (assumed)", "cold start, s (assumed)", "a million tokens"],
        [
            [m.name, f"{m.tokens_per_s:g}", f"{m.cold_s:g}", _usd(usd("lambda", STORYTELLER_GB / m.tokens_per_s * 1e6))]
            for m in MODELS
        ],
    )
    parts += ["", "### Prices (us-east-1, list, no free tier)", ""]
    parts += _table(
        ["price", "for a", "read", "at"],
        [[f"${p.usd:.10f}".rstrip("0").rstrip("."), p.unit, p.read, p.source] for p in PRICES.values()],
    )
    return "\n".join(parts) + "\n"


def summary(model_bytes: int, memory_mb: int, *, snapstart: bool) -> str:
    """What `make deploy` shows before it deploys: a month of nobody, and one minute of the storyteller."""
    image_gb = model_bytes / 1e9 + 0.3
    costs = idle(Model("", image_gb, 0, 1), snapstart=snapstart)
    if snapstart:
        costs["the storyteller's snapshot"] *= memory_mb / 1024 / STORYTELLER_GB
    minute = usd("lambda", memory_mb / 1024 * 60)
    listed = ", ".join(f"{name} {_usd(value)}" for name, value in costs.items() if value)
    return (
        f"Idle: about {_usd(sum(costs.values()))} a month ({listed}).\n"
        f"A visit: about {_usd(sum(around().values()))} and {_usd(minute)} for each minute that the storyteller "
        "wakes or tells (docs/costs.md)."
    )


def _usd(value: float) -> str:
    if value == 0:
        return "$0"
    if value >= 100:
        return f"${value:,.0f}"
    return f"${value:,.2f}" if value >= 0.1 else f"${value:.5f}".rstrip("0")


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
