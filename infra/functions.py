"""The Lambda functions and the routes to them, as data.

`local/play.py` has the same figures for the stack on one machine; `tests/infra/test_functions.py` compares the two.
"""

from __future__ import annotations

from typing import NamedTuple


class FunctionSpec(NamedTuple):
    """What Lambda is told of a function; the storyteller's memory is a setting."""

    name: str
    handler: str
    memory_mb: int
    timeout_s: int


# Front's snapshot is billed by the gigabyte, day and night; bench/front.py measures what less of a CPU costs.
# 29 s is API Gateway's own limit for a WebSocket route.
FRONT = FunctionSpec("front", "front.handler.lambda_handler", memory_mb=512, timeout_s=29)
TICKET = FunctionSpec("ticket", "front.ticket.lambda_handler", memory_mb=512, timeout_s=10)
AUTHORIZER = FunctionSpec("authorizer", "front.authorizer.lambda_handler", memory_mb=512, timeout_s=10)
STORYTELLER = FunctionSpec("storyteller", "storyteller.handler.lambda_handler", memory_mb=10_240, timeout_s=900)

#: How long an event may wait for a start. Front's reservation of the lease outlives it.
STORYTELLER_EVENT_AGE_S = 60
#: The lease decides what is tried again, so Lambda itself retries nothing.
STORYTELLER_RETRIES = 0

#: How often Front is called to mend what a failure left, and with what.
SWEEP_S = 60
SWEEP_EVENT = {"sweep": True}

#: Front reads `action` itself, so that a frame that is not JSON gets the protocol's `error`.
WEBSOCKET_ROUTES = ("$connect", "$disconnect", "$default")
#: The query parameter without which API Gateway does not ask the authorizer.
TICKET_PARAMETER = "ticket"
TICKET_PATH = "/ticket"

#: Where Front's package has its world and answer index on Lambda.
WORLD_PATH, INDEX_PATH = "/var/task/world", "/var/task/answers"
