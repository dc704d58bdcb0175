"""Finding the socket: from the page's address to an open WebSocket, by way of a ticket.

`GET /config.json` says where the socket and the tickets are; a ticket opens the socket once. Every
failure is a sentence for the visitor.
"""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidURI
from websockets.typing import Origin

from client.session.protocol import MESSAGE_BYTES, PROTOCOL

#: API Gateway's limits on a connection.
CONNECTION_LIMIT_S = 2 * 60 * 60
IDLE_LIMIT_S = 10 * 60


class ConnectError(Exception):
    """No way in. `lasting`: trying again will not help; otherwise it may."""

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.lasting = lasting


class Connector:
    """The way in at one address, the page's: `http://localhost:8080`, say."""

    def __init__(self, address: str, *, timeout_s: float = 10.0) -> None:
        """Raises `ConnectError` where `address` is no http or https address."""
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConnectError(
                f"{address!r} is not the address of a page; give one such as http://localhost:8080.", lasting=True
            )
        self.address = address.rstrip("/") + "/"
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self._timeout_s = timeout_s

    async def open(self) -> ClientConnection:
        """Gets a new ticket and opens the socket with it. Raises `ConnectError`."""
        config = await self._ask(urljoin(self.address, "config.json"))
        if config.get("protocol") != PROTOCOL:
            raise ConnectError(
                f"The server at {self.address} speaks protocol {config.get('protocol')!r} and this client speaks "
                f"{PROTOCOL}; update the older of the two.",
                lasting=True,
            )
        try:
            socket, tickets = str(config["socket"]), str(config["ticket"])
        except KeyError as error:
            raise ConnectError(f"The field {error} is missing in {self.address}config.json.", lasting=True) from None
        issued = await self._ask(urljoin(self.address, tickets), post=True)
        ticket = issued.get("ticket")
        if not isinstance(ticket, str):
            raise ConnectError(f"The server at {self.address} gave no ticket; try again in a minute.")
        try:
            return await connect(
                f"{socket}?ticket={quote(ticket, safe='')}",
                origin=Origin(self.origin),
                max_size=MESSAGE_BYTES,
                open_timeout=self._timeout_s,
                close_timeout=1,
                ping_interval=None,  # API Gateway answers pings itself: they would prove nothing
            )
        except InvalidURI:
            raise ConnectError(
                f"The socket address {socket!r} in {self.address}config.json is no URL.", lasting=True
            ) from None
        except (OSError, InvalidHandshake, EOFError, TimeoutError) as error:
            # The address holds the ticket, and some of these errors quote it: say only what kind it is.
            raise ConnectError(f"The socket of {self.address} did not open ({type(error).__name__}).") from None

    async def _ask(self, url: str, *, post: bool = False) -> dict[str, Any]:
        return await asyncio.to_thread(self._ask_now, url, post)

    def _ask_now(self, url: str, post: bool) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 (http or https: the constructor has checked)
            url,
            data=b"{}" if post else None,
            headers={"Origin": self.origin, "Content-Type": "application/json", "Accept": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:  # noqa: S310
                read = json.loads(response.read(64 * 1024))
        except urllib.error.HTTPError as error:
            raise _refused(error, url, post) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            reason = getattr(reason, "strerror", None) or reason
            raise ConnectError(f"Nobody answers at {self.address} ({reason}); is it running there?") from None
        except ValueError:
            raise ConnectError(
                f"{url} did not answer with JSON, so this is not Overture's address; give the page's.", lasting=True
            ) from None
        if not isinstance(read, dict):
            raise ConnectError(
                f"{url} did not answer with a JSON object, so this is not Overture's address.", lasting=True
            )
        return read


def _refused(error: urllib.error.HTTPError, url: str, post: bool) -> ConnectError:
    code = error.code
    error.close()
    if post and code == 401:
        return ConnectError("This deployment asks its visitors to sign in; open its page in a browser.", lasting=True)
    if post and code == 403:
        return ConnectError(
            f"The server gives no tickets to this origin (403 from {url}); use its own address.", lasting=True
        )
    if code == 429:
        return ConnectError("Too many visitors came at once; try again in a moment.")
    if code in (404, 405):
        return ConnectError(f"There is no Overture at {url} ({code}); give the address of its page.", lasting=True)
    return ConnectError(f"{url} answered {code}.")


def explain_close(code: int | None, *, age_s: float, idle_s: float) -> str:
    """Why the connection ended, as far as its close code, age and idle time tell."""
    if code == 1009:
        return "That was too large to send: a message may have 128 KB at most. The line was not delivered."
    if code == 1003:
        return "That was not text, and only text can be sent. It was not delivered."
    if age_s > CONNECTION_LIMIT_S - 60:
        return "A connection may last two hours, and this one did."
    if idle_s > IDLE_LIMIT_S - 30:
        return "The connection was idle for ten minutes and was closed."
    if code == 1001:
        return "The server closed the connection."
    return "The connection was lost."
