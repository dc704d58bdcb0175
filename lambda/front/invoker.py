"""Invoking the storyteller: sending for it, the waiting line before it, and what to do when it was lost.

The only place that invokes the storyteller's function, always with a token that `leases` reserved. What is
owed to the story (invoking, settling, passing a slot on) is done before anything is posted.
"""

from __future__ import annotations

import heapq
import json
import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from overture import leases, protocol
from overture.aws import create_client
from overture.connections import Connections
from overture.counters import within_limit
from overture.leases import Reservation, Settled
from overture.sessions import DAY_S, OPEN_SHARDS, Lease, NoSession, Sessions, Turn, key_of
from overture.settings import Settings
from overture.slots import Holder, Slot
from overture.table import Conflict, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

logger = Logger(child=True)

#: How many of those who wait are told their place after each change.
_TOLD = 8
#: How many slots a reservation looks at when it finds no free one; the sweep looks at all.
_LOOKED_AT = 3
#: A sweep looks at nothing more after this long: what it has not come to is the next one's. It sees the end of a lease
#: that was renewed just before it (20 s), and with the table's patience (8 s) it is over within Front's timeout.
_SWEEP_S = 21.0
#: Posts to several visitors, none of whom waits for an answer, are not repeated for long.
_NEWS_BUDGET_S = 0.5

CAPPED = protocol.Error(
    "wakes_exhausted",
    "The storyteller has been woken from your address as often as a day allows. "
    "The prologue and the written answers go on; come back tomorrow for the story.",
    retryable=False,
)
FULL = protocol.Error(
    "line_full",
    "Every storyteller is at work, and too many visitors wait for one already. "
    "The prologue and the written answers go on; try again in a few minutes.",
    retryable=True,
)
UNREACHABLE = protocol.Error(
    "storyteller_unreachable",
    "The storyteller could not be reached just now. Your line is kept and tried again within a minute.",
    retryable=True,
)
LOST = "The storyteller fell silent over this and is being woken again; your line is kept and will be told again."
GIVEN_UP = "The storyteller fell silent over this line twice, so it was put aside. Say it another way, or go on."
DROPPED = "This line was lost before it could be told. Say it again, or go on."
WAKE_FAILED = protocol.Error(
    "storyteller_failed",
    "The storyteller could not be woken, twice. The written answers still come; say a line to try once more.",
    retryable=True,
)


class StorytellerInvoker:
    """Invokes storytellers, and passes their slots on."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        connections: Connections,
        client: LambdaClient | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings, self._sessions, self._connections = settings, sessions, connections
        self._sleep = sleep
        self._client = client or create_client(
            "lambda", retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=3, read_timeout=10
        )

    def allowed(self, address: str | None) -> bool:
        """Counts one more wake for an address today; False when it has had its share."""
        limit = self._settings.wakes_per_day
        if not limit or address is None:
            return True
        day = time.strftime("%Y-%m-%d", time.gmtime())
        return within_limit(self._sessions.table, f"wakes#{key_of(address)}", day, limit, DAY_S)

    def send(self, key: str, reservation: Reservation) -> list[protocol.ServerMessage]:
        """Invokes the storyteller if it was reserved; what the visitor should hear of it."""
        match reservation.state:
            case "reserved":
                if self._invoke(key, reservation):
                    return []
                self._sessions.update(key, lambda tx: leases.cancel(tx, reservation.token))
                self._pass_on(reservation.slot, reservation.token)
                return [protocol.Wake("failed"), UNREACHABLE]
            case "waiting":
                if reservation.position <= _TOLD:
                    self.promote(untold=key)  # mends what a failure left: a free slot before a waiting line
                    if self._sessions.read(key).waiting is None:
                        return [protocol.Wake("waking", progress=0.0)]
                return [protocol.Wake("queued", position=reservation.position)]
            case "full":
                return [protocol.Wake("failed"), FULL]
            case "held":
                return []

    def settle(self, record: Mapping[str, Any]) -> None:
        """Takes a destination's record of an asynchronous invocation that is over, well or badly."""
        payload = record.get("requestPayload") or {}
        key, token, slot = str(payload.get("session", "")), str(payload.get("token", "")), payload.get("slot")
        condition = str((record.get("requestContext") or {}).get("condition"))
        failed, tried = condition != "Success", condition != "EventAgeExceeded"
        if failed:
            logger.warning("a storyteller was lost", extra={"session": key, "condition": condition})
        left = Settled()
        try:
            left = self._sessions.update(
                key, lambda tx: leases.settle(tx, token, self._settings, failed=failed, tried=tried)
            )
        except NoSession:
            logger.info("the session of a lost storyteller is forgotten", extra={"session": key})
        # The update is done: were this event tried again, it would find nothing left to tell.
        told = _owed(left)
        try:
            told += self._follow_up(key, left)
        finally:
            try:
                self._pass_on(slot, token)
            finally:
                self._connections.post(left.connection, *told)

    def promote(self, *, look_at: int = _LOOKED_AT, untold: str | None = None) -> None:
        """Gives free slots, and those whose holder is gone, to those who waited longest.

        All of them hear of it, except the session `untold`.
        """
        if not self._settings.concurrency:
            return
        while self._sessions.waiting_line.somebody_waits():
            slot = self._sessions.slots.find_free(self._settings.concurrency) or self._find_stale(look_at)
            if slot is None or not self._fill(slot, untold):
                break

    def sweep(self) -> int:
        """Mends what nobody settled; how many sessions had work in hand. Called once a minute.

        Waits for the leases that should change within its time, and looks at those again: what is lost just before
        a sweep is mended by it, so nothing waits for longer than from one sweep to the next.
        """
        ends = time.monotonic() + _SWEEP_S
        looked_at = 0
        live: dict[str, Lease] = {}
        for shard in random.sample(range(OPEN_SHARDS), OPEN_SHARDS):
            for key in self._sessions.open_keys(shard):
                if time.monotonic() > ends:
                    return looked_at
                looked_at += 1
                if (lease := self._mend(key)) is not None:
                    live[key] = lease
        self.promote(look_at=self._settings.concurrency)
        if live:
            self._look_again(live, ends)
            self.promote(look_at=self._settings.concurrency)
        return looked_at

    # --- inside -------------------------------------------------------------------------

    def _look_again(self, live: Mapping[str, Lease], ends: float) -> None:
        """Waits until each lease should have changed, and mends those that have not."""
        queue = [(leases.due(lease, time.time(), self._settings), key) for key, lease in live.items()]
        heapq.heapify(queue)
        while queue:
            due, key = heapq.heappop(queue)
            pause = max(0.0, due - time.time())
            if time.monotonic() + pause > ends:
                return
            if pause:
                self._sleep(pause)
            if self._mend(key) == live[key]:
                heapq.heappush(queue, (leases.due(live[key], time.time(), self._settings), key))

    def _mend(self, key: str) -> Lease | None:
        """The session's lease, if it is live. Never raises: whatever is wrong with one session, the next is mended."""
        try:
            return self._mend_one(key)
        except Exception:
            logger.exception("a session could not be mended", extra={"session": key})
            return None

    def _mend_one(self, key: str) -> Lease | None:
        try:
            left = self._sessions.update(key, lambda tx: leases.mend(tx, self._settings))
        except NoSession:
            self._sessions.forget_open(key)
            return None
        told = _owed(left)
        try:
            told += self._follow_up(key, left)
        finally:
            if told:
                logger.warning("a session was mended", extra={"session": key})
            self._connections.post(left.connection, *told, budget_s=_NEWS_BUDGET_S)
        return left.live

    def _follow_up(self, key: str, left: Settled) -> list[protocol.ServerMessage]:
        """Invokes what `left` reserved; what the visitor should hear of that."""
        news = self.send(key, left.reservation)
        if left.reservation.state == "reserved" and not news:
            return [protocol.Wake("waking", progress=0.0)]
        return news

    def _pass_on(self, number: int | None, token: str) -> None:
        """A reservation is over: its slot goes to the head of the line, or becomes free."""
        if number is None or not self._settings.concurrency:
            return
        slot = self._sessions.slots.read(number)
        if slot.holder is not None and slot.holder.token == token:
            self._fill(slot)

    def _fill(self, slot: Slot, untold: str | None = None) -> bool:
        """Gives a slot, as it was read, to the head of the line, or frees it; whether to go on with another."""
        misses = 0
        while heads := self._sessions.waiting_line.heads():
            head = self._sessions.waiting_line.choose(heads, misses)
            try:
                reservation = self._sessions.update(
                    head.session, lambda tx: leases.reserve_waiting(tx, self._settings, slot)
                )
            except NoSession:
                reservation = None
            if reservation is None:  # it has left, or was served by somebody else
                self._sessions.waiting_line.remove(head)
                misses += 1
                continue
            if reservation.state == "held":
                return True
            # Where this fails the reservation stays, and the sweep invokes it.
            invoked = self._invoke(head.session, reservation)
            self._announce(head.session, untold)
            return invoked
        try:
            if slot.holder is not None:
                self._sessions.slots.free(slot)
        except Conflict:
            return False
        return self._sessions.waiting_line.somebody_waits()  # somebody may have joined just before it was free

    def _announce(self, key: str, untold: str | None) -> None:
        """Tells who got a slot, and the first of those who wait on, as far as the table says where."""
        try:
            self._tell_place(key, untold, protocol.Wake("waking", progress=0.0))
            for place, waiting in enumerate(self._sessions.waiting_line.heads()[:_TOLD], 1):
                self._tell_place(waiting.session, untold, protocol.Wake("queued", position=place))
        except Unavailable:
            logger.warning("the waiting line could not be told its places")

    def _tell_place(self, key: str, untold: str | None, message: protocol.Wake) -> None:
        if key == untold:
            return
        try:
            connection = self._sessions.read(key).connection
        except NoSession:
            return
        self._connections.post(connection, message, budget_s=_NEWS_BUDGET_S)

    def _find_stale(self, look_at: int) -> Slot | None:
        """Of some slots, one whose reservation is no longer its session's lease: its record was lost."""
        slots = [slot for partition in self._sessions.slots.read_all(self._settings.concurrency) for slot in partition]
        for slot in random.sample(slots, min(look_at, len(slots))):
            if slot.holder is None or self._is_stale(slot.holder):
                return slot
        return None

    def _is_stale(self, holder: Holder) -> bool:
        try:
            lease = self._sessions.read(holder.session).lease
        except NoSession:
            return True
        return lease is None or lease.token != holder.token or lease.until <= time.time()

    def _invoke(self, key: str, reservation: Reservation) -> bool:
        payload = {"session": key, "token": reservation.token}
        if reservation.slot is not None:
            payload["slot"] = reservation.slot  # type: ignore[assignment]
        try:
            answer = self._client.invoke(
                FunctionName=self._settings.storyteller, InvocationType="Event", Payload=json.dumps(payload).encode()
            )
            answer["Payload"].read()  # empty; left unread, the connection could not be used again
        except (ClientError, BotoCoreError):
            logger.exception("the storyteller could not be invoked", extra={"session": key})
            return False
        return True


def _owed(left: Settled) -> list[protocol.ServerMessage]:
    """What the visitor has to hear of an invocation that is over, whatever comes next."""
    told: list[protocol.ServerMessage] = [] if left.ended is None else [left.ended]
    told += [_dropped(turn_id) for turn_id in left.dropped]
    if left.wake_given_up:
        told += [protocol.Wake("failed"), WAKE_FAILED]
    elif left.given_up is not None:
        turn = left.given_up
        told += [protocol.Error("given_up", GIVEN_UP, retryable=False, to=turn.id), ended_by_error(turn)]
    elif left.interrupted is not None:
        told.append(protocol.Error("storyteller_lost", LOST, retryable=True, to=left.interrupted))
    return told


def ended_by_error(turn: Turn, reason: protocol.EndReason = "error") -> protocol.End:
    """The end of a turn that no storyteller told to its end: nothing was measured."""
    return end_of(turn.id, turn.take, reason)


def end_of(turn_id: str, take: int, reason: protocol.EndReason) -> protocol.End:
    """An `end` without figures."""
    none = protocol.Used(0, 0, (0, 0), 0, (0, 0))
    nothing = protocol.Stats(0, 0, 0, 0, 0, 0, 0, none)
    return protocol.End(turn_id, take, reason, nothing)


def _dropped(turn_id: str) -> protocol.Error:
    return protocol.Error("turn_lost", DROPPED, retryable=False, to=turn_id)
