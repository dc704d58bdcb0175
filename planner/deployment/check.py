"""Drift: what a running stack counted, beside what the plan expected of it.

The counts are the stack's own metrics: from CloudWatch, or from the log of a local stack, whose lines hold the same
metrics in CloudWatch's embedded format (EMF).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from overture.accounting.ranges import significant
from planner.analysis.evaluation import Evaluation
from planner.report import table
from planner.scenario import ScenarioError

#: A figure that lies further than this from the plan's is called drift.
TOLERANCE = 0.25
#: Fewer than this many and a share or a mean says little.
ENOUGH = 30
_COUNTS = ("Sessions", "Replies", "Answers", "Tokens")
_DAYS = 7
_STACK = "Overture"


@dataclass(slots=True)
class Counted:
    """Sums of a time, and the milliseconds to a first token: all of them, or CloudWatch's percentiles."""

    days: float = 0.0
    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_COUNTS, 0.0))
    first_token_ms: list[float] = field(default_factory=list)
    percentiles_ms: dict[int, float] = field(default_factory=dict)

    def first_token_s(self, percentile: int) -> float | None:
        """A percentile of the time to the first token."""
        if percentile in self.percentiles_ms:
            return self.percentiles_ms[percentile] / 1000
        return float(np.percentile(self.first_token_ms, percentile)) / 1000 if self.first_token_ms else None


def read(source: str, region: str) -> Counted:
    """Reads counts from `cloudwatch` or `cloudwatch:STACK`, a folder of logs, or a log. Raises `ScenarioError`."""
    place, _, stack = source.partition(":")
    if place == "cloudwatch":
        return _from_cloudwatch(region, stack or _STACK)
    path = Path(source)
    if not path.exists():
        raise ScenarioError(
            f"--check {source}: there is no such file; name a log of the stack, its folder, or cloudwatch."
        )
    files = sorted(path.glob("*.log")) if path.is_dir() else [path]
    lines = (line for file in files for line in file.read_text(encoding="utf-8", errors="replace").splitlines())
    counted = from_lines(lines)
    if not counted.sums["Sessions"]:
        raise ScenarioError(f"--check {source}: no session is counted there; let the stack be visited first.")
    return counted


def from_lines(lines: Iterable[str]) -> Counted:
    """Counts from log lines that hold metrics in the embedded format."""
    counted, times = Counted(), []
    for line in lines:
        start = line.find('{"_aws"')
        if start < 0:
            continue
        try:
            found: Mapping[str, Any] = json.loads(line[start:])
        except json.JSONDecodeError:
            continue
        times.append(found["_aws"]["Timestamp"] / 1000)
        for name in _COUNTS:
            counted.sums[name] += sum(_values(found.get(name)))
        counted.first_token_ms += _values(found.get("TimeToFirstToken"))
    if times:
        counted.days = max(1 / 24, (max(times) - min(times)) / 86_400)
    return counted


def text(answer: Evaluation, counted: Counted) -> str:
    """The comparison as a table, with a sentence of what to change in the scenario."""
    rows, advice = [], []
    for name, planned, found, enough, remedy in _pairs(answer, counted):
        if found is None:
            rows.append([name, significant(planned), "not counted", "-", ""])
            continue
        drift = found / planned - 1 if planned else float("inf") if found else 0.0
        verdict = "too few to tell" if not enough else "drift" if abs(drift) > TOLERANCE else "as planned"
        if verdict == "drift":
            advice.append(f"set {remedy} to {significant(found, 3)}")
        rows.append([name, significant(planned), significant(found), f"{drift:+.0%}", verdict])
    lines = [f"{counted.days:.2g} days, {counted.sums['Sessions']:,.0f} visits counted."]
    lines += table(["figure", "planned", "counted", "drift", ""], rows)
    if advice:
        lines.append("To plan with what was counted: " + "; ".join(advice) + ".")
    return "\n".join(lines)


def _pairs(answer: Evaluation, counted: Counted) -> Iterable[tuple[str, float, float | None, bool, str]]:
    """(figure, planned, counted, whether there is enough of it, the field to change)."""
    sums, outcome = counted.sums, answer.outcome
    visits, replies = sums["Sessions"], sums["Replies"]
    lines = replies + sums["Answers"]
    per_day = visits / counted.days if counted.days >= 1 else None
    yield "visits a day", answer.scenario.visits_per_day, per_day, visits >= ENOUGH, "traffic.visits_per_day"
    planned_lines = (outcome.replies + outcome.index_lines) / outcome.visits
    yield "lines a visit", planned_lines, lines / visits if visits else None, visits >= ENOUGH, "visit.turns"
    share = sums["Answers"] / lines if lines else None
    yield "share answered from the index", answer.index_share, share, lines >= ENOUGH, "visit.index_share"
    tokens = sums["Tokens"] / replies if replies else None
    planned_tokens = outcome.tokens / max(1, outcome.replies)
    yield "tokens a reply", planned_tokens, tokens, replies >= ENOUGH, "visit.reply_tokens (its mean)"
    # The stack's time to first token is the engine's: prefill, without waiting for a start or a slot.
    first_s = outcome.prefill_s / max(1, outcome.replies)
    yield (
        "engine's first token, s",
        first_s,
        counted.first_token_s(50),
        replies >= ENOUGH,
        "visit.prompt_tokens or reused",
    )


def _values(found: object) -> list[float]:
    if found is None:
        return []
    return [float(value) for value in found] if isinstance(found, list) else [float(str(found))]


def _from_cloudwatch(region: str, stack: str) -> Counted:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    def query(number: int, service: str, name: str, statistic: str) -> dict[str, Any]:
        # A service is named by its stack and function (infra/constructs/roles.py).
        dimensions = [{"Name": "service", "Value": f"{stack}-{service}"}]
        metric = {"Namespace": "Overture", "MetricName": name, "Dimensions": dimensions}
        return {"Id": f"m{number}", "MetricStat": {"Metric": metric, "Period": 86_400 * _DAYS, "Stat": statistic}}

    asked = [
        ("front", "Sessions", "Sum"),
        ("storyteller", "Replies", "Sum"),
        ("front", "Answers", "Sum"),
        ("storyteller", "Tokens", "Sum"),
        ("storyteller", "TimeToFirstToken", "p50"),
        ("storyteller", "TimeToFirstToken", "p95"),
    ]
    now = datetime.now(UTC)
    try:
        client: Any = boto3.client("cloudwatch", region_name=region)
        found = client.get_metric_data(
            MetricDataQueries=[query(number, *one) for number, one in enumerate(asked)],
            StartTime=now - timedelta(days=_DAYS),
            EndTime=now,
        )
    except (BotoCoreError, ClientError) as error:
        raise ScenarioError(
            f"--check cloudwatch: {region} was not read ({error}); sign in with `aws configure`."
        ) from None
    counted = Counted(days=_DAYS)
    for number, (_, name, statistic) in enumerate(asked):
        values = found["MetricDataResults"][number]["Values"]
        if statistic == "Sum":
            counted.sums[name] = sum(values)
        elif values:
            counted.percentiles_ms[int(statistic[1:])] = values[0]
    if not counted.sums["Sessions"]:
        raise ScenarioError(
            f"--check cloudwatch: no session of {stack} was counted in {region} in {_DAYS} days; name another region "
            "(place.region), or another stack as cloudwatch:STACK."
        )
    return counted
