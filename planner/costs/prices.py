"""What a plan pays for: AWS's prices from the stack's own table, and those of places the stack does not deploy to.

List prices of us-east-1, no free tier, no tax, no savings plan. `month` says what a simulated month comes to by item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from infra.deploy.prices import CODE_GB, FRONT_GB, MONTH_H, MONTH_S, PRICES, VISIT, sweeping, usd, watching
from overture.accounting.energy import GRAVITON4, Server
from overture.accounting.prices import Price

if TYPE_CHECKING:
    from planner.scenario import Place, Scenario
    from planner.simulation.system import Outcome


class Instance(NamedTuple):
    """An EC2 instance type."""

    vcpus: int
    memory_gb: int
    usd_hour: float
    server: Server


def _sizes(family: str, gb_a_vcpu: int, usd_4xlarge: float) -> dict[str, Instance]:
    """On-demand prices are linear in the size."""
    return {
        f"{family}.{size}": Instance(cores, cores * gb_a_vcpu, usd_4xlarge * cores / 16, GRAVITON4)
        for size, cores in {"xlarge": 4, "2xlarge": 8, "4xlarge": 16, "8xlarge": 32, "12xlarge": 48}.items()
    }


#: aws.amazon.com/ec2/pricing/on-demand, us-east-1, read 2026-11 (r8g.4xlarge is in the stack's table too).
INSTANCES = {
    **_sizes("r8g", 8, PRICES["r8g.4xlarge"].usd),
    **_sizes("m8g", 4, 0.71808),
    **_sizes("c8g", 2, 0.63808),
}
EXTRA = {
    "managed_fee": Price(
        0.15, "share of the on-demand price, Lambda Managed Instances", "aws.amazon.com/lambda/pricing"
    ),
}
#: Lambda Managed Instances keep three instances for three zones unless told otherwise (AWS Lambda developer guide).
MANAGED_LEAST = 3
#: US dollars for a million tokens in and out: Bedrock, Llama 3.2 1B and 3B, Llama 3.1 8B, us-west-2, read 2026-11.
API_USD_MILLION = {"135M": 0.10, "1B": 0.10, "3B": 0.15, "8B": 0.22}


def month(scenario: Scenario, outcome: Outcome, days: float, weights_gb: float) -> dict[str, float]:
    """US dollars a month (30 days) by item, of a simulated horizon in days."""
    place, times = scenario.place, 30 / days
    gigabytes = place.memory_mb / 1024
    on_demand = place.kind in ("lambda", "snapstart", "provisioned")
    items: dict[str, float] = {}
    if on_demand:
        work_s = outcome.prefill_s + outcome.decode_s + outcome.linger_s - outcome.prepared_s
        items["starts"] = usd("lambda", outcome.start_s * gigabytes) * times
        items["telling"] = (
            usd("lambda", work_s * gigabytes) * times + usd("lambda_request", outcome.invocations) * times
        )
        items["image in ECR"] = usd("ecr", weights_gb + CODE_GB)
    if place.kind == "snapstart":
        items["the storyteller's snapshot"] = usd("snapshot", gigabytes * MONTH_S)
        items["starts"] += usd("restore", outcome.starts * gigabytes) * times
    if place.kind == "provisioned":
        items["held ready"] = usd("provisioned", gigabytes * MONTH_S * place.provisioned)
        items["telling"] += usd("provisioned_run", outcome.prepared_s * gigabytes) * times
    if place.kind == "ec2":
        items["instances"] = INSTANCES[place.instance].usd_hour * MONTH_H * machines(place)
    if place.kind == "managed_instances":
        fee = 1 + EXTRA["managed_fee"].usd
        items["instances"] = INSTANCES[place.instance].usd_hour * MONTH_H * machines(place) * fee
        items["telling"] = usd("lambda_request", outcome.invocations) * times
    if place.kind == "api":
        asked = outcome.replies * scenario.visit.prompt_tokens
        items["tokens"] = API_USD_MILLION[scenario.model.shape] * (asked + outcome.tokens) / 1e6 * times
    items.update({name: value * times for name, value in _around(scenario, outcome).items()})
    items["Front's snapshot"] = usd("snapshot", FRONT_GB * MONTH_S)
    # Those who work at the same time are watched at once, so a sweep waits no longer than there is time.
    working_s = outcome.start_s + outcome.prefill_s + outcome.decode_s + outcome.linger_s
    items["sweep"] = sweeping() + watching(min(working_s, days * 86_400)) * times
    return {name: value * place.price_factor for name, value in items.items()}


def machines(place: Place) -> int:
    """Machines that are always on; 0 where environments come and go, or are another's."""
    if place.kind == "managed_instances":
        return max(MANAGED_LEAST, place.replicas)
    return place.replicas if place.kind == "ec2" else 0


def frames(scenario: Scenario, outcome: Outcome) -> float:
    """Messages from visitors that Front handles."""
    return outcome.visits * scenario.visit.steps + outcome.lines


def posts(outcome: Outcome) -> float:
    """Messages with tokens: they are gathered for 100 ms, so a fast model needs fewer of them than tokens."""
    return min(outcome.tokens, outcome.decode_s / 0.1)


def _around(scenario: Scenario, outcome: Outcome) -> dict[str, float]:
    """Front, messages and the table, as infra/deploy/prices.py counts them for one visit."""
    handled, sent = frames(scenario, outcome), posts(outcome)
    return {
        "Front": usd("lambda", handled * VISIT.front_s * FRONT_GB) + usd("lambda_request", handled),
        "messages": usd("message", 2 * handled + sent)
        + usd("minute", outcome.connected_s / 60)
        + usd("http", outcome.visits),
        "table": usd("write", 4 * handled + 2 * 30 * outcome.replies) + usd("read", 4 * handled + sent),
    }
