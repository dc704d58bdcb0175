"""moto's DynamoDB in a process of its own: `python -m local.moto_server`, started by `local.table`.

moto's own `moto_server` greets, warns and dispatches between two hundred services; this one loads
DynamoDB alone, listens on any free port and prints the number as its first line.
"""

from __future__ import annotations

import logging

from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server


def serve() -> None:
    """Prints the port, then serves until killed."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(
        "127.0.0.1", 0, create_backend_app("dynamodb"), threaded=True, request_handler=MotoRequestHandler
    )
    print(server.port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve()
