"""DynamoDB's API as HTTP, for boto3 in the handlers and in the tests; the table is in memory, gone at the end."""

from __future__ import annotations

import asyncio
import json
import socket
import threading

from aiohttp import web

from local.aws.dynamodb.memory import DynamoError, MemoryDynamoDB


class Dynamodb:
    """Serves one table, made as `infra/` makes it. Use as a context manager; `url` is its address.

    It has a thread and a loop of its own, so that a test may ask it from within the stack's loop.
    """

    def __init__(self, table: str) -> None:
        self._database = MemoryDynamoDB()
        create_table(self._database, table)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="dynamodb", daemon=True)

    def __enter__(self) -> Dynamodb:
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(listener), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _serve(self, listener: socket.socket) -> None:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_post("/", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def _answer(self, request: web.Request) -> web.Response:
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        try:
            body, status = self._database.call(operation, json.loads(await request.read())), 200
        except DynamoError as error:
            body, status = error.body(), 400
        return web.Response(body=json.dumps(body).encode(), status=status, content_type="application/x-amz-json-1.0")


def create_table(database: MemoryDynamoDB, name: str) -> None:
    """Makes a table as `infra/` does: `pk` and `sk` strings, paid by request."""
    database.call(
        "CreateTable",
        {
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
        },
    )
