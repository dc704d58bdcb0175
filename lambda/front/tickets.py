"""Tickets: short-lived, single-use, and kept only as hashes.

A browser cannot send a header when it opens a WebSocket, so what lets it in stands in the query
string, where it may be logged by somebody: hence it lives a minute and works once.
"""

from __future__ import annotations

import secrets
import time

from overture.counters import within_limit
from overture.sessions import key_of
from overture.settings import Settings
from overture.table import Put, Table

#: The longest text worth looking up as a ticket.
_LONGEST = 128


class TooMany(Exception):
    """This address has had its tickets for the minute."""


def issue(table: Table, settings: Settings, address: str) -> str:
    """Makes a ticket. Raises `TooMany`."""
    if settings.tickets_per_minute:
        minute = str(int(time.time() // 60))
        if not within_limit(table, f"tickets#{key_of(address)}", minute, settings.tickets_per_minute, 120):
            raise TooMany
    ticket = secrets.token_urlsafe(24)
    table.write(Put(f"T#{key_of(ticket)}", "ticket", b"", 0, settings.ticket_s))
    return ticket


def redeem(table: Table, ticket: str | None) -> bool:
    """Whether the ticket was good; it is not any more."""
    return (
        bool(ticket) and len(ticket or "") <= _LONGEST and table.take(f"T#{key_of(ticket or '')}", "ticket") is not None
    )
