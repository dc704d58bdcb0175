"""DynamoDB on this machine: starts moto's server and makes the one table. In memory, gone at the end."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp

from local.aws.child import Child
from local.aws.keeper import Keeper
from local.aws.logs import Logs
from local.plan import REGION, LocalError

#: moto reads the service and the region from the signature; it checks nothing else of it.
AUTHORIZATION = (
    f"AWS4-HMAC-SHA256 Credential=local/20200101/{REGION}/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
)


class Dynamodb:
    """moto's server as a child. Use as an async context manager; `url` is its address."""

    def __init__(self, *, keeper: Keeper, logs: Logs, folder: Path) -> None:
        self.url = ""
        self._keeper = keeper
        self._logs = logs
        self._folder = folder
        self._child: Child | None = None

    async def __aenter__(self) -> Dynamodb:
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def take(pid: int, line: str) -> None:
            if not port.done() and line.isdigit():
                port.set_result(int(line))
            else:
                self._logs.write("dynamodb", pid, line)

        self._child = await Child.start(
            [sys.executable, "-W", "ignore", "-m", "local.aws.moto_server"],
            environment={key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "MOTO_"))},
            folder=self._folder,
            keeper=self._keeper,
            take=take,
        )
        ended = asyncio.ensure_future(self._child.wait())
        await asyncio.wait([port, ended], timeout=60, return_when=asyncio.FIRST_COMPLETED)
        if not port.done():
            await self.__aexit__()
            said = f"The local DynamoDB (moto) did not start; see {self._logs.path('dynamodb')}, or run make setup."
            raise LocalError(said)
        self.url = f"http://127.0.0.1:{port.result()}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._child:
            self._child.kill()
            await self._child.wait()

    async def create(self, table: str) -> None:
        """Makes a table as `infra/` does: `pk` and `sk` strings, TTL on `expires`, paid by request."""
        async with aiohttp.ClientSession() as session:
            await self._call(
                session,
                "CreateTable",
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            )
            await self._call(
                session,
                "UpdateTimeToLive",
                TableName=table,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"},
            )

    async def _call(self, session: aiohttp.ClientSession, operation: str, **body: Any) -> None:
        headers = {
            "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": AUTHORIZATION,
        }
        async with session.post(self.url, json=body, headers=headers) as response:
            if response.status != 200:
                raise LocalError(f"The local DynamoDB refused {operation}: {await response.text()}")
