"""The day ledgers of a running stack: what it used on each day (UTC), in money, energy and carbon.

Read from its table, with the account of the shell. `AWS_ENDPOINT_URL_DYNAMODB` names another place than AWS.
"""

from __future__ import annotations

from collections.abc import Mapping

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from overture.accounting.costs import Deployment, of_visit
from overture.accounting.grid import grid
from overture.accounting.ledger import Ledger
from overture.accounting.ranges import significant
from overture.counters import read_days
from overture.settings import FRONT_MB
from overture.table import Table, Unavailable
from planner.report import dollars, percent, table
from planner.scenario import Place, ScenarioError

HEAD = ("day", "starts", "replies", "tokens", "without the model", "$", "Wh", "g CO2e")


def read(name: str, region: str) -> dict[str, Ledger]:
    """The ledgers by day, newest first. Raises `ScenarioError`."""
    try:
        days = read_days(Table(name, boto3.client("dynamodb", region_name=region)))
    except (BotoCoreError, ClientError, Unavailable) as error:
        raise ScenarioError(
            f"--days {name}: the table was not read in {region} ({error}); sign in with `aws configure`, or correct "
            "the name or the region."
        ) from None
    if not days:
        raise ScenarioError(f"--days {name}: no day is in the table; let the stack be visited first.")
    return days


def rows(days: Mapping[str, Ledger], place: Place) -> list[list[str]]:
    """A row a day, with the memory and the grid of a place."""
    deployment = Deployment(place.memory_mb, FRONT_MB, grid(place.region))
    found = []
    for day, one in days.items():
        used = of_visit(one, deployment)
        found.append(
            [
                day,
                f"{one.starts}",
                f"{one.replies}",
                f"{one.tokens:,}",
                percent(one.share_answered),
                dollars(used.usd * place.price_factor),
                significant(used.mwh / 1000),
                significant(used.gco2e),
            ]
        )
    return found


def text(days: Mapping[str, Ledger], place: Place) -> str:
    """The days as a table."""
    return "\n".join(
        [
            *table(list(HEAD), rows(days, place)),
            f"The storyteller and the searches for answers, at {place.memory_mb:,} MB in {place.region}; "
            "messages and storage are not in it.",
        ]
    )
