"""moto's DynamoDB in a process of its own: `python -m local.aws.moto_server`, started by `local.aws.dynamodb`.

moto's own `moto_server` greets, warns and dispatches between two hundred services; this one loads
DynamoDB alone, listens on any free port and prints the number as its first line.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server


class OneAtATime:
    """A WSGI application whose requests are answered one after another.

    DynamoDB's conditional writes are atomic; moto's check and write are two steps, between which
    another thread may write, and then a change is lost (seen: 5 of 25 rounds of six writers).
    """

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app
        self._turn = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        """Answers one request."""
        with self._turn:
            return list(self._app(environ, start_response))


def serve() -> None:
    """Prints the port, then serves until killed."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(
        "127.0.0.1", 0, OneAtATime(create_backend_app("dynamodb")), threaded=True, request_handler=MotoRequestHandler
    )
    print(server.port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve()
