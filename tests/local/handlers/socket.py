"""Handlers behind a WebSocket, for the emulator's own tests."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import boto3

from tests.local.handlers.tiny import trace

ALLOW = {"Version": "2012-10-17", "Statement": [{"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "*"}]}


def post(connection: str, data: Any) -> str:
    """Posts to a connection; gives `ok` or the name of the error."""
    client = boto3.client("apigatewaymanagementapi")
    try:
        client.post_to_connection(ConnectionId=connection, Data=json.dumps(data).encode())
    except client.exceptions.ClientError as error:
        return str(error.response["Error"]["Code"])
    return "ok"


def lambda_handler(event: Any, context: Any) -> Any:
    """Leaves a trace of every event, and does what the message asks for."""
    trace("events", event)
    context = event["requestContext"]
    if context["eventType"] != "MESSAGE":
        query = event.get("queryStringParameters") or {}
        time.sleep(float(query.get("s", 0)))
        if "early" in query:
            trace("posted", post(context["connectionId"], "too early"))
        return {"statusCode": int(query.get("status", 200))}
    try:
        asked = json.loads(event["body"])
    except ValueError:
        return {"statusCode": 200}
    if "s" in asked:
        time.sleep(asked["s"])
    if "say" in asked:
        trace("posted", post(context["connectionId"], asked["say"]))
    if "leave" in asked:
        os._exit(1)
    if "fail" in asked:
        raise ValueError(asked["fail"])
    return {"statusCode": 200}


def authorizer(event: Any, context: Any) -> Any:
    """Lets `good` in; `once` only the first time; asks for a 500 with `bad`, `fail` and `nested`."""
    trace("asked", event)
    ticket = event["queryStringParameters"]["ticket"]
    if ticket == "fail":
        raise ValueError("broken")
    if ticket == "bad":
        return {"isAuthorized": True}
    if ticket == "nested":
        return {"principalId": "v", "policyDocument": ALLOW, "context": {"list": [1]}}
    if ticket.startswith("once"):
        table = boto3.client("dynamodb")
        key = {"pk": {"S": ticket}, "sk": {"S": "ticket"}}
        try:
            table.put_item(TableName=os.environ["TABLE"], Item=key, ConditionExpression="attribute_not_exists(pk)")
        except table.exceptions.ConditionalCheckFailedException:
            return {"principalId": "v", "policyDocument": {"Statement": []}}
    elif ticket != "good":
        deny = {"Statement": [{"Action": "*", "Effect": "Deny", "Resource": event["methodArn"]}]}
        return {"principalId": "v", "policyDocument": deny}
    return {"principalId": "visitor-1", "policyDocument": ALLOW, "context": {"world": "oz", "n": 3, "first": True}}
