"""DynamoDB's API as HTTP, for boto3 in the handlers and in the tests; the tables are in memory, gone at the end."""

from __future__ import annotations

import json

from aiohttp import web

from local.aws.dynamodb_memory import DynamoError, MemoryDynamoDB


def dynamodb_app(database: MemoryDynamoDB) -> web.Application:
    """An application that serves `POST /`; the operation is in the header `X-Amz-Target`."""

    async def answer(request: web.Request) -> web.Response:
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        try:
            body, status = database.call(operation, json.loads(await request.read())), 200
        except DynamoError as error:
            body, status = error.body(), 400
        return web.Response(body=json.dumps(body).encode(), status=status, content_type="application/x-amz-json-1.0")

    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post("/", answer)
    return app


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
