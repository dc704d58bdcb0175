"""A storm: the real Front and the real reply worker, with everything around them failing at random.

Each invocation of the storyteller is a thread that may be killed at any call of the table or the gateway, before
or after the call took effect, and once killed no call of it goes through. In some plays it stands still for longer
than its lease lives, or its clock and Front's jump by an hour on the way; in others the table is gone for five
seconds. Records come late, twice or never; events are delivered twice, at once or two seconds late; the management
API answers 429 and 500, as its boto3 client raises them. The words of a reply are numbered, so that a lost or doubled
one shows. Times are short: a lease lives a second, sweeps come twice in one.
"""

from __future__ import annotations

import io
import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import msgspec
from aws_lambda_powertools import Logger, Metrics
from botocore.exceptions import ClientError, ReadTimeoutError

from front import actions
from front.invoker import StorytellerInvoker
from front.turns import Front
from overture import protocol
from overture.connections import Connections
from overture.sessions import Sessions
from overture.settings import Settings
from overture.table import Table
from prologue.answers.index import Found
from prologue.world import load_world
from storyteller.model_loader import ModelLoader
from storyteller.worker import ReplyWorker
from tests.unit.fakes import TABLE, MemoryClient

#: The handlers make this logger; the modules' own are its children.
logger = Logger()

WORLD = load_world(Path("prologue/worlds/emerald_city"))
SETTINGS = Settings(
    lease_s=1.0, reservation_s=2.0, grace_s=1.0, gather_s=0.01, concurrency=2, wakes_per_day=0, knowledge_tokens=0
)
WORDS = 30
SWEEP_S = 0.5
#: One play in each of these numbers has a holder that stands still; the table gone for long; clocks that jump.
PAUSES, ABSENCES, JUMPS = 5, 8, 5
PAUSE_S, ABSENCE_S, LATE_S = 1.5 * SETTINGS.lease_s, 5.0, 2.0
_FAULTS = ((429, "LimitExceededException"), (500, "InternalServerError"), (503, "ServiceUnavailableException"))
_MESSAGES = {kind.__struct_config__.tag: kind for kind in protocol.ServerMessage.__subclasses__()}


class Killed(BaseException):
    """The process is no more."""


class Mortal:
    """What an invocation reaches the world through; after `calls` calls it is dead.

    `at` has what happens to it besides, at which of its calls.
    """

    def __init__(self, calls: int | None, after: bool, at: dict[int, Callable[[], None]] | None = None) -> None:
        self._left, self._after, self._at = calls, after, at or {}
        self._count = 0
        self._turn = threading.Lock()

    def call(self, work: Callable[[], Any]) -> Any:
        """Does the work, unless it is dead; dies before or after it when its time has come."""
        with self._turn:
            if self._left is not None:
                self._left -= 1
            left = self._left
            self._count += 1
            self._at.get(self._count, lambda: None)()
        if left is not None and (left < 0 or (left == 0 and not self._after)):
            raise Killed
        result = work()
        if left == 0:
            raise Killed
        return result


class MortalClient:
    """The table's client of a mortal."""

    def __init__(self, client: MemoryClient, mortal: Mortal) -> None:
        self._client, self._mortal = client, mortal

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda **request: self._mortal.call(lambda: getattr(self._client, name)(**request))


class Clock:
    """Stands in for the module `time` of `overture.sessions`: each thread may be off by some time."""

    strftime, gmtime, monotonic, sleep = time.strftime, time.gmtime, time.monotonic, time.sleep

    def __init__(self) -> None:
        self.local = threading.local()

    def time(self) -> float:
        """The time as this thread believes it to be."""
        return time.time() + float(getattr(self.local, "off", 0.0))


class Gateway(Connections):
    """The real posting, over a client that delivers to the visitor and fails as it likes."""

    budget_s = 0.4

    def __init__(self, storm: Storm, mortal: Mortal | None = None) -> None:
        self._storm, self._mortal = storm, mortal or Mortal(None, after=False)
        super().__init__(cast(Any, self))

    def post_to_connection(self, **request: Any) -> None:
        """The management API's call, as boto3 has it."""
        tag = msgspec.json.decode(request["Data"])["type"]
        message = msgspec.json.decode(request["Data"], type=_MESSAGES[tag])
        self._mortal.call(lambda: self._storm.deliver(message))

    def delete_connection(self, **request: Any) -> None:
        """Nothing: the visitor has one connection."""


class Engine:
    """Tells numbered words."""

    context = 4096
    defaults: Mapping[str, float] = MappingProxyType({})

    def count_chat(self, messages: list[dict[str, str]]) -> int:
        """Nearly nothing."""
        return 1

    def encode(self, text: str) -> list[int]:
        """Nearly nothing."""
        return [0]

    def encode_chat(self, messages: list[dict[str, str]], go_on: bool = False) -> list[int]:
        """Nearly nothing."""
        return [0]

    def generate(self, ids: list[int], sampling: Any, emit: Any, cancelled: Any, deadline: float | None = None) -> Any:
        """The words, unless it is cancelled."""
        reason, told = "stop", 0
        for told in range(1, WORDS + 1):
            if cancelled():
                reason = "cancelled"
                break
            emit(f"w{told - 1} ")
            time.sleep(0.003)
        return SimpleNamespace(reason=reason, tokens=told, prompt_tokens=1, reused_tokens=0, ttft_s=0.0, total_s=0.1)


class NoIndex:
    """Answers nothing."""

    def consult(self, text: str, state: str) -> Found:
        """Nothing."""
        return Found(None, [])

    def facts(self, text: str) -> list[str]:
        """Nothing."""
        return []


class Storm:
    """One visitor's play in bad weather. `play` raises `AssertionError` for what was lost or doubled."""

    def __init__(self, seed: int, clock: Clock) -> None:
        self.random = random.Random(seed)
        self.clock = clock
        self.client = MemoryClient()
        self.calm = False
        self.heard: list[tuple[float, protocol.ServerMessage]] = []
        #: When something came that no `hello` of the visitor's had asked for.
        self.news: list[float] = []
        self._greeting = threading.local()
        self._pauses, self._is_long_gone, self._jumps = seed % PAUSES == 1, seed % ABSENCES == 2, seed % JUMPS == 3
        self.kills = self.pauses = 0
        #: How many turns were told to their end, and how many were given up.
        self.done = self.failed = 0
        self._turn = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()
        metrics = Metrics(namespace="Chaos", service="front")
        sessions = Sessions(Table(TABLE, cast(Any, self.client)))
        connections = Gateway(self)
        self.sessions = sessions
        self.invoker = StorytellerInvoker(SETTINGS, sessions, connections, cast(Any, self))
        index: Any = NoIndex()
        self.front = Front(SETTINGS, sessions, connections, self.invoker, WORLD, index, metrics, 512)

    # --- the weather --------------------------------------------------------------------

    def deliver(self, message: protocol.ServerMessage) -> None:
        """To the visitor, or not."""
        fate = self._fate()
        if fate < 0.08:
            status, code = _FAULTS[int(fate / 0.08 * len(_FAULTS))]
            metadata: Any = {"HTTPStatusCode": status}
            raise ClientError({"Error": {"Code": code}, "ResponseMetadata": metadata}, "PostToConnection")
        with self._turn:
            self.heard.append((time.monotonic(), message))
            if not getattr(self._greeting, "under_way", False):
                self.news.append(time.monotonic())
        if fate < 0.1:
            raise ReadTimeoutError(endpoint_url="gateway")

    def _fate(self) -> float:
        with self._turn:
            return 1.0 if self.calm else self.random.random()

    def _table_goes_away(self) -> None:
        if self._is_long_gone and not self._over.wait(self._fate() * 2):
            self.client.down = True
            self._over.wait(ABSENCE_S)
            self.client.down = False
        while not self._over.wait(1.5):
            self.client.down = self._fate() < 0.3
            if self._over.wait(0.4):
                break
            self.client.down = False
        self.client.down = False

    # --- Lambda -------------------------------------------------------------------------

    def invoke(self, **request: Any) -> dict[str, Any]:
        """Lambda's Invoke, asynchronous."""
        event = json.loads(request["Payload"])
        if self._fate() < 0.1:
            return {"Payload": io.BytesIO()}  # accepted and never run; its record is lost as well
        for _ in range(2 if self._fate() < 0.1 else 1):
            self._spawn(lambda: self._run(event))
        if self._fate() < 0.1:
            self._spawn(lambda: self._run(event, late=True))
        return {"Payload": io.BytesIO()}

    def _run(self, event: dict[str, Any], *, late: bool = False) -> None:
        if late and self._over.wait(LATE_S):
            return
        with self._turn:
            doomed = not self.calm and self.random.random() < 0.4
            at: dict[int, Callable[[], None]] = {}
            if not self.calm and self._jumps:
                at[self.random.randrange(2, 45)] = self._jump
            if not self.calm and self._pauses:
                at[self.random.randrange(2, 45)] = self._stand_still
            mortal = Mortal(self.random.randrange(1, 45) if doomed else None, self.random.random() < 0.5, at)
            fate = 1.0 if self.calm else self.random.random()
            self.clock.local.off = 0.0 if self.calm else self.random.choice([0, 0, 0, 0, 3600, -3600])
        time.sleep(0.01)
        worker = ReplyWorker(
            SETTINGS,
            Sessions(Table(TABLE, cast(Any, MortalClient(self.client, mortal)))),
            Gateway(self, mortal),
            WORLD,
            Metrics(namespace="Chaos", service="storyteller"),
            key=event["session"],
            token=event["token"],
            memory_mb=512,
            remaining_s=lambda: 900.0,
        )
        condition = "Success"
        try:
            worker.work(ModelLoader(lambda note: cast(Any, Engine())))
        except (Killed, Exception):
            self.kills += 1
            condition = "RetriesExhausted"
        self.clock.local.off = 0.0
        if fate < 0.1:
            return  # the record is lost
        for _ in range(2 if fate < 0.2 else 1):
            self._settle({"requestPayload": event, "requestContext": {"condition": condition}})

    def _jump(self) -> None:
        self.clock.local.off = random.choice((3600, -3600))

    def _stand_still(self) -> None:
        self.pauses += 1
        time.sleep(PAUSE_S)

    def _settle(self, record: dict[str, Any]) -> None:
        for _ in range(3):
            try:
                self.invoker.settle(record)
                return
            except Exception:  # Lambda tries an event of Front's again
                time.sleep(0.2)

    def _sweeps(self) -> None:
        while not self._over.wait(SWEEP_S):
            try:
                self.invoker.sweep()
            except Exception:
                continue  # the next one will do

    def _spawn(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    # --- the visitor --------------------------------------------------------------------

    def play(self, lines: int = 3) -> float:
        """Says the lines, each when the one before has ended; returns the longest silence, in seconds.

        What the visitor hears by saying `hello` in a silence does not end it, unless it is that the turn is over.
        """
        self._spawn(self._sweeps)
        self._spawn(self._table_goes_away)
        try:
            secret = self._ask({"action": "hello"}, protocol.Welcome).session
            self._ask({"action": "skip", "id": "skip"}, protocol.Ok)
            self._wait_for_end("opening", secret)
            for number in range(lines):
                turn_id = f"line{number}"
                self._ask({"action": "say", "id": turn_id, "text": f"Line {number}"}, protocol.Ok)
                self._wait_for_end(turn_id, secret)
            self.calm = True
            self._check(lines, secret)
        finally:
            self.calm = True
            self._over.set()
            for thread in list(self._threads):
                thread.join(20)
        return max(later - sooner for sooner, later in itertools.pairwise(sorted(self.news)))

    def _act(self, frame: dict[str, Any]) -> None:
        self._greeting.under_way = frame["action"] == "hello"
        self.clock.local.off = 0.0
        if self._jumps and self._fate() < 0.2:
            self._jump()
        actions.act(self.front, "c1", "192.0.2.1", json.dumps(frame))
        self.clock.local.off = 0.0

    def _ask(self, frame: dict[str, Any], kind: type) -> Any:
        """Sends an action until it is acknowledged, as clients do."""
        for _ in range(40):
            seen = len(self.heard)
            self._act(frame)
            for _, message in self.heard[seen:]:
                if isinstance(message, kind) and getattr(message, "to", None) == frame.get("id"):
                    return message
            time.sleep(0.1)
        raise AssertionError(f"{frame} was never acknowledged")

    def _wait_for_end(self, turn_id: str, secret: str) -> None:
        """Waits for the `end` of a turn; says `hello` in a long silence, which tells as well."""
        ends = time.monotonic() + 60
        asked = time.monotonic()
        while time.monotonic() < ends:
            if any(isinstance(message, protocol.End) and message.to == turn_id for _, message in list(self.heard)):
                return
            if time.monotonic() - asked > 3:
                asked = time.monotonic()
                welcome = self._ask({"action": "hello", "session": secret}, protocol.Welcome)
                over = ("done", "failed", "stopped")
                if any(turn.id == turn_id and turn.state in over for turn in welcome.turns):
                    self.news.append(time.monotonic())
                    return
            time.sleep(0.02)
        raise AssertionError(f"{turn_id} never ended")

    def _check(self, lines: int, secret: str) -> None:
        welcome = self._ask({"action": "hello", "session": secret}, protocol.Welcome)
        assert [turn.id for turn in welcome.turns] == ["opening", *(f"line{number}" for number in range(lines))]
        whole = "".join(f"w{number} " for number in range(WORDS))
        for turn in welcome.turns:
            assert turn.state in ("done", "failed"), turn
            assert turn.reply == whole if turn.state == "done" else whole.startswith(turn.reply), turn
            self.done += turn.state == "done"
            self.failed += turn.state == "failed"
            self._check_tokens(turn, whole)

    def _check_tokens(self, turn: protocol.TurnView, whole: str) -> None:
        """What a client that follows the protocol has on its screen is the reply, or the beginning of it."""
        take, shown = 0, ""
        for _, message in self.heard:
            if not isinstance(message, protocol.Token) or message.to != turn.id or message.take < take:
                continue
            if message.take > take:
                take, shown = message.take, ""
            if message.at <= len(shown):
                assert shown[message.at :].startswith(message.text) or message.text.startswith(shown[message.at :])
                shown += message.text[len(shown) - message.at :]
        assert whole.startswith(shown)
