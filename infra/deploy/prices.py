"""AWS's prices with their sources, and what an idle month and a visit cost.

`bench/costs.py` writes `docs/costs.md` from it; `make deploy` shows a summary. List prices of one region, without free
tiers and taxes. The assumptions about a visit are named; none is a measurement on AWS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from infra.functions import FRONT, SWEEP_S

MONTH_H = 730
MONTH_S = 30 * 24 * 3600
#: The image in ECR without its model, compressed.
CODE_GB = 0.3


class Price(NamedTuple):
    """US dollars for one unit, and where and when that was read."""

    usd: float
    unit: str
    source: str
    read: str = "2026-11"


#: us-east-1. The one place where a price stands; lambda/overture/accounting has the first ones too; a test compares.
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
    "s3": Price(0.023, "GB-month in S3", "aws.amazon.com/s3/pricing"),
    "s3_get": Price(0.40e-6, "GET of S3", "aws.amazon.com/s3/pricing"),
    "alarm": Price(0.10, "month of a metric that an alarm reads", "aws.amazon.com/cloudwatch/pricing"),
    "dashboard": Price(3.00, "dashboard-month", "aws.amazon.com/cloudwatch/pricing"),
    "r8g.4xlarge": Price(0.94256, "hour, on demand", "aws.amazon.com/ec2/pricing/on-demand"),
}

#: What AWS gives each account and month for ever, where it matters here.
FREE_ALARM_METRICS, FREE_DASHBOARDS = 10, 3
#: The stack's own figures; tests/infra compares them with the template.
FRONT_GB, ALARMS, ALARM_METRICS = FRONT.memory_mb / 1024, 8, 13

#: Front's sweep: how often in a month, how long it takes with nothing to mend, and how many items it reads (assumed).
SWEEPS, SWEEP_WORK_S, SWEEP_READS = MONTH_S // SWEEP_S, 0.1, 20
#: While a storyteller works, a sweep waits until its lease should have been renewed: some 5 s, at most this.
#: The difference has room for a slow start, for which a sweep waits up to 15 s.
SWEEP_WAIT_S = 7.5


@dataclass(frozen=True)
class Session:
    """One visit, as assumed: a prologue while the storyteller wakes, then a story."""

    minutes: float = 12
    turns: int = 10
    reply_tokens: int = 120
    #: Written answers and steps of the prologue, each one frame to Front.
    steps: int = 20
    #: What Front takes for a frame (bench/front.py, with the share of a slower processor that 512 MB give).
    front_s: float = 0.2
    #: Tokens are gathered for 100 ms: at less than 10 tokens a second every token is a post.
    posts_per_token: float = 1.0
    first_token_s: float = 2.0


VISIT = Session()


def usd(name: str, units: float) -> float:
    return PRICES[name].usd * units


def idle(image_gb: float, *, snapshot_gb: float = 0, weights_gb: float = 0, free: bool = True) -> dict[str, float]:
    """A month in which nobody comes.

    `snapshot_gb`: the storyteller's memory with `start=snapstart`; `weights_gb`: the model with `weights=s3`.
    """
    costs = {
        "image in ECR": usd("ecr", image_gb),
        **({"weights in S3": usd("s3", weights_gb)} if weights_gb else {}),
        "Front's snapshot": usd("snapshot", FRONT_GB * MONTH_S),
        "alarms": usd("alarm", ALARM_METRICS - (FREE_ALARM_METRICS if free else 0)),
        "dashboard": usd("dashboard", 0 if free else 1),
        "sweep": sweeping(),
    }
    if snapshot_gb:
        costs["the storyteller's snapshot"] = usd("snapshot", snapshot_gb * MONTH_S)
    return costs


def around(visit: Session = VISIT) -> dict[str, float]:
    """A visit without the storyteller."""
    frames = visit.turns + visit.steps
    posts = visit.turns * visit.reply_tokens * visit.posts_per_token
    return {
        "Front": usd("lambda", frames * visit.front_s * FRONT_GB) + usd("lambda_request", frames),
        "messages": usd("message", 2 * frames + posts) + usd("minute", visit.minutes) + usd("http", 1),
        # Each frame reads and writes the session and the slots; each post reads the session.
        "table": usd("write", 4 * frames + 2 * visit.turns * 30) + usd("read", 4 * frames + posts),
    }


def sweeping() -> float:
    """A month of Front's sweeps with nothing to mend."""
    return (
        usd("lambda_request", SWEEPS)
        + usd("lambda", SWEEPS * SWEEP_WORK_S * FRONT_GB)
        + usd("read", SWEEPS * SWEEP_READS)
    )


def watching(seconds: float) -> float:
    """What Front's sweeps wait while a storyteller works for so long; all who work at the time share it."""
    return usd("lambda", seconds / SWEEP_S * SWEEP_WAIT_S * FRONT_GB)


def summary(model_bytes: int, memory_mb: int, *, snapstart: bool, on_s3: bool = False) -> str:
    """What `make deploy` shows before it deploys: an idle month, and one minute of the storyteller."""
    model_gb = model_bytes / 1e9
    costs = idle(
        CODE_GB if on_s3 else CODE_GB + model_gb,
        snapshot_gb=memory_mb / 1024 if snapstart else 0,
        weights_gb=model_gb if on_s3 else 0,
    )
    minute = usd("lambda", memory_mb / 1024 * 60) + watching(60)
    listed = ", ".join(f"{name} {dollars(value)}" for name, value in costs.items() if value)
    return (
        f"Idle: about {dollars(sum(costs.values()))} a month ({listed}).\n"
        f"A visit: about {dollars(sum(around().values()))} and {dollars(minute)} for each minute that the storyteller "
        "wakes or tells (docs/costs.md)."
    )


def dollars(value: float) -> str:
    """An amount as it is written."""
    if value == 0:
        return "$0"
    if value >= 100:
        return f"${value:,.0f}"
    return f"${value:,.2f}" if value >= 0.1 else f"${value:.5f}".rstrip("0")
