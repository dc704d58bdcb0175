"""The `$connect` authorizer: lets a connection in for a good ticket from an allowed origin, once.

It answers with a policy either way; API Gateway turns a denial into 403. The ticket is not logged.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.data_classes.api_gateway_authorizer_event import APIGatewayAuthorizerRequestEvent
from aws_lambda_powertools.utilities.typing import LambdaContext

from front import tickets
from front.shared import count, fault, settings, table, watched


@watched
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers `$connect` with a policy that allows or denies it."""
    request = APIGatewayAuthorizerRequestEvent(event)
    origin = next((value for name, value in request.headers.items() if name.lower() == "origin"), None)
    ticket = request.query_string_parameters.get("ticket")
    try:
        admitted = settings.allows(origin) and tickets.redeem(table, ticket)
    except Exception:
        fault("a ticket could not be looked up")
        admitted = False
    count("ConnectionsAdmitted" if admitted else "ConnectionsRefused")
    return {
        "principalId": "visitor",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Action": "execute-api:Invoke",
                    "Effect": "Allow" if admitted else "Deny",
                    "Resource": event["methodArn"],
                }
            ],
        },
    }
