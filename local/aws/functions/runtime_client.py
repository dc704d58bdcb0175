"""A Lambda runtime in plain Python, for where `awslambdaric` has no wheel (macOS).

`python -m local.aws.functions.runtime_client module.function` does what `python -m awslambdaric module.function`
does: loads the handler, then asks the Runtime API for events and answers them, one at a time. It
imports the standard library alone.
"""

from __future__ import annotations

import http.client
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

VERSION = "/2018-06-01/runtime"
Handler = Callable[[Any, "Context"], Any]


class Context:
    """The second argument of a handler, with the attributes that AWS's has."""

    def __init__(self, headers: http.client.HTTPMessage) -> None:
        self.aws_request_id: str = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn: str = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = json.loads(headers.get("Lambda-Runtime-Client-Context", "null"))
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until this environment is killed."""
        return max(0, self._deadline_ms - int(time.time() * 1000))


class RuntimeClient:
    """Speaks to the Runtime API at `address` (`host:port`) over one connection."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address)

    def next(self) -> tuple[Any, Context]:
        """Waits for the next event, for as long as it takes."""
        response, body = self._call("GET", f"{VERSION}/invocation/next")
        os.environ["_X_AMZN_TRACE_ID"] = response.headers["Lambda-Runtime-Trace-Id"]
        return json.loads(body), Context(response.headers)

    def respond(self, request_id: str, result: str) -> None:
        """Answers an event with JSON text."""
        self._call("POST", f"{VERSION}/invocation/{request_id}/response", result.encode())

    def fail(self, where: str, error: BaseException, *, kind: str | None = None) -> None:
        """Reports an error; `where` is `init` or `invocation/ID`."""
        found = {
            "errorMessage": str(error),
            "errorType": kind or type(error).__name__,
            "requestId": where.partition("/")[2],
            "stackTrace": traceback.format_tb(error.__traceback__),
        }
        print(f"[ERROR] {found['errorType']}: {error}", *found["stackTrace"], sep="\n", flush=True)
        self._call("POST", f"{VERSION}/{where}/error", json.dumps(found).encode())

    def _call(self, method: str, path: str, body: bytes | None = None) -> tuple[http.client.HTTPResponse, bytes]:
        self._connection.request(method, path, body)
        response = self._connection.getresponse()
        read = response.read()
        if response.status >= 300:
            raise ConnectionError(f"{path} answered {response.status}: {read.decode(errors='replace')}")
        return response, read


def load(name: str) -> Handler:
    """The handler `module.function`. Raises `ImportError`, or whatever the module raises."""
    module, _, function = name.rpartition(".")
    found: Handler = getattr(importlib.import_module(module.replace("/", ".")), function)
    return found


def run(client: RuntimeClient, name: str) -> NoReturn:
    """Loads the handler and serves it for ever; exits 1 when it cannot be loaded."""
    try:
        handler = load(name)
    except ImportError as error:
        said = ImportError(f"Unable to import module '{name.rpartition('.')[0]}': {error}")
        client.fail("init", said.with_traceback(error.__traceback__), kind="Runtime.ImportModuleError")
        sys.exit(1)
    except Exception as error:
        client.fail("init", error)
        sys.exit(1)
    while True:
        event, context = client.next()
        try:
            result = json.dumps(handler(event, context))
        except Exception as error:
            client.fail(f"invocation/{context.aws_request_id}", error)
        else:
            client.respond(context.aws_request_id, result)


if __name__ == "__main__":
    run(RuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"]), sys.argv[1])
