"""The page, `config.json` and the HTTP API: everything a browser asks for before the WebSocket opens.

On AWS this is CloudFront before a bucket, and an HTTP API. Knows of the functions only their names.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from aiohttp import web

from local.aws.api_gateway import events
from local.aws.functions.environment import Outcome
from local.aws.functions.pool import ThrottledError
from local.aws.functions.service import LambdaService
from local.plan import Plan

PROTOCOL = 1

#: By suffix, since what `mimetypes` says differs between machines.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".ico": "image/vnd.microsoft.icon",
    ".woff2": "font/woff2",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
    ".wav": "audio/wav",
    ".wasm": "application/wasm",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
}


def add_pages(app: web.Application, plan: Plan, service: LambdaService) -> None:
    """Adds `GET /config.json`, the HTTP routes of the plan with CORS, and its static files."""
    app.router.add_get("/config.json", _config)
    for route, name in plan.http.items():
        method, path = route.split(" ", 1)
        app.router.add_route(method, path, _Route(route, name, plan, service).handle)
        app.router.add_route("OPTIONS", path, _Preflight(plan).handle)
    if plan.pages is not None:
        app.router.add_get("/{path:.*}", _Files(plan.pages).handle)


async def _config(request: web.Request) -> web.Response:
    """Where the socket and the tickets are, seen from wherever the client sees us."""
    secure = request.headers.get("X-Forwarded-Proto", request.scheme) == "https"
    body = {
        "socket": f"{'wss' if secure else 'ws'}://{request.host}/socket",
        "ticket": f"{'https' if secure else 'http'}://{request.host}/ticket",
        "protocol": PROTOCOL,
    }
    return web.json_response(body, headers={"Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"})


class _Route:
    """A route of the HTTP API with a function behind it."""

    def __init__(self, route: str, name: str, plan: Plan, service: LambdaService) -> None:
        self._route = route
        self._name = name
        self._plan = plan
        self._service = service

    async def handle(self, request: web.Request) -> web.Response:
        event = events.http_event(
            route=self._route,
            method=request.method,
            url=str(request.rel_url),
            headers=[*request.headers.items(), *_forwarded(request)],
            query=request.query.items(),
            body=await request.read(),
            domain=request.host,
            source_ip=request.remote or "",
            request_id=events.token(),
        )
        try:
            outcome = await self._service.invoke(self._name, json.dumps(event).encode())
            response = respond(outcome)
        except ThrottledError:
            response = web.json_response({"message": "Service Unavailable"}, status=503)
        response.headers.update(_cors(self._plan.origins, request.headers.get("Origin")))
        return response


class _Preflight:
    """Answers OPTIONS by itself, as an HTTP API with CORS configured does."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    async def handle(self, request: web.Request) -> web.Response:
        found = _cors(self._plan.origins, request.headers.get("Origin"))
        if found and "Access-Control-Request-Method" in request.headers:
            found["Access-Control-Allow-Methods"] = ",".join(route.split(" ", 1)[0] for route in self._plan.http)
            found["Access-Control-Allow-Headers"] = "content-type"
            found["Access-Control-Max-Age"] = "300"
        return web.Response(status=204, headers=found)


def respond(outcome: Outcome) -> web.Response:
    """A function's answer as a response: payload format 2.0, with what AWS infers where parts are missing."""
    wrong = web.json_response({"message": "Internal Server Error"}, status=500)
    if outcome.failed:
        return wrong
    try:
        body = json.loads(outcome.payload)
    except ValueError:
        return wrong
    if not isinstance(body, dict) or "statusCode" not in body:
        return web.json_response(body)
    try:
        return _proxied(body)
    except (ValueError, TypeError):
        return wrong


def _proxied(body: dict[str, Any]) -> web.Response:
    text = body.get("body") or ""
    if not isinstance(text, str):
        raise TypeError("a body is text")
    data = base64.b64decode(text) if body.get("isBase64Encoded") else text.encode()
    response = web.Response(status=int(body["statusCode"]), body=data)
    response.headers["Content-Type"] = "application/json"
    for name, value in (body.get("headers") or {}).items():
        response.headers[name] = value if isinstance(value, str) else json.dumps(value)
    for cookie in body.get("cookies") or []:
        response.headers.add("Set-Cookie", cookie)
    return response


class _Files:
    """The files of a folder, never one outside of it; `no-cache`, so that a reload shows an edit."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = request.match_info["path"]
        path = self._find(asked)
        if path is None:
            return web.Response(status=404, text=f"There is no /{asked} here.\n")
        response = web.FileResponse(path)
        response.headers["Content-Type"] = TYPES.get(path.suffix, "application/octet-stream")
        response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    def _find(self, asked: str) -> Path | None:
        """The file asked for, or a folder's index; None if there is none, or it is hidden or elsewhere."""
        parts = PurePosixPath(asked).parts
        if "\0" in asked or any(part.startswith(".") for part in parts):
            return None
        path = self._folder.joinpath(*parts).resolve()
        if path.is_dir():
            path /= "index.html"
        return path if path.is_file() and path.is_relative_to(self._folder) else None


def _forwarded(request: web.Request) -> Iterable[tuple[str, str]]:
    yield "X-Forwarded-For", request.remote or ""
    yield "X-Forwarded-Port", str(request.url.port)
    yield "X-Forwarded-Proto", request.scheme


def _cors(origins: tuple[str, ...], origin: str | None) -> dict[str, str]:
    if origin is None or not ("*" in origins or origin in origins):
        return {}
    return {"Access-Control-Allow-Origin": "*" if "*" in origins else origin, "Vary": "Origin"}
