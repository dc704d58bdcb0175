"""Front's `lambda_handler`: the routes of the WebSocket, and the records of lost storytellers.

Only translates: an event to a call of `Stage` or `StorytellerInvoker`. Everything slow (the world, the book) is
loaded once, at import, which SnapStart keeps. Imports no torch.
"""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import APIGatewayWebSocketEvent
from aws_lambda_powertools.utilities.typing import LambdaContext

from front.actions import Stage
from front.invoker import StorytellerInvoker
from front.turns import Lines
from overture.connections import Connections
from overture.sessions import Sessions
from overture.settings import Settings
from overture.table import Table
from prologue.answers.index import load_answer_index
from prologue.world import load_world

logger = Logger()
tracer = Tracer()
metrics = Metrics()

settings = Settings.read()
sessions = Sessions(Table(settings.table), life_days=settings.session_days)
connections = Connections()
wakes = StorytellerInvoker(settings, sessions, connections)
world = load_world(settings.world)
book = load_answer_index(settings.book, budget=settings.answer_budget)
memory_mb = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"))
lines = Lines(settings, sessions, connections, wakes, world, book, metrics, memory_mb)
stage = Stage(settings, sessions, connections, wakes, world, lines, metrics)


@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers a route of the WebSocket, or takes the record of an asynchronous invocation."""
    if "requestPayload" in event:
        metrics.add_metric("Settled", MetricUnit.Count, 1)
        wakes.settle(event)
        return {}
    socket = APIGatewayWebSocketEvent(event).request_context
    metrics.add_metric("Frames", MetricUnit.Count, 1)
    match socket.route_key:
        case "$connect":
            pass  # the authorizer has seen the ticket; a session begins with `hello`
        case "$disconnect":
            stage.leave(socket.connection_id)
        case _:
            stage.act(socket.connection_id, socket.identity.source_ip, event.get("body") or "")
    return {"statusCode": 200}
