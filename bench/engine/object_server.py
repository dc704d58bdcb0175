"""A local HTTP server that answers GETs as S3 does: ranges, ETags, If-Match, errors in XML.

    python -m bench.engine.object_server FOLDER [--first-byte 0.03] [--stream 80]     # says its address

It serves one folder under any bucket and prefix (`/bucket/any/prefix/NAME`). `first_byte_s` and `stream_mb_s` imitate
the distance: how long each answer takes to begin, and how fast each connection is. It checks no signature.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_PIECE = 1 << 18


class ObjectServer(ThreadingHTTPServer):
    """Serves the files of a folder; `requests` counts the GETs."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, *, first_byte_s: float = 0.0, stream_mb_s: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.first_byte_s = first_byte_s
        self.stream_mb_s = stream_mb_s
        self.requests = 0
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up is no error of the server."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """One connection; a test overrides `answer`."""

    protocol_version = "HTTP/1.1"
    server: ObjectServer

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.requests += 1
            number = self.server.requests
        name = unquote(urlsplit(self.path).path).rpartition("/")[2]
        path = self.server.folder / name
        if not path.is_file():
            self.refuse(404, "NoSuchKey", "The specified key does not exist.")
            return
        size = path.stat().st_size
        begin, end = 0, size
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked:
            begin, end = int(asked[1]), min(int(asked[2]) + 1, size)
            if begin >= size:
                self.refuse(416, "InvalidRange", "The requested range is not satisfiable")
                return
        tag = self.tag(path)
        if self.headers.get("If-Match", tag) != tag:
            self.refuse(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
            return
        time.sleep(self.server.first_byte_s)
        self.answer(path, begin, end, size if asked else None, tag, number)

    def tag(self, path: Path) -> str:
        found = path.stat()
        return f'"{hashlib.sha256(f"{path.name} {found.st_size} {found.st_mtime_ns}".encode()).hexdigest()[:32]}"'

    def answer(self, path: Path, begin: int, end: int, whole: int | None, tag: str, number: int) -> None:
        """The bytes `begin` to `end`; `whole` is the object's size if a range was asked for."""
        self.head(begin, end, whole, tag)
        self.send(path, begin, end)

    def head(self, begin: int, end: int, whole: int | None, tag: str) -> None:
        self.send_response(200 if whole is None else 206)
        self.send_header("ETag", tag)
        self.send_header("Accept-Ranges", "bytes")
        if whole is not None:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{whole}")
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()

    def send(self, path: Path, begin: int, end: int) -> None:
        self.wfile.flush()
        with path.open("rb") as file:
            if not self.server.stream_mb_s:
                self.connection.sendfile(file, begin, end - begin)
                return
            began, sent = time.monotonic(), 0
            while begin + sent < end:
                count = min(_PIECE, end - begin - sent)
                self.connection.sendfile(file, begin + sent, count)
                sent += count
                time.sleep(max(0.0, began + sent / (self.server.stream_mb_s * 1e6) - time.monotonic()))

    def refuse(self, status: int, code: str, message: str) -> None:
        body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(server: ObjectServer) -> Iterator[ObjectServer]:
    """Runs a server in threads of its own."""
    thread = threading.Thread(target=server.serve_forever, name="object-server", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the distance that is imitated."""
    parser.add_argument("--first-byte", type=float, default=0.0, metavar="SECONDS", help="before each answer")
    parser.add_argument("--stream", type=float, default=0.0, metavar="MB/S", help="for each connection; 0: no limit")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: serves until it is ended."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.engine.object_server", description="S3's GETs, for one folder."
    )
    parser.add_argument("folder", type=Path)
    add_options(parser)
    options = parser.parse_args(arguments)
    server = ObjectServer(options.folder, first_byte_s=options.first_byte, stream_mb_s=options.stream)
    print(server.url, flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
