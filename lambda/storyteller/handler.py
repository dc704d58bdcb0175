"""The storyteller's `lambda_handler`: asynchronous invocations `{session, token}` from Front.

The model begins to load in a thread the moment this module is imported, because Lambda throws an
init of more than ten seconds away; the handler waits for it. Only translates: see `telling`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from overture.settings import Settings
from storyteller import snapshots
from storyteller.model_loader import ModelLoader

if TYPE_CHECKING:
    from storyteller.engine import Engine

settings = Settings.read()


def _load(note: Callable[[int, int], None]) -> Engine:
    from storyteller.bucket import opened
    from storyteller.engine import load_engine

    with opened(settings.model) as model:
        return load_engine(
            model,
            progress=note,
            context=settings.context,
            threads=settings.threads or None,
            pace_s=settings.load_s,
            prepare_grammars=True,
            # A snapshot carries the process's own memory; pages of a mapped file would be read again.
            copy=snapshots.is_coming(),
        )


loader = ModelLoader(_load)

# What follows is imported while the weights are already being read.
from aws_lambda_powertools import Logger, Metrics, Tracer  # noqa: E402
from aws_lambda_powertools.utilities.typing import LambdaContext  # noqa: E402

from overture.connections import Connections  # noqa: E402
from overture.sessions import Sessions  # noqa: E402
from overture.table import Table  # noqa: E402
from prologue.world import load_world  # noqa: E402
from storyteller.worker import ReplyWorker  # noqa: E402

logger = Logger()
tracer = Tracer()
metrics = Metrics()

sessions = Sessions(Table(settings.table), life_days=settings.session_days)
connections = Connections()
world = load_world(settings.world)


def _reconnect() -> None:
    global sessions, connections
    sessions = Sessions(Table(settings.table), life_days=settings.session_days)
    connections = Connections()


if snapshots.is_coming():
    snapshots.prepare(loader, _reconnect)


@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Works for the session that the event names, if its token still is the session's lease."""
    logger.append_keys(session=event["session"])
    ReplyWorker(
        settings,
        sessions,
        connections,
        world,
        metrics,
        key=event["session"],
        token=event["token"],
        memory_mb=int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "10240")),
        remaining_s=lambda: context.get_remaining_time_in_millis() / 1000,
    ).work(loader)
    return {}
