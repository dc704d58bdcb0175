"""The whole play: the real handlers in separate processes, a visitor on the wire, a real (random) Llama.

The model's text is noise, and its replies are as long as they are allowed to be; what is tested is
everything around it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from websockets.asyncio.client import connect

from bench.wait import watch
from client.session.connect import Connector
from client.session.connection import Play
from client.session.events import AnswerCame, AsideCame, BeatCame, Connection, Failed, Welcomed, Woke
from client.session.protocol import OPENING
from client.session.story import Ended, Told
from local.play import overture
from local.stack import LocalStack
from overture.sessions import Session, Sessions, Turn, key_of
from overture.table import Table
from tests.tiny_llama import write_tiny_llama

#: A reply of so many tokens takes some seconds: long enough to do something in the middle of it.
LONG = 2_000


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama that never ends a reply by itself."""
    return write_tiny_llama(tmp_path_factory.mktemp("model") / "llama", context=4096)


class Stack:
    """A running stack, and a look behind its curtain."""

    def __init__(self, stack: LocalStack, logs: Path) -> None:
        self.local, self.url, self.logs = stack, stack.url, logs
        client = boto3.client(
            "dynamodb",
            endpoint_url=stack.dynamodb_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.sessions = Sessions(Table("overture", client))

    def session(self, play: Play) -> Session:
        assert play.session is not None
        return self.sessions.read(key_of(play.session))

    def told(self, play: Play, turn_id: str) -> str:
        """The reply as the stack has kept it."""
        return self._turn(play, turn_id).reply

    def said(self, play: Play, turn_id: str) -> str:
        """The line as the stack has kept it."""
        return self._turn(play, turn_id).said

    def _turn(self, play: Play, turn_id: str) -> Turn:
        assert play.session is not None
        (turn,) = [turn for turn in self.sessions.turns(key_of(play.session)) if turn.id == turn_id]
        return turn

    def storytellers(self) -> list[dict[str, Any]]:
        return [one.describe() for one in self.local.environments("storyteller")]

    def kill_storyteller(self) -> int:
        (pid,) = [one["pid"] for one in self.storytellers() if one["ended"] is None]
        os.kill(pid, signal.SIGKILL)
        return int(pid)

    def log(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.logs.glob("*")))


@contextlib.asynccontextmanager
async def start_stack(
    model: Path, logs: Path, *, wait_s: float = 0, tokens: int = 40, **environment: str
) -> AsyncIterator[Stack]:
    plan = overture(model=model, wait_s=wait_s).change(
        "storyteller",
        environment={"OVERTURE_MAX_TOKENS": str(tokens), "OVERTURE_TEMPERATURE": "0", **environment},
    )
    async with LocalStack(plan, logs=logs) as stack:
        await stack.prestart()
        yield Stack(stack, logs)


async def settle(play: Play, turn_id: str, *, within_s: float = 90) -> Ended:
    """Waits for the end of a turn's reply."""
    event = await play.until(lambda event: isinstance(event, Ended) and event.turn.id == turn_id, timeout_s=within_s)
    assert isinstance(event, Ended)
    return event


async def until(play: Play, kind: type, *, within_s: float = 60) -> Any:
    return await play.until(lambda event: isinstance(event, kind), timeout_s=within_s)


async def begin(play: Play) -> str:
    """Goes past the prologue. Gives the id of the first scene's turn."""
    await play.skip()
    return OPENING


async def test_a_full_play(model: Path, tmp_path: Path) -> None:
    """Prologue with all its questions, the opening, a written answer, a line, retry, undo: one storyteller."""
    replies = {"name": "Nim", "companion": "a clockwork owl", "reason": "to see the Wizard"}
    progress: list[float] = []
    answered: set[str] = set()
    async with start_stack(model, tmp_path, wait_s=2) as stack, Play(stack.url) as play:
        async for event in play:
            if isinstance(event, Woke) and event.wake.progress is not None:
                progress.append(event.wake.progress)
            if isinstance(event, BeatCame):
                beat = event.beat
                if beat.ask:
                    answered.add(beat.ask.key)
                    await play.say(replies.get(beat.ask.key) or (beat.ask.choices or [""])[0], ask=beat.ask.key)
                else:
                    await play.next(beat.id)
            if isinstance(event, Ended):
                break
        assert answered == {"name", "companion", "reason", "spectacles"}
        assert progress == sorted(progress)
        assert progress[-1] == 1.0
        assert len(progress) > 2, "the countdown moved"
        session = stack.session(play)
        assert session.profile["name"] == "Nim"
        opening = play.turns[0]
        assert (opening.id, opening.reason) == ("opening", "length")
        assert opening.reply == stack.told(play, "opening") != ""
        assert opening.stats is not None
        assert opening.stats.tokens == 40
        assert opening.stats.ttft_ms > 0

        question = await play.say("What can you do?")
        answer = await until(play, AnswerCame)
        assert answer.turn.id == question
        assert answer.turn.answer.saved.tokens == 40, "a reply of the model would have cost as much as the last"

        line = await play.say("I walk up to the green door and knock.")
        ended = await settle(play, line)
        assert ended.turn.reply == stack.told(play, line)
        assert ended.turn.stats is not None
        assert ended.turn.stats.reused_tokens > 0, "the story so far is still in the cache"
        await play.retry(ended.turn)
        again = await settle(play, line)
        assert again.turn.take == 2
        await play.undo(again.turn)
        assert [turn.id for turn in play.turns] == ["opening", question]
        assert len(stack.storytellers()) == 1
        assert play.session is not None
        assert play.session not in stack.log(), "the session's secret is in a log"


async def test_the_story_begins_with_a_line_typed_while_waking_and_by_the_one_that_woke(
    model: Path, tmp_path: Path
) -> None:
    async with start_stack(model, tmp_path, wait_s=4) as stack, Play(stack.url) as play:
        await until(play, BeatCame)
        early = await play.say("Is the Wizard at home?!")
        heard = await until(play, AsideCame)
        assert heard.turn.kept
        assert not play.story.begun
        ended = await settle(play, await begin(play))
        assert ended.turn.reply
        assert [turn.id for turn in play.turns] == [early, OPENING]
        assert stack.said(play, OPENING) == "Is the Wizard at home?!"
        started = stack.storytellers()
        assert len(started) == 1
        assert started[0]["invocations"] == 1, "the very invocation that was waking"


async def test_a_doubled_invocation_says_nothing(model: Path, tmp_path: Path) -> None:
    async with start_stack(model, tmp_path, wait_s=3) as stack, Play(stack.url) as play:
        await until(play, BeatCame)
        line = await begin(play)
        session = stack.session(play)
        assert session.lease is not None
        client = boto3.client(
            "lambda",
            endpoint_url=stack.local.lambda_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        payload = json.dumps({"session": session.key, "token": session.lease.token}).encode()
        for _ in range(2):
            await asyncio.to_thread(client.invoke, FunctionName="storyteller", InvocationType="Event", Payload=payload)
        ended = await settle(play, line)
        assert ended.turn.reply == stack.told(play, line)
        assert (ended.turn.take, ended.turn.ends) == (1, 1)
        await asyncio.sleep(1)
        assert ended.turn.ends == 1


async def test_a_storyteller_killed_in_the_middle_of_a_reply(model: Path, tmp_path: Path) -> None:
    async with start_stack(model, tmp_path, tokens=LONG) as stack, Play(stack.url) as play:
        await until(play, BeatCame)
        line = await begin(play)
        await until(play, Told)
        stack.kill_storyteller()
        failed = await until(play, Failed)
        assert failed.code == "storyteller_lost"
        ended = await settle(play, line)
        assert (ended.turn.take, ended.turn.state) == (2, "done")
        assert ended.turn.reply == stack.told(play, line)
        session = stack.session(play)
        assert session.inbox == []
        assert [turn.id for turn in play.turns] == [line], "no line twice"
        assert len(stack.storytellers()) == 2


async def test_a_line_that_kills_the_storyteller_every_time_is_given_up(model: Path, tmp_path: Path) -> None:
    async with start_stack(model, tmp_path, tokens=LONG) as stack, Play(stack.url) as play:
        await until(play, BeatCame)
        line = await begin(play)
        for take in (1, 2):
            await play.until(lambda event, take=take: isinstance(event, Told) and event.turn.take == take, timeout_s=60)  # type: ignore[misc]
            stack.kill_storyteller()
        failed = await play.until(lambda event: isinstance(event, Failed) and event.code == "given_up", timeout_s=30)
        assert isinstance(failed, Failed)
        assert failed.turn is not None
        assert failed.turn.id == line
        await asyncio.sleep(0.5)
        assert len(stack.storytellers()) == 2, "nobody was sent for a third time"
        after = await play.say("Something harmless.")
        await play.until(lambda event: isinstance(event, Told) and event.turn.id == after, timeout_s=60)


async def test_a_cut_connection_resumes_without_a_gap(model: Path, tmp_path: Path) -> None:
    async with start_stack(model, tmp_path, tokens=LONG) as stack, Play(stack.url) as play:
        await until(play, BeatCame)
        line = await begin(play)
        told = await until(play, Told)
        cut_at = len(told.turn.reply)
        for _ in range(2):
            await play.drop()
            await until(play, Welcomed)
        (turn,) = play.turns
        async with asyncio.timeout(90):
            while turn.live:  # its end may have come with the welcome already
                await anext(play)
        assert turn.reply == stack.told(play, line)
        assert len(turn.reply) > cut_at, "the telling went on meanwhile"
        assert (turn.state, turn.take) == ("done", 1)
        assert len(stack.storytellers()) == 1


async def test_a_client_that_comes_back_later_finds_everything(model: Path, tmp_path: Path) -> None:
    async with start_stack(model, tmp_path) as stack:
        async with Play(stack.url) as play:
            await until(play, BeatCame)
            line = await begin(play)
            await settle(play, line)
        async with Play(stack.url, session=play.session) as back:
            welcomed = await until(back, Welcomed)
            assert welcomed.resumed
            assert [(turn.id, turn.reply) for turn in back.turns] == [(line, stack.told(back, line))]


async def test_stop_acts_at_once_and_keeps_the_text(model: Path, tmp_path: Path) -> None:
    async with start_stack(model, tmp_path, tokens=LONG) as stack, Play(stack.url) as play:
        await until(play, BeatCame)
        line = await begin(play)
        told = await until(play, Told)
        await play.stop(told.turn)
        ended = await settle(play, line)
        assert (ended.turn.reason, ended.turn.state) == ("cancelled", "stopped")
        assert ended.turn.stats is not None
        assert 0 < ended.turn.stats.tokens < LONG
        assert ended.turn.reply == stack.told(play, line)


@pytest.mark.parametrize("wait_s", [1, 5, 30])
async def test_no_wait_has_a_silent_gap(model: Path, tmp_path: Path, wait_s: float) -> None:
    async with start_stack(model, tmp_path, wait_s=wait_s) as stack:
        seen = await watch(stack.url, think_s=0.2)
    gap, after = seen.longest_gap()
    assert gap <= 3, f"{gap:.1f} s of silence after {after}"
    assert seen.ready_s is not None
    assert seen.ready_s >= wait_s
    assert seen.first_token_s is not None


BAD = [
    ("this is not JSON", "bad_json"),
    ("[1, 2]", "bad_json"),
    ('{"action": "fly", "id": "x"}', "unknown_action"),
    ('{"action": "say", "id": "x", "text": 7}', "bad_field"),
    ('{"action": "say", "id": "x"}', "bad_field"),
    (json.dumps({"action": "say", "id": "x", "text": "long" * 600}), "bad_field"),
]


async def test_bad_frames_get_an_error_and_the_session_goes_on(model: Path, tmp_path: Path) -> None:
    async with start_stack(model, tmp_path) as stack:
        door = Connector(stack.url)
        raw = await door.open()
        await raw.send('{"action": "say", "id": "x", "text": "too early"}')
        refused = json.loads(await asyncio.wait_for(raw.recv(), 20))
        assert (refused["type"], refused["code"], refused["to"]) == ("error", "hello_first", "x")
        await raw.send('{"action": "hello"}')
        assert json.loads(await asyncio.wait_for(raw.recv(), 20))["type"] == "welcome"
        await raw.close()

        async with Play(stack.url) as play:
            await until(play, BeatCame)
            for frame, code in BAD:
                await play.send_raw(frame)
                failed = await until(play, Failed)
                assert failed.code == code
                assert len(failed.message) > 20
            line = await begin(play)
            await settle(play, line)


@pytest.mark.parametrize(("frame", "words"), [("x" * 5_000_000, "too large"), (b"\x00\x01", "not text")])
async def test_what_the_gateway_refuses_is_explained_and_the_session_goes_on(
    model: Path, tmp_path: Path, frame: str | bytes, words: str
) -> None:
    async with start_stack(model, tmp_path) as stack, Play(stack.url) as play:
        await until(play, BeatCame)
        session = play.session
        with contextlib.suppress(Exception):  # the gateway hangs up while we still send
            await play.send_raw(frame)
        lost = await play.until(lambda event: isinstance(event, Connection) and event.state == "lost", timeout_s=30)
        assert isinstance(lost, Connection)
        assert words in lost.sentence
        welcomed = await until(play, Welcomed)
        assert welcomed.resumed
        assert play.session == session
        line = await begin(play)
        await settle(play, line)


async def test_two_tabs_on_one_session(model: Path, tmp_path: Path) -> None:
    async with start_stack(model, tmp_path, tokens=LONG) as stack, Play(stack.url) as first:
        await until(first, BeatCame)
        line = await begin(first)
        await until(first, Told)
        async with Play(stack.url, session=first.session) as second:
            taken = await first.until(
                lambda event: isinstance(event, Connection) and event.state == "taken", timeout_s=30
            )
            assert isinstance(taken, Connection)
            ended = await settle(second, line)
            assert ended.turn.reply == stack.told(second, line)
            first.take_back()
            await second.until(lambda event: isinstance(event, Connection) and event.state == "taken", timeout_s=30)
            await until(first, Welcomed)
            assert [turn.reply for turn in first.turns] == [ended.turn.reply]


async def test_the_door_is_never_open(model: Path, tmp_path: Path) -> None:
    async with start_stack(model, tmp_path) as stack:
        socket = stack.url.replace("http", "ws") + "/socket"
        for address in (socket, f"{socket}?ticket=made-up"):
            with pytest.raises(Exception, match=r"HTTP 40[13]"):
                async with connect(address):
                    pass


async def test_beyond_the_concurrency_a_visitor_queues_and_is_served(model: Path, tmp_path: Path) -> None:
    plan = overture(model=model, wait_s=0, concurrency=1).change(
        "storyteller", environment={"OVERTURE_MAX_TOKENS": str(LONG), "OVERTURE_TEMPERATURE": "0"}
    )
    async with LocalStack(plan, logs=tmp_path) as stack:
        await stack.prestart()
        async with Play(stack.url) as first, Play(stack.url) as second:
            await until(first, BeatCame)
            line = await begin(first)
            await until(first, Told)
            await until(second, BeatCame)
            waiting = await begin(second)
            queued = await second.until(
                lambda event: isinstance(event, Woke) and event.wake.state == "queued", timeout_s=30
            )
            assert isinstance(queued, Woke)
            assert queued.wake.position == 1
            await settle(first, line)
            await settle(second, waiting)
        assert len(stack.environments("storyteller")) == 1
