"""The real play as a plan: its functions, its routes and what each function is told.

This is the table that `infra/` deploys as constructs. It imports none of the functions.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from local.plan import Function, Plan, Schedule

ROOT = Path(__file__).resolve().parent.parent

TABLE = "overture"
MODEL = Path("build/models/storyteller")
WORLD = Path("prologue/worlds/emerald_city")
INDEX = Path("build/worlds/emerald_city/answers")
WAIT_S = 20.0
CONCURRENCY = 2
#: Environments that Front and the ticket functions may have each: a crowd takes turns, as the memory of one machine
#: is no account's. One of Front takes some 65 MB of its own.
ENVIRONMENTS = max(2, 2 * (os.cpu_count() or 1))
#: How often what a failure left is looked for; EventBridge Scheduler's least.
SWEEP_S = 60.0


def overture(
    *,
    model: Path = ROOT / MODEL,
    world: Path = ROOT / WORLD,
    index: Path = ROOT / INDEX,
    wait_s: float = WAIT_S,
    concurrency: int = CONCURRENCY,
    environments: int = ENVIRONMENTS,
    origins: tuple[str, ...] = (),
) -> Plan:
    """The plan of the play.

    `wait_s` is the least time that the storyteller's loading takes (simulated: the model here is small),
    `concurrency` how many storytellers may be at work, `environments` how many of each other function there may
    be (Front has one more, as a sweep may wait in one), `origins` the pages elsewhere that may open a connection.
    """
    short: dict[str, Any] = {"memory_mb": 512, "prestart": 1, "concurrency": environments, "queue_s": 29.0}
    front = Function("front", "front.handler.lambda_handler", timeout_s=29, retries=2, **short)
    front = replace(front, concurrency=environments + 1)
    ticket = Function("ticket", "front.ticket.lambda_handler", timeout_s=10, **short)
    authorizer = Function("authorizer", "front.authorizer.lambda_handler", timeout_s=10, **short)
    storyteller = Function(
        "storyteller",
        "storyteller.handler.lambda_handler",
        timeout_s=900,
        memory_mb=10_240,
        concurrency=concurrency,
        environment={"OVERTURE_MODEL": str(model.resolve()), "OVERTURE_LOAD_S": str(wait_s)},
        retries=0,
        event_age_s=60,
        on_success="front",
        on_failure="front",
    )
    return Plan(
        functions=tuple(
            replace(one, environment={"POWERTOOLS_SERVICE_NAME": one.name, **one.environment})
            for one in (front, ticket, authorizer, storyteller)
        ),
        routes={"$connect": "front", "$disconnect": "front", "$default": "front"},
        authorizer="authorizer",
        identity=("ticket",),
        http={"POST /ticket": "ticket"},
        pages=ROOT / "client" / "web",
        table=TABLE,
        origins=origins,
        schedules=(Schedule("front", SWEEP_S, {"sweep": True}),),
        environment={
            "PYTHONPATH": f"{ROOT}:{ROOT / 'lambda'}",
            "POWERTOOLS_METRICS_NAMESPACE": "Overture",
            "POWERTOOLS_TRACE_DISABLED": "1",
            "OVERTURE_TABLE": TABLE,
            "OVERTURE_STORYTELLER": "storyteller",
            "OVERTURE_WORLD": str(world.resolve()),
            "OVERTURE_INDEX": str(index.resolve()),
            "OVERTURE_CONCURRENCY": str(concurrency),
            "OVERTURE_SIMULATED": "true",
        },
    )
