"""Plays a deployed stack from outside, once, and reports figures without anything private.

    python -m bench.smoke https://d111.cloudfront.net [--function NAME [--region REGION]] [--out report.md]

A visit: page, ticket, connection, prologue, a written answer, the first scene, a line of the story, a return. With
`--function` (the output `StorytellerFunction`, and AWS credentials) also the kill switch: the storyteller's reserved
concurrency is set to 0 for a while, in which nothing may be told, and set back: the line must then be told. The report
names no address, no session and no word of the play.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

Frame = dict[str, Any]
QUESTION = "What can you do?"
LINE = "I look around and say hello."
#: Longer than the longest cold start, and than an event may wait twice for a start.
PATIENCE_S = 240.0


class SmokeError(Exception):
    """A step that failed: one sentence."""


class Switch(Protocol):
    """Turns the storyteller off and on again; `check` comes first, and finds out what on is."""

    def check(self) -> None: ...

    def off(self) -> None: ...

    def on(self) -> None: ...


class ConcurrencySwitch:
    """Off is a reserved concurrency of 0; on is what it was."""

    def __init__(self, client: Any, function: str) -> None:
        self._client, self._function = client, function
        self._before: int | None = None

    def check(self) -> None:
        """Reads what is reserved now. Raises `SmokeError` for a function that is not there."""
        try:
            found = self._client.get_function_concurrency(FunctionName=self._function)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            raise SmokeError(
                "There is no such function in this region: --function is the output StorytellerFunction, "
                "--region that of the stack."
            ) from None
        self._before = found.get("ReservedConcurrentExecutions")

    def off(self) -> None:
        self._client.put_function_concurrency(FunctionName=self._function, ReservedConcurrentExecutions=0)

    def on(self) -> None:
        if self._before is None:
            self._client.delete_function_concurrency(FunctionName=self._function)
        else:
            self._client.put_function_concurrency(
                FunctionName=self._function, ReservedConcurrentExecutions=self._before
            )


@dataclass
class Report:
    """Steps with their seconds, and figures with their units."""

    steps: list[tuple[str, float]] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)
    failure: str = ""

    def markdown(self) -> str:
        lines = ["# A smoke test of a deployed stack", "", "| step | seconds |", "|---|---|"]
        lines += [f"| {name} | {seconds:.2f} |" for name, seconds in self.steps]
        lines += ["", "| figure | value |", "|---|---|"]
        lines += [f"| {name} | {value} |" for name, value in self.figures.items()]
        lines += ["", f"Failed: {self.failure}" if self.failure else "All steps passed."]
        return "\n".join(lines) + "\n"


class Visitor:
    """One connection: sends an action at a time, and keeps every frame that came."""

    def __init__(self, socket: ClientConnection) -> None:
        self.frames: list[Frame] = []
        self._socket = socket
        self._came = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())
        self._names = (f"smoke.{time.monotonic_ns()}.{number}" for number in range(1_000_000))

    async def close(self) -> None:
        await self._socket.close()
        await self._reader

    async def hello(self, session: str | None = None) -> Frame:
        await self._socket.send(json.dumps({"action": "hello", **({"session": session} if session else {})}))
        return await self.wait("the welcome", lambda frame: frame["type"] == "welcome", timeout_s=30)

    async def act(self, action: str, **fields: str) -> str:
        """Sends an action and waits for its acknowledgement; gives its id."""
        id_ = next(self._names)
        await self._socket.send(json.dumps({"action": action, "id": id_, **fields}))
        found = await self.wait(
            f"the acknowledgement of {action}",
            lambda frame: frame["type"] in {"ok", "error", "kept", "answer"} and frame.get("to") == id_,
            timeout_s=30,
        )
        if found["type"] == "error":
            raise SmokeError(f"{action} was refused: {found['code']}.")
        return id_

    async def wait(
        self, what: str, wanted: Callable[[Frame], bool], *, since: int = 0, timeout_s: float = PATIENCE_S
    ) -> Frame:
        """The first frame after number `since` that is wanted."""

        def find() -> Frame | None:
            return next((frame for frame in self.frames[since:] if wanted(frame)), None)

        try:
            async with asyncio.timeout(timeout_s), self._came:
                await self._came.wait_for(lambda: find() is not None or self._reader.done())
        except TimeoutError:
            raise SmokeError(f"{what.capitalize()} did not come within {timeout_s:.0f} s.") from None
        found = find()
        if found is None:
            raise SmokeError(f"The connection closed before {what} came.")
        return found

    async def _read(self) -> None:
        try:
            async for frame in self._socket:
                self.frames.append(json.loads(frame))
                async with self._came:
                    self._came.notify_all()
        except ConnectionClosed:
            pass
        async with self._came:
            self._came.notify_all()


class Smoke:
    """One run against one address."""

    def __init__(
        self,
        url: str,
        switch: Switch | None = None,
        *,
        question: str = QUESTION,
        line: str = LINE,
        off_s: float = 75.0,
    ) -> None:
        self.report = Report()
        self._url, self._switch, self._question, self._line = url.rstrip("/"), switch, question, line
        self._off_s = off_s

    async def run(self) -> Report:
        try:
            await self._visit()
        except SmokeError as error:
            self.report.failure = str(error)
        except InvalidStatus as error:
            self.report.failure = f"The connection was refused with status {error.response.status_code}."
        except WebSocketException as error:
            self.report.failure = f"The connection ended where it should not ({type(error).__name__})."
        except ClientError as error:
            self.report.failure = f"AWS refused to turn the storyteller off or on: {error.response['Error']['Code']}."
        except BotoCoreError as error:
            self.report.failure = f"AWS was not reached to turn the storyteller off or on ({type(error).__name__})."
        except (OSError, ValueError, KeyError) as error:
            self.report.failure = f"An answer was not as the protocol says ({type(error).__name__})."
        return self.report

    async def _visit(self) -> None:
        if self._switch is not None:
            await asyncio.to_thread(self._switch.check)
        await self._timed("page", asyncio.to_thread(_get, f"{self._url}/"))
        config = json.loads(await self._timed("config.json", asyncio.to_thread(_get, f"{self._url}/config.json")))
        visitor = await self._connect(config)
        came = time.monotonic()
        welcome = await self._timed("welcome", visitor.hello())
        try:
            await self._prologue(visitor)
            await self._wake(visitor, came)
            opening = await visitor.wait("the first scene", _is("token", "opening"))
            self._note("first scene after hello", came)
            await visitor.wait("the end of the first scene", _is("end", opening["to"]))
            await self._tell(visitor, "a line of the story")
        finally:
            await visitor.close()
        again = await self._connect(config)
        try:
            returned = await self._timed("return", again.hello(welcome["session"]))
            if not returned["resumed"] or not returned["turns"]:
                raise SmokeError("The session was not resumed with its turns.")
            if self._switch is not None:
                await self._kill(again, self._switch)
        finally:
            await again.close()

    async def _connect(self, config: Frame) -> Visitor:
        ticket = json.loads(await self._timed("ticket", asyncio.to_thread(_get, config["ticket"], "POST")))["ticket"]
        socket = await self._timed("connection", connect(f"{config['socket']}?ticket={ticket}", max_size=2**20))
        return Visitor(socket)

    async def _prologue(self, visitor: Visitor) -> None:
        """Plays every beat without a pause, and asks a question with a written answer at the first."""
        told: set[str] = set()
        begun = time.monotonic()
        while True:
            beat = await visitor.wait(
                "the next beat", lambda frame: frame["type"] == "beat" and frame["id"] not in told, timeout_s=30
            )
            told.add(beat["id"])
            if len(told) == 1:
                self._note("first beat", begun)
                asked = time.monotonic()
                at = len(visitor.frames)
                id_ = await visitor.act("say", text=self._question)
                await visitor.wait("the written answer", _is("answer", id_), since=at, timeout_s=30)
                self._note("written answer", asked)
            ask = beat.get("ask")
            if ask:
                await visitor.act("say", text=(ask.get("choices") or ["Ada"])[0], ask=ask["key"])
            elif not beat["final"]:
                await visitor.act("next", beat=beat["id"])
            if beat["final"]:
                if not ask:
                    await visitor.act("next", beat=beat["id"])
                break
        self.report.figures["beats of the prologue"] = str(len(told))

    async def _wake(self, visitor: Visitor, came: float) -> None:
        woke = await visitor.wait(
            "the storyteller", lambda frame: frame["type"] == "wake" and frame["state"] in {"ready", "failed"}
        )
        if woke["state"] == "failed":
            raise SmokeError("The storyteller failed to wake: see its log group.")
        self._note("storyteller awake after hello", came)

    async def _tell(self, visitor: Visitor, name: str) -> None:
        asked, at = time.monotonic(), len(visitor.frames)
        id_ = await visitor.act("say", text=self._line)
        await visitor.wait("the first token", _is("token", id_), since=at)
        self._note(f"{name}: first token", asked)
        end = await visitor.wait("the end of the reply", _is("end", id_), since=at)
        self._note(f"{name}: end", asked)
        if end["reason"] not in {"stop", "length"}:
            raise SmokeError(f"The reply ended with {end['reason']}.")
        stats = end.get("stats") or {}
        for key, unit in (("ttft_ms", "ms"), ("tokens", ""), ("tokens_per_s", "tokens/s")):
            if stats.get(key) is not None:
                self.report.figures[f"{name}: {key}"] = f"{stats[key]:.4g} {unit}".strip()

        used = stats.get("used") or {}
        for key, unit in (("usd", "$"), ("mwh", "mWh")):
            if used.get(key) is not None:
                self.report.figures[f"{name}: {key}"] = f"{used[key]:.4g} {unit}"

    async def _kill(self, visitor: Visitor, switch: Switch) -> None:
        """While the storyteller is off nothing may be told; the line that was said is told once it is on again."""
        at = len(visitor.frames)
        try:
            await asyncio.to_thread(switch.off)
            id_ = await visitor.act("say", text=self._line)
            await asyncio.sleep(self._off_s)
            came = visitor.frames[at:]
        finally:
            turned_on = time.monotonic()
            await asyncio.to_thread(switch.on)
        if any(_is("token", id_)(frame) for frame in came):
            raise SmokeError("The storyteller told while it was turned off.")
        refused = any(frame["type"] == "error" or frame.get("state") == "failed" for frame in came)
        self.report.figures["turned off: the visitor is told"] = "yes" if refused else f"not within {self._off_s:g} s"
        again = id_ if not any(_is("end", id_)(frame) for frame in came) else None
        if again is None:  # given up: the next line must be told
            again = await visitor.act("say", text=self._line)
        end = await visitor.wait("a reply after turning on again", _is("end", again), since=at)
        self._note("turned on again: reply", turned_on)
        if end["reason"] not in {"stop", "length"}:
            raise SmokeError(f"The reply after turning on again ended with {end['reason']}.")

    def _note(self, name: str, since: float) -> None:
        self.report.steps.append((name, time.monotonic() - since))

    async def _timed(self, name: str, work: Any) -> Any:
        begun = time.monotonic()
        done = await work
        self._note(name, begun)
        return done


def _is(kind: str, to: str) -> Callable[[Frame], bool]:
    return lambda frame: frame["type"] == kind and frame.get("to") == to


def _get(url: str, method: str = "GET") -> str:
    request = urllib.request.Request(url, method=method, data=b"" if method == "POST" else None)  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return str(answer.read().decode())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.smoke", description="Plays a deployed stack once.")
    parser.add_argument("url", help="the page's address: the stack's output Page")
    parser.add_argument("--function", help="the output StorytellerFunction: tests turning it off and on, too")
    parser.add_argument("--region", help="of the function; without it, where `make deploy` goes")
    parser.add_argument("--question", default=QUESTION, help="a question that the world has a written answer for")
    parser.add_argument("--out", type=Path, default=Path("build/smoke.md"), help="where the report goes")
    options = parser.parse_args(argv)
    if not options.url.startswith(("https://", "http://localhost:", "http://127.0.0.1:")):
        parser.error(f"{options.url} is no page's address: give one such as https://d111.cloudfront.net")
    switch = None
    if options.function:
        import boto3

        from infra.regions import find_region
        from infra.settings import SettingError

        try:
            client = boto3.client("lambda", region_name=options.region or find_region())
        except (SettingError, BotoCoreError) as error:
            parser.error(str(error))
        switch = ConcurrencySwitch(client, options.function)
    report = asyncio.run(Smoke(options.url, switch, question=options.question).run())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(report.markdown())
    print(report.markdown(), end="")
    return 1 if report.failure else 0


if __name__ == "__main__":
    sys.exit(main())
