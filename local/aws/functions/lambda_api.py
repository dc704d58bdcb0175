"""Lambda's Invoke API as HTTP, for boto3 in the handlers and in the tests.

https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html. Only Invoke: nothing here can be
deployed or configured at run time.
"""

from __future__ import annotations

import json
import uuid

from aiohttp import web

from local.aws.functions.pool import ThrottledError
from local.aws.functions.service import LambdaService, UnknownFunctionError
from local.plan import ACCOUNT, REGION


def lambda_app(service: LambdaService) -> web.Application:
    """An application that serves `POST /2015-03-31/functions/{name}/invocations`."""
    limits = service.limits
    app = web.Application(client_max_size=limits.payload_bytes + 1)

    async def invoke(request: web.Request) -> web.Response:
        request_id = str(uuid.uuid4())
        name = request.match_info["name"]
        kind = request.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        try:
            payload = await request.read() or b"{}"
            function = service.function(name)
        except web.HTTPRequestEntityTooLarge:
            payload, most = b"", limits.payload_bytes
            return _refuse(413, "RequestTooLargeException", _too_large(most), request_id)
        except UnknownFunctionError as error:
            arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{error}"
            return _refuse(404, "ResourceNotFoundException", f"Function not found: {arn}", request_id)
        try:
            json.loads(payload)
        except ValueError as error:
            said = f"Could not parse request body into json: {error}"
            return _refuse(400, "InvalidRequestContentException", said, request_id)
        if kind == "DryRun":
            return _answer(204, b"", request_id)
        if kind == "Event":
            if len(payload) > limits.event_bytes:
                return _refuse(413, "RequestTooLargeException", _too_large(limits.event_bytes), request_id)
            service.send(function.name, payload, request_id=request_id)
            return _answer(202, b"", request_id)
        if kind != "RequestResponse":
            said = f"{kind} is not an invocation type; use Event, RequestResponse or DryRun."
            return _refuse(400, "InvalidParameterValueException", said, request_id)
        try:
            outcome = await service.invoke(
                function.name,
                payload,
                request_id=request_id,
                client_context=request.headers.get("X-Amz-Client-Context"),
            )
        except ThrottledError:
            return _refuse(
                429,
                "TooManyRequestsException",
                "Rate Exceeded.",
                request_id,
                reason="ReservedFunctionConcurrentInvocationLimitExceeded",
            )
        response = _answer(200, outcome.payload, request_id)
        if outcome.failed:
            response.headers["X-Amz-Function-Error"] = "Unhandled"
        return response

    app.router.add_post("/2015-03-31/functions/{name}/invocations", invoke)
    return app


def _answer(status: int, body: bytes, request_id: str) -> web.Response:
    headers = {"x-amzn-RequestId": request_id, "X-Amz-Executed-Version": "$LATEST"}
    return web.Response(status=status, body=body, headers=headers, content_type="application/json")


def _refuse(status: int, kind: str, message: str, request_id: str, *, reason: str | None = None) -> web.Response:
    body = {"Type": "User", "message": message, "Message": message} | ({"Reason": reason} if reason else {})
    headers = {"x-amzn-ErrorType": kind, "x-amzn-RequestId": request_id}
    return web.json_response(body, status=status, headers=headers)


def _too_large(most: int) -> str:
    return f"Request must be smaller than {most} bytes for the InvokeFunction operation"
