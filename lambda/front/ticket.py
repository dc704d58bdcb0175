"""The ticket handler: `POST ticket` gives `{ticket, expires_in}` to a client from an allowed origin."""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from aws_lambda_powertools.utilities.typing import LambdaContext

from front import tickets
from front.shared import count, fault, settings, table, watched


@watched
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Issues a ticket; 403 for another origin, 429 for too many, 503 while the table is out of reach."""
    request = APIGatewayProxyEventV2(event)
    origin = request.headers.get("origin")
    if not settings.allows(origin):
        count("TicketsRefused")
        # The page may read why, so that it can say it.
        return _answer(
            403, {"message": f"Pages from {origin} may not come in; who runs this deployment can allow them."}, origin
        )
    try:
        ticket = tickets.issue(table, settings, request.request_context.http.source_ip)
    except tickets.TooMany:
        count("TicketsRefused")
        return _answer(429, {"message": "Too many tickets for your address; wait a minute."}, origin)
    except Exception:
        fault("a ticket could not be issued")
        return _answer(503, {"message": "No ticket can be issued just now; try again in a moment."}, origin)
    count("TicketsIssued")
    return _answer(200, {"ticket": ticket, "expires_in": int(settings.ticket_s)}, origin)


def _answer(status: int, body: dict[str, Any], origin: str | None = None) -> dict[str, Any]:
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    if origin is not None:
        headers |= {"access-control-allow-origin": origin, "vary": "origin"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(body)}
