"""Front's `lambda_handler`: the routes of the WebSocket, the records of storytellers, and the sweep.

Only translates: an event to a call. Everything slow (the world, the answer index) is loaded once, at import,
which SnapStart keeps. Imports no torch.
"""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools.utilities.data_classes import APIGatewayWebSocketEvent
from aws_lambda_powertools.utilities.typing import LambdaContext

from front import actions
from front.invoker import StorytellerInvoker
from front.shared import count, fault, metrics, settings, table, watched
from front.turns import Front
from overture.connections import Connections
from overture.sessions import Sessions
from prologue.answers.index import load_answer_index
from prologue.world import load_world

sessions = Sessions(table, life_days=settings.session_days)
connections = Connections()
invoker = StorytellerInvoker(settings, sessions, connections)
front = Front(
    settings=settings,
    sessions=sessions,
    connections=connections,
    invoker=invoker,
    world=load_world(settings.world),
    index=load_answer_index(settings.index, budget=settings.answer_budget),
    metrics=metrics,
    memory_mb=int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")),
)


@watched
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers a route of the WebSocket, takes the record of an asynchronous invocation, or sweeps.

    A record or a sweep that fails raises, so that Lambda tries it again; a route never does, since the
    gateway would answer the visitor with a frame that is not of the protocol.
    """
    if "requestPayload" in event:
        count("Settled")
        invoker.settle(event)
        return {}
    if "sweep" in event:
        count("Swept", invoker.sweep())
        return {}
    socket = APIGatewayWebSocketEvent(event).request_context
    count("Frames")
    try:
        match socket.route_key:
            case "$connect":
                pass  # the authorizer has seen the ticket; a session begins with `hello`
            case "$disconnect":
                actions.leave(front, socket.connection_id)
            case _:
                actions.act(front, socket.connection_id, socket.identity.source_ip, event.get("body") or "")
    except Exception:
        fault("a route of the socket failed")
    return {"statusCode": 200}
