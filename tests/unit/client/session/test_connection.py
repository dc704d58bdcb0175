"""`Play` and its connection: lost frames, lost connections, what is sent again."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from client.session.connect import ConnectError
from client.session.connection import Play
from client.session.events import BeatCame, Connection, Failed, Forgotten, RefusedError, Welcomed
from client.session.queue import Timeouts
from client.session.story import Ended, Told
from tests.unit.client.session.fake_server import FakeServer
from tests.unit.client.session.playing import BEAT, is_lost, playing


async def test_the_door_gives_a_ticket_and_the_origin() -> None:
    async with playing() as (server, play, line):
        assert (line.ticket, line.origin) == ("ticket/1", server.address)
        assert play.session == "s" * 22


async def test_a_session_that_is_remembered_is_returned_to() -> None:
    async with FakeServer() as server, Play(server.address, session="t" * 22, world="emerald_city") as play:
        hello = await (await server.line()).welcome(session="t" * 22, profile={"name": "Ada"})
        assert hello == {"action": "hello", "session": "t" * 22, "world": "emerald_city"}
        event = await play.until(lambda event: isinstance(event, Welcomed))
        assert isinstance(event, Welcomed)
        assert event.resumed
        assert play.profile == {"name": "Ada"}


async def test_a_session_nobody_knows_is_begun_afresh() -> None:
    async with FakeServer() as server, Play(server.address, session="t" * 22) as play:
        line = await server.line()
        await line.expect("hello")
        await line.send("error", code="bad_field", message="That is no session.", retryable=False)
        assert "session" not in await line.welcome()
        await play.until(lambda event: isinstance(event, Welcomed))


async def test_one_action_at_a_time() -> None:
    async with playing() as (_, play, line):
        first, second = play.say("one"), play.say("two")
        assert (await line.expect("say"))["text"] == "one"
        await play.stop(play.turns[0])
        await line.expect("stop")  # jumps the queue: the second line still waits for the first's ok
        assert line.heard.empty()
        await line.send("ok", to=first.id)
        assert (await line.expect("say"))["text"] == "two"
        await line.send("ok", to=second.id)
        assert await second == second.id


async def test_what_was_not_acknowledged_is_sent_again_with_its_id() -> None:
    async with playing() as (server, play, line):
        said = play.say("I knock")
        before = await line.expect("say")
        await line.cut()
        await play.until(is_lost)
        line = await server.line()
        assert line.ticket == "ticket/2"
        assert (await line.welcome())["session"] == play.session
        assert await line.expect("say") == before
        await line.send("ok", to=said.id)
        await said
        assert [turn.said for turn in play.turns] == ["I knock"]


async def test_a_reply_goes_on_after_a_lost_connection_without_gap_or_double() -> None:
    async with playing() as (server, play, line):
        said = play.say("I knock")
        await line.expect("say")
        await line.send("ok", to=said.id)
        await line.token(said.id, 0, "The door ")
        await play.until(lambda event: isinstance(event, Told))
        await line.cut()
        line = await server.line()
        await line.welcome(
            turns=[{"id": said.id, "said": "I knock", "reply": "The door o", "state": "telling", "take": 1}]
        )
        await line.token(said.id, 0, "The door opens")
        await line.token(said.id, 14, " wide.")
        await line.token(said.id, 14, " wide.")
        await line.end(said.id)
        text = "The door "
        async for event in play:
            if isinstance(event, Told):
                text += event.text
            if isinstance(event, Ended):
                break
        assert text == "The door opens wide." == play.turns[0].reply


async def test_a_gap_that_stays_asks_for_the_whole() -> None:
    async with playing() as (_, play, line):
        await line.token("opening", 0, "One ")
        await line.token("opening", 8, "three")
        await line.welcome(
            turns=[{"id": "opening", "said": "", "reply": "One two three", "state": "telling", "take": 1}]
        )
        await play.until(lambda event: isinstance(event, Welcomed) and event.again)
        assert play.turns[0].reply == "One two three"


async def test_a_frame_that_was_overtaken_is_no_gap() -> None:
    async with playing(Timeouts(gap=0.2)) as (_, play, line):
        await line.token("opening", 4, "two")
        await line.token("opening", 0, "One ")
        await line.end("opening")
        await play.until(lambda event: isinstance(event, Ended))
        await asyncio.sleep(0.5)
        assert line.heard.empty()
        assert play.turns[0].reply == "One two"


async def test_a_retryable_refusal_is_tried_again_and_then_told() -> None:
    async with playing() as (_, play, line):
        said = play.say("hello")
        for _ in range(4):
            assert (await line.expect("say"))["id"] == said.id
            await line.send("error", to=said.id, code="busy", message="Too busy.", retryable=True)
        with pytest.raises(RefusedError, match="Too busy"):
            await said
        assert play.turns == []
        after = play.say("again")
        await line.expect("say")
        await line.send("ok", to=after.id)
        await after


@pytest.mark.parametrize(("code", "words"), [(1009, "128 KB"), (1003, "only text")])
async def test_what_the_gateway_will_not_carry_is_explained_and_not_sent_again(code: int, words: str) -> None:
    async with playing() as (server, play, line):
        said = play.say("big")
        await line.expect("say")
        await line.cut(code)
        with pytest.raises(RefusedError, match=words):
            await said
        event = await play.until(is_lost)
        assert isinstance(event, Connection)
        assert words in event.sentence
        line = await server.line()
        await line.welcome()
        after = play.say("small")
        assert (await line.expect("say"))["id"] == after.id


async def test_another_window_takes_the_session_and_it_is_taken_back() -> None:
    async with playing() as (server, play, line):
        await line.send("error", code="taken_over", message="Another window has this session.", retryable=False)
        await play.until(lambda event: isinstance(event, Connection) and event.state == "taken")
        assert server.tickets == 1
        play.take_back()
        line = await server.line()
        assert (await line.welcome())["session"] == play.session
        await play.until(lambda event: isinstance(event, Welcomed))
        assert not play.taken


async def test_a_stop_that_was_lost_is_sent_again() -> None:
    turn = {"id": "a", "said": "hi", "reply": "Once", "state": "telling", "take": 1}
    async with playing(turns=[turn]) as (server, play, line):
        await play.stop(play.turns[0])
        await line.expect("stop")
        await line.cut()
        line = await server.line()
        await line.welcome(turns=[turn])
        assert (await line.expect("stop"))["of"] == "a"


async def test_a_connection_the_server_forgot_says_hello_again() -> None:
    async with playing() as (_, play, line):
        said = play.say("hi")
        await line.expect("say")
        await line.send("error", to=said.id, code="hello_first", message="Hello first.", retryable=True)
        await line.welcome()
        assert (await line.expect("say"))["id"] == said.id


async def test_an_idle_connection_is_pinged_and_a_dead_one_left() -> None:
    async with playing(Timeouts(ping_after=0.1, pong=0.1, retry_first=0.01)) as (server, play, line):
        await line.expect("ping")
        await line.send("pong")
        await line.expect("ping")
        await play.until(is_lost)
        await (await server.line()).welcome()
        await play.until(lambda event: isinstance(event, Welcomed))


async def test_an_action_without_acknowledgement_means_the_connection_is_dead() -> None:
    async with playing(Timeouts(acknowledged=0.1, retry_first=0.01)) as (server, play, line):
        said = play.say("hello")
        await line.expect("say")
        line = await server.line()
        await line.welcome()
        assert (await line.expect("say"))["id"] == said.id


async def test_silence_in_a_reply_asks_how_it_stands() -> None:
    turn = {"id": "a", "said": "hi", "reply": "", "state": "waiting", "take": 0}
    async with playing(Timeouts(silence=0.1), turns=[turn]) as (_, play, line):
        await line.welcome(turns=[turn | {"reply": "Once", "state": "done", "take": 1}])
        await play.until(lambda event: isinstance(event, Told))


async def test_who_waits_on_in_silence_asks_less_and_less_often() -> None:
    waiting = {"id": "a", "said": "hi", "reply": "", "state": "waiting", "take": 0}
    async with playing(Timeouts(silence=0.1), turns=[waiting]) as (_, play, line):
        asked = []
        for _ in range(4):  # each answer brings nothing new, and no ping is sent beside the question
            await line.welcome(turns=[waiting])
            asked.append(time.monotonic())
        pauses = [later - former for former, later in itertools.pairwise(asked)]
        assert all(pause > 0.1 * factor for pause, factor in zip(pauses, (2, 4, 8), strict=True))
        await line.token("a", 0, "Once", take=1)
        await play.until(lambda event: isinstance(event, Told))
        assert play._asked == 0


def test_patience_is_bounded() -> None:
    assert [Timeouts().patience(asked) for asked in (0, 1, 2, 3, 40)] == [25, 50, 100, 200, 200]


async def test_a_question_that_nobody_answers_means_the_connection_is_dead() -> None:
    waiting = {"id": "a", "said": "hi", "reply": "", "state": "waiting", "take": 0}
    async with playing(Timeouts(silence=0.1, pong=0.1, retry_first=0.01), turns=[waiting]) as (server, play, line):
        await line.expect("hello")
        await play.until(is_lost)
        await (await server.line()).welcome()
        await play.until(lambda event: isinstance(event, Welcomed))


async def test_a_frame_that_cannot_be_read_does_not_end_the_play() -> None:
    async with playing() as (_, play, line):
        await line.socket.send_str("{")
        await line.send("token", to="a")
        await line.send("something_new", x=1)
        await line.send("beat", **BEAT)
        await play.until(lambda event: isinstance(event, Failed))
        await play.until(lambda event: isinstance(event, BeatCame))


async def test_no_way_in_is_a_sentence() -> None:
    async with FakeServer() as server:
        gone = server.address
        server.config = {"protocol": 2}
        with pytest.raises(ConnectError, match="protocol 2"):
            await Play(gone).open()
        server.config, server.door = {"protocol": 1}, 403
        with pytest.raises(ConnectError, match="no tickets to this origin"):
            await Play(gone).open()
        with pytest.raises(ConnectError, match="no Overture"):
            await Play(gone + "/elsewhere").open()
    with pytest.raises(ConnectError, match="Nobody answers"):
        await Play(gone).open()
    with pytest.raises(ConnectError, match="not the address of a page"):
        await Play("localhost:8080").open()


async def test_a_server_that_is_away_is_waited_for() -> None:
    async with playing() as (server, play, line):
        server.door = 500
        await line.cut()
        await play.until(lambda event: isinstance(event, Connection) and "500" in event.sentence)
        server.door = 200
        await (await server.line()).welcome()
        await play.until(lambda event: isinstance(event, Welcomed))


async def test_leaving_ends_the_events_and_what_waits() -> None:
    async with FakeServer() as server:
        play = Play(server.address)
        await play.open()
        await (await server.line()).welcome()
        said = play.say("hello")
        await play.close()
        with pytest.raises(RefusedError, match="left"):
            await said
        assert [event async for event in play]


async def test_lines_for_a_forgotten_session_are_not_sent_into_the_next() -> None:
    async with playing() as (server, play, line):
        said = play.say("I knock")
        await line.expect("say")
        await line.cut()
        line = await server.line()
        await line.welcome(session="t" * 22, resumed=False)
        event = await play.until(lambda event: isinstance(event, Forgotten))
        assert isinstance(event, Forgotten)
        assert event.unsent == ["I knock"]
        with pytest.raises(RefusedError, match="no longer has this story"):
            await said
        play.say("who are you?")
        assert (await line.expect("say"))["text"] == "who are you?"
        assert [turn.said for turn in play.turns] == ["who are you?"]
