"""Connections: posting messages to clients through API Gateway's management API.

A post that fails concerns that connection alone: `post` tries again within a budget and then gives up, and
never raises, so that no fault of the gateway can keep a caller from the rest of its work.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from overture import codec, protocol
from overture.aws import create_client

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

logger = Logger(child=True)

#: The first pause after a post that failed; it doubles, with some chance in it, until the budget is used up.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.6


class PostFailed(Exception):
    """The message was not delivered: the gateway is busy, in trouble or out of reach. It may be tried again."""


class Gone(PostFailed):
    """The connection is closed: read the session again, there may be a new one."""


class TooLarge(PostFailed):
    """The message is over the gateway's 128 KB."""


class Connections:
    """Posts to clients. The endpoint comes from `AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI`."""

    #: So long `post` tries, unless told otherwise.
    budget_s = 4.0

    def __init__(self, client: ApiGatewayManagementApiClient | None = None) -> None:
        self._client = client or create_client(
            "apigatewaymanagementapi",
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=2,
            read_timeout=3,
        )

    def try_post(self, connection: str, message: protocol.ServerMessage) -> None:
        """Posts one message, once. Raises `PostFailed`: `Gone`, `TooLarge`, or one that may succeed later."""
        data = codec.write(message).encode()
        try:
            self._client.post_to_connection(ConnectionId=connection, Data=data)
        except ClientError as error:
            code = error.response["Error"].get("Code", "")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status == 410 or code == "GoneException":
                raise Gone from None
            if status == 413 or code == "PayloadTooLargeException":
                raise TooLarge(f"a {type(message).__name__} of {len(data)} bytes") from None
            raise PostFailed(f"{status} {code}") from None
        except BotoCoreError as error:
            raise PostFailed(str(error)) from None

    def post(self, connection: str | None, *messages: protocol.ServerMessage, budget_s: float | None = None) -> bool:
        """Posts messages in order, patiently; False when this connection did not hear all of them. Never raises."""
        if connection is None:
            return False
        ends = time.monotonic() + (self.budget_s if budget_s is None else budget_s)
        for message in messages:
            pause = FIRST_PAUSE_S
            while True:
                try:
                    self.try_post(connection, message)
                    break
                except Gone:
                    return False
                except TooLarge as error:
                    logger.error("a message is too large to post", extra={"size": str(error)})
                    break
                except PostFailed as error:
                    if time.monotonic() + pause > ends:
                        said = {"kind": type(message).__name__, "why": str(error)}
                        logger.warning("gave up posting to a connection", extra=said)
                        return False
                    time.sleep(random.uniform(pause / 2, pause))
                    pause = min(pause * 2, LONGEST_PAUSE_S)
        return True

    def close(self, connection: str) -> None:
        """Closes a connection, if it is still there."""
        try:
            self._client.delete_connection(ConnectionId=connection)
        except (ClientError, BotoCoreError):
            logger.debug("the connection to close was gone")
