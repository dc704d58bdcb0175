"""Lambda's Runtime API, as HTTP: the loop that every runtime runs asks here for its events.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. Each environment has a port of its
own, since a runtime is told a host and a port and nothing more; the port says who is asking.
"""

from __future__ import annotations

import socket

from aiohttp import web

from local.aws.functions.environment import Environment, Outcome, RuntimeGoneError

VERSION = "/2018-06-01/runtime"


class RuntimeApi:
    """Serves any number of environments. Use as an async context manager."""

    def __init__(self, *, payload_bytes: int) -> None:
        self._payload_bytes = payload_bytes
        self._environments: dict[int, Environment] = {}
        self._sites: dict[Environment, web.SockSite] = {}
        app = web.Application(client_max_size=payload_bytes)
        app.router.add_get(f"{VERSION}/invocation/next", self._next)
        app.router.add_post(f"{VERSION}/invocation/{{id}}/response", self._response)
        app.router.add_post(f"{VERSION}/invocation/{{id}}/error", self._error)
        app.router.add_post(f"{VERSION}/init/error", self._init_error)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)

    async def __aenter__(self) -> RuntimeApi:
        await self._runner.setup()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def open(self, environment: Environment) -> str:
        """Opens a port for an environment; gives `host:port`."""
        listener = socket.create_server(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        self._environments[port] = environment
        self._sites[environment] = site = web.SockSite(self._runner, listener)
        await site.start()
        return f"127.0.0.1:{port}"

    async def close(self, environment: Environment) -> None:
        """Closes the port of an environment that has ended."""
        site = self._sites.pop(environment, None)
        if site is not None:
            self._environments = {port: other for port, other in self._environments.items() if other is not environment}
            await site.stop()

    def _who(self, request: web.Request) -> Environment:
        assert request.transport is not None
        environment = self._environments.get(request.transport.get_extra_info("sockname")[1])
        if environment is None:
            raise web.HTTPForbidden(text='{"errorType": "Gone", "errorMessage": "This environment has ended"}')
        return environment

    async def _next(self, request: web.Request) -> web.Response:
        environment = self._who(request)
        try:
            event, deadline_ms = await environment.next()
        except RuntimeGoneError:
            raise web.HTTPGone from None
        headers = {
            "Lambda-Runtime-Aws-Request-Id": event.request_id,
            "Lambda-Runtime-Deadline-Ms": str(deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": environment.function.arn,
            "Lambda-Runtime-Trace-Id": event.trace,
        }
        if event.client_context is not None:
            headers["Lambda-Runtime-Client-Context"] = event.client_context
        return web.Response(body=event.payload, headers=headers, content_type="application/json")

    async def _response(self, request: web.Request) -> web.Response:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            said = f"Response payload size exceeded maximum allowed payload size ({self._payload_bytes} bytes)."
            self._take(request, Outcome.error("Function.ResponseSizeTooLarge", said))
            # 413 would end awslambdaric, and with it the environment; AWS keeps both.
            return _say(202)
        return self._take(request, Outcome(body))

    async def _error(self, request: web.Request) -> web.Response:
        return self._take(request, Outcome(await request.read(), failed=True))

    async def _init_error(self, request: web.Request) -> web.Response:
        self._who(request).fail_init(Outcome(await request.read(), failed=True))
        return _say(202)

    def _take(self, request: web.Request, outcome: Outcome) -> web.Response:
        if self._who(request).respond(request.match_info["id"], outcome):
            return _say(202)
        return _say(400, errorType="InvalidRequestID", errorMessage="This environment does not have that event")


def _say(code: int, **body: str) -> web.Response:
    return web.json_response(body or {"status": "OK"}, status=code)
