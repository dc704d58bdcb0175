"""A storm: the real Front and the real reply worker, with everything around them failing at random.

Each invocation of the storyteller is a thread that may be killed at any call of the table or the gateway, before
or after the call took effect, and once killed no call of it goes through. Records come late, twice or never;
deliveries are doubled; the gateway answers 500; the table goes away; clocks are an hour off. The words of a reply
are numbered, so that a lost or doubled one shows. Times are short: a lease lives a second, sweeps come twice in one.
"""

from __future__ import annotations

import io
import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from aws_lambda_powertools import Logger, Metrics

from front import actions
from front.invoker import StorytellerInvoker
from front.turns import Front
from overture import protocol
from overture.connections import Connections, PostFailed
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


class Killed(BaseException):
    """The process is no more."""


class Mortal:
    """What an invocation reaches the world through; after `calls` calls it is dead."""

    def __init__(self, calls: int | None, after: bool) -> None:
        self._left, self._after = calls, after
        self._turn = threading.Lock()

    def call(self, work: Callable[[], Any]) -> Any:
        """Does the work, unless it is dead; dies before or after it when its time has come."""
        with self._turn:
            if self._left is not None:
                self._left -= 1
            left = self._left
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
    """Delivers to the visitor, and fails as it likes."""

    budget_s = 0.4

    def __init__(self, storm: Storm, mortal: Mortal | None = None) -> None:
        self._storm, self._mortal = storm, mortal or Mortal(None, after=False)

    def try_post(self, connection: str, message: protocol.ServerMessage) -> None:
        """Delivers a message, perhaps."""
        self._mortal.call(lambda: self._storm.deliver(message))

    def close(self, connection: str) -> None:
        """Nothing: the visitor has one connection."""


class Engine:
    """Tells numbered words."""

    context = 4096

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


class NoBook:
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
        self.kills = 0
        self._turn = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()
        metrics = Metrics(namespace="Chaos", service="front")
        sessions = Sessions(Table(TABLE, cast(Any, self.client)))
        connections = Gateway(self)
        self.sessions = sessions
        self.invoker = StorytellerInvoker(SETTINGS, sessions, connections, cast(Any, self))
        book: Any = NoBook()
        self.front = Front(SETTINGS, sessions, connections, self.invoker, WORLD, book, metrics, 512)

    # --- the weather --------------------------------------------------------------------

    def deliver(self, message: protocol.ServerMessage) -> None:
        """To the visitor, or not."""
        fate = self._fate()
        if fate < 0.08:
            raise PostFailed("500 InternalServerError")
        with self._turn:
            self.heard.append((time.monotonic(), message))
        if fate < 0.1:
            raise PostFailed("the answer was lost")

    def _fate(self) -> float:
        with self._turn:
            return 1.0 if self.calm else self.random.random()

    def _table_goes_away(self) -> None:
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
        return {"Payload": io.BytesIO()}

    def _run(self, event: dict[str, Any]) -> None:
        with self._turn:
            doomed = not self.calm and self.random.random() < 0.4
            mortal = Mortal(self.random.randrange(1, 45) if doomed else None, self.random.random() < 0.5)
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
        """Says the lines, each when the one before has ended; returns the longest silence, in seconds."""
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
        times = [at for at, _ in self.heard]
        return max(later - sooner for sooner, later in itertools.pairwise(times))

    def _act(self, frame: dict[str, Any]) -> None:
        actions.act(self.front, "c1", "192.0.2.1", json.dumps(frame))

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
