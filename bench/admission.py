"""What admitting visitors costs the table, and how long they wait: the real code on a simulated DynamoDB.

    .venv/bin/python -m bench.admission --plot docs/pictures/admission.svg    # rates against slots, as in the docs
    .venv/bin/python -m bench.admission --rate 1000 --slots 1000 --waiting 100000

Sessions come at random, each is created and reserves as `hello` does; whoever gets a slot holds it for `--hold`
seconds, as a storyteller does between confirming and its record; Front then settles. See `bench.simulation` for
the latencies and limits. Nothing here is a measurement of AWS.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec

from bench.simulation import Clock, SimulatedDynamoDB, patched
from front import invoker as invoker_module
from front.invoker import StorytellerInvoker
from model_build.plots import write_bars
from overture import leases, protocol, sessions, table, waiting_line
from overture.connections import Connections
from overture.settings import Settings

TABLE = "overture"
#: The p95 where one item counted the slots and held the line (until November 2026), with the same latencies: by rate.
ONE_ITEM_P95_S: dict[float, float] = {25: 0.22, 50: 0.67, 100: 4.6}


class Silence(Connections):
    """Connections that hear everything at once."""

    def __init__(self) -> None:
        pass

    def try_post(self, connection: str, message: protocol.ServerMessage) -> None:
        """Heard."""

    def close(self, connection: str) -> None:
        """Closed."""


@dataclass
class Result:
    """What one run came to; times in seconds."""

    admissions: list[float] = field(default_factory=list)
    attempts: int = 0
    failures: int = 0
    full: int = 0
    waits: list[float] = field(default_factory=list)
    calls: int = 0
    throttled: int = 0

    def line(self) -> str:
        """The figures in a row."""
        count = len(self.admissions)
        p50, p95 = (quantile(self.admissions, q) * 1000 for q in (0.5, 0.95))
        waits = [wait for wait in self.waits if wait > 0]
        spread = max(waits) / statistics.median(waits) if waits else 1.0
        per_step = (self.attempts - count) / count if count else 0.0
        return (
            f"{count:8d} {p50:7.0f} {p95:7.0f} {per_step:9.2f} {self.failures:8d} {self.full:7d} "
            f"{len(waits):7d} {spread:8.2f} {self.throttled:9d} {self.calls / max(1, count):6.1f}"
        )


HEADER = "    rate  slots  admitted  p50 ms  p95 ms conflicts failures    full  waited max/med throttled  calls"


class Simulation:
    """Visitors who come, wait, are served and leave."""

    def __init__(self, *, rate: float, slots: int, hold_s: float, limit: int, seed: int = 1) -> None:
        self.clock, self.result = Clock(), Result()
        self.random = random.Random(seed)
        self.rate, self.hold_s = rate, hold_s
        self.settings = Settings(concurrency=slots, waiting_limit=limit)
        self.client = SimulatedDynamoDB(self.clock, TABLE, seed)
        self.sessions = sessions.Sessions(table.Table(TABLE, cast(Any, self.client)))
        self.invoker = StorytellerInvoker(
            self.settings, self.sessions, Silence(), cast(Any, self), sleep=self.clock.sleep
        )
        self._joined: dict[str, float] = {}

    def run(self, *, seconds: float, settle_s: float) -> Result:
        """Lets visitors come for so long, then time go on without any."""
        with patched(self.clock, (invoker_module, sessions, table, waiting_line)):
            self.clock.start(lambda: self._arrivals(seconds))
            self.clock.start(self._sweeps)
            for _ in range(min(20, self.settings.concurrency)):
                self.clock.start(self.invoker.promote)  # those who wait already
            self.clock.run(seconds + settle_s)
        self.result.calls, self.result.throttled = self.client.calls, self.client.throttled
        return self.result

    def fill_line(self, waiting: int) -> None:
        """Puts so many sessions in the line before it begins."""
        before_ms = int(self.clock.now - 3600) * 1000
        with patched(self.clock, (table,)):  # by the real clock these places might have expired long ago
            for number in range(waiting):
                key = f"before{number:06d}"
                place = waiting_line.place_of(key, before_ms + number)
                session = sessions.Session(key, "world", connection=key, waiting=place)
                body = msgspec.json.encode(session)
                for put in (self.sessions.waiting_line.put(key, place), table.Put(f"S#{key}", "session", body, 0, 1e9)):
                    self.client.database.call("PutItem", self.sessions.table._put(put, "bench"))

    def invoke(self, **request: Any) -> dict[str, Any]:
        """Lambda's Invoke: somebody has been waiting for this."""
        sent = json.loads(request["Payload"])
        joined = self._joined.pop(sent["session"], None)
        if joined is not None:
            self.result.waits.append(self.clock.now - joined)
        self.clock.start(lambda: self._work(sent), after_s=0.02)
        return {"Payload": io.BytesIO()}

    def _arrivals(self, seconds: float) -> None:
        ends, number = self.clock.now + seconds, 0
        while self.clock.now < ends:
            self.clock.sleep(self.random.expovariate(self.rate))
            number += 1
            self.clock.start(self._visitor(f"visitor{number:07d}"))

    def _visitor(self, key: str) -> Callable[[], None]:
        def reserve(tx: sessions.SessionTransaction) -> leases.Reservation:
            self.result.attempts += 1
            tx.session.connection = key
            return leases.reserve(tx, self.settings)

        def visit() -> None:
            try:
                self.sessions.create(sessions.Session(key, "world"))
                began = self.clock.now
                reservation = self.sessions.update(key, reserve)
                self.result.admissions.append(self.clock.now - began)
                if reservation.state == "waiting":
                    self._joined[key] = self.clock.now
                self.result.full += reservation.state == "full"
                self.invoker.send(key, reservation)
            except (table.Conflict, table.Unavailable):
                self.result.failures += 1

        return visit

    def _work(self, sent: dict[str, Any]) -> None:
        key = sent["session"]
        fence = self.sessions.update(key, lambda tx: leases.confirm(tx, sent["token"], self.settings))
        if fence is not None:
            ends = self.clock.now + self.hold_s * self.random.uniform(0.8, 1.2)
            while self.clock.now < ends:
                self.clock.sleep(min(5.0, max(0.01, ends - self.clock.now)))
                self.sessions.update(key, lambda tx: leases.renew(tx, fence, self.settings))
            self.sessions.update(key, lambda tx: leases.release(tx, fence, only_if_idle=False))
        self.invoker.settle({"requestPayload": sent, "requestContext": {"condition": "Success"}})

    def _sweeps(self) -> None:
        while True:
            self.clock.sleep(60)
            self.invoker.sweep()


def quantile(values: list[float], q: float) -> float:
    """The value that a share `q` of the values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(q * len(values)))] if values else 0.0


def write_plot(path: Path, p95_s: Mapping[int, Mapping[float, float]]) -> None:
    """Draws the p95 of the admission write by rate, for numbers of slots, beside what one item for all took."""
    rates = sorted({rate for by_rate in p95_s.values() for rate in by_rate})
    groups: dict[str, dict[str, float]] = {}
    for rate in rates:
        bars = {"one item, before": ONE_ITEM_P95_S[rate]} if rate in ONE_ITEM_P95_S else {}
        bars |= {f"{slots:,} slots": by_rate[rate] for slots, by_rate in p95_s.items() if rate in by_rate}
        groups[f"{rate:,.0f} new sessions a second"] = bars
    write_bars(path, "Admitting a session, simulated: p95 of the write", groups, "s")


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.admission", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, nargs="+", default=[25, 50, 100, 300, 1000], help="new sessions a second")
    parser.add_argument("--slots", type=int, nargs="+", default=[2, 100, 1000])
    parser.add_argument("--seconds", type=float, default=10.0, help="how long visitors come")
    parser.add_argument("--hold", type=float, default=20.0, help="how long a slot is held, in seconds")
    parser.add_argument("--waiting", type=int, default=0, help="how many wait when it begins")
    parser.add_argument("--limit", type=int, default=200_000, help="the bound of the waiting line")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the p95 as an SVG file")
    options = parser.parse_args()
    p95_s: dict[int, dict[float, float]] = {}
    print(HEADER)
    for slots in options.slots:
        for rate in options.rate:
            simulation = Simulation(rate=rate, slots=slots, hold_s=options.hold, limit=options.limit)
            simulation.fill_line(options.waiting)
            result = simulation.run(seconds=options.seconds, settle_s=options.hold)
            print(f"{rate:8.0f} {slots:6d}  {result.line()}", flush=True)
            p95_s.setdefault(slots, {})[rate] = quantile(result.admissions, 0.95)
    if options.plot:
        write_plot(options.plot, p95_s)


if __name__ == "__main__":
    main()
