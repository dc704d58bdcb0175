"""The real play as a plan: its functions, its routes and what each function is told.

This is the table that `infra/` deploys as constructs. It imports none of the functions.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from local.plan import Function, Plan, Schedule

ROOT = Path(__file__).resolve().parent.parent

TABLE = "overture"
MODEL = Path("build/models/storyteller")
WORLD = Path("prologue/worlds/emerald_city")
BOOK = Path("build/worlds/emerald_city/book")
WAIT_S = 20.0
CONCURRENCY = 2
#: How often what a failure left is looked for; EventBridge Scheduler's least.
SWEEP_S = 60.0


def overture(
    *,
    model: Path = ROOT / MODEL,
    world: Path = ROOT / WORLD,
    book: Path = ROOT / BOOK,
    wait_s: float = WAIT_S,
    concurrency: int = CONCURRENCY,
    origins: tuple[str, ...] = (),
) -> Plan:
    """The plan of the play.

    `wait_s` is the least time that the storyteller's loading takes (simulated: the model here is
    small), `concurrency` how many storytellers may be at work, `origins` the pages elsewhere that may
    open a connection.
    """
    front = Function("front", "front.handler.lambda_handler", timeout_s=29, memory_mb=512, prestart=1, retries=2)
    ticket = Function("ticket", "front.ticket.lambda_handler", timeout_s=10, memory_mb=512, prestart=1)
    authorizer = Function("authorizer", "front.authorizer.lambda_handler", timeout_s=10, memory_mb=512, prestart=1)
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
            "OVERTURE_BOOK": str(book.resolve()),
            "OVERTURE_CONCURRENCY": str(concurrency),
        },
    )
