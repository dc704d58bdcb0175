"""The events that API Gateway hands to functions, as it shapes them. Pure functions of their arguments.

WebSocket: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-mapping-template-reference.html
HTTP API: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
import datetime
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from local.plan import ACCOUNT, API_ID, REGION, STAGE


def token() -> str:
    """An identifier of the form that API Gateway gives connections, requests and messages."""
    return base64.b64encode(secrets.token_bytes(11)).decode().replace("+", "-").replace("/", "_")


@dataclass(frozen=True, slots=True)
class Visit:
    """What the handshake of a connection told, and what every event of that connection repeats."""

    connection_id: str
    connected_at: int
    domain: str
    source_ip: str
    user_agent: str | None
    headers: Mapping[str, list[str]]
    query: Mapping[str, list[str]]
    authorizer: dict[str, Any] = field(default_factory=dict)


def websocket_context(visit: Visit, kind: str, route: str, request_id: str, **more: Any) -> dict[str, Any]:
    """The `requestContext` of a WebSocket event; `kind` is CONNECT, MESSAGE or DISCONNECT."""
    now = datetime.datetime.now(datetime.UTC)
    identity = {"sourceIp": visit.source_ip} | ({"userAgent": visit.user_agent} if visit.user_agent else {})
    return {
        "routeKey": route,
        **({"authorizer": visit.authorizer} if visit.authorizer else {}),
        **more,
        "eventType": kind,
        "extendedRequestId": request_id,
        "requestTime": clf(now),
        "messageDirection": "IN",
        "stage": STAGE,
        "connectedAt": visit.connected_at,
        "requestTimeEpoch": int(now.timestamp() * 1000),
        "identity": identity,
        "requestId": request_id,
        "domainName": visit.domain,
        "connectionId": visit.connection_id,
        "apiId": API_ID,
    }


def connect_event(visit: Visit, request_id: str) -> dict[str, Any]:
    """What the function behind `$connect` gets."""
    query = {
        "queryStringParameters": {name: values[-1] for name, values in visit.query.items()},
        "multiValueQueryStringParameters": dict(visit.query),
    }
    return {
        "headers": {name: values[-1] for name, values in visit.headers.items()},
        "multiValueHeaders": dict(visit.headers),
        **(query if visit.query else {}),
        "requestContext": websocket_context(visit, "CONNECT", "$connect", request_id),
        "isBase64Encoded": False,
    }


def authorizer_event(visit: Visit, request_id: str) -> dict[str, Any]:
    """What a REQUEST authorizer gets, before `$connect`."""
    return {
        "type": "REQUEST",
        "methodArn": method_arn(),
        "headers": {name: values[-1] for name, values in visit.headers.items()},
        "multiValueHeaders": dict(visit.headers),
        "queryStringParameters": {name: values[-1] for name, values in visit.query.items()},
        "multiValueQueryStringParameters": dict(visit.query),
        "stageVariables": {},
        "requestContext": websocket_context(visit, "CONNECT", "$connect", request_id),
    }


def method_arn() -> str:
    """The ARN of `$connect`, which the authorizer's policy must allow."""
    return f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{API_ID}/{STAGE}/$connect"


def message_event(visit: Visit, route: str, request_id: str, body: str) -> dict[str, Any]:
    """What the function behind a route gets for one message."""
    return {
        "requestContext": websocket_context(visit, "MESSAGE", route, request_id, messageId=token()),
        "body": body,
        "isBase64Encoded": False,
    }


def disconnect_event(visit: Visit, request_id: str, code: int, reason: str) -> dict[str, Any]:
    """What the function behind `$disconnect` gets."""
    if code == 1005:
        reason = "Client-side close frame status not set"
    elif code == 1006 and not reason:
        reason = "Connection closed abnormally"
    headers = {"Host": visit.domain, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": ""}
    return {
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "requestContext": websocket_context(
            visit, "DISCONNECT", "$disconnect", request_id, disconnectStatusCode=code, disconnectReason=reason
        ),
        "isBase64Encoded": False,
    }


def http_event(
    *,
    route: str,
    method: str,
    url: str,
    headers: Iterable[tuple[str, str]],
    query: Iterable[tuple[str, str]],
    body: bytes,
    domain: str,
    source_ip: str,
    request_id: str,
) -> dict[str, Any]:
    """A request to an HTTP API, payload format 2.0: header names in lower case, repeats joined by commas."""
    now = datetime.datetime.now(datetime.UTC)
    found = _join((name.lower(), value) for name, value in headers)
    cookies = [part.strip() for part in found.pop("cookie", "").split(";") if part.strip()]
    parts = urlsplit(url)
    text, encoded = _text(body)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route,
        "rawPath": parts.path,
        "rawQueryString": parts.query,
        "headers": found,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": API_ID,
            "domainName": domain,
            "domainPrefix": domain.split(".")[0].split(":")[0],
            "http": {
                "method": method,
                "path": parts.path,
                "protocol": "HTTP/1.1",
                "sourceIp": source_ip,
                "userAgent": found.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": route,
            "stage": "$default",
            "time": clf(now),
            "timeEpoch": int(now.timestamp() * 1000),
        },
        "isBase64Encoded": encoded,
    }
    if cookies:
        event["cookies"] = cookies
    if parameters := _join(query):
        event["queryStringParameters"] = parameters
    if body:
        event["body"] = text
    return event


def clf(when: datetime.datetime) -> str:
    """A time as web servers log it: `09/Feb/2026:18:23:28 +0000`, in English whatever the locale."""
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    return f"{when:%d}/{months[when.month - 1]}/{when:%Y:%H:%M:%S} +0000"


def _join(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _text(body: bytes) -> tuple[str, bool]:
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True
