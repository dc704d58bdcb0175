"""`Play` against a server that does what each test says: lost frames, lost connections, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from client.session.connect import ConnectError
from client.session.connection import Play
from client.session.events import (
    AnswerCame,
    BeatCame,
    Connection,
    Earlier,
    Failed,
    Forgotten,
    RefusedError,
    Welcomed,
)
from client.session.protocol import Answer, Saved
from client.session.queue import Timeouts
from client.session.story import Ended, Told
from tests.unit.client.fake_server import FakeServer, Line

QUICK = Timeouts(gap=0.05, retry_first=0.01, retry_most=0.05, refused_again=(0.01, 0.01, 0.01))
BEAT = {"id": "gate", "speaker": "Guardian", "lines": [{"text": "Halt!", "at_s": 0}], "final": False}


@asynccontextmanager
async def playing(timeouts: Timeouts = QUICK, **welcome: Any) -> AsyncIterator[tuple[FakeServer, Play, Line]]:
    async with FakeServer() as server, Play(server.address, timeouts=timeouts) as play:
        line = await server.line()
        await line.welcome(**welcome)
        await play.until(lambda event: isinstance(event, Welcomed))
        yield server, play, line


def is_lost(event: object) -> bool:
    return isinstance(event, Connection) and event.state == "lost"


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


async def test_a_refusal_is_an_exception_and_an_event_and_the_line_is_gone() -> None:
    async with playing() as (_, play, line):
        said = play.say("green", ask="spectacles")
        assert (await line.expect("say"))["ask"] == "spectacles"
        await line.send("error", to=said.id, code="bad_choice", message="Green or gold, please.", retryable=False)
        with pytest.raises(RefusedError, match="Green or gold"):
            await said
        event = await play.until(lambda event: isinstance(event, Failed))
        assert isinstance(event, Failed)
        assert event.action is not None
        assert event.action["ask"] == "spectacles"


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


async def test_a_beat_that_comes_again_is_told_once() -> None:
    async with playing() as (server, play, line):
        await line.send("beat", **BEAT)
        event = await play.until(lambda event: isinstance(event, BeatCame))
        assert isinstance(event, BeatCame)
        assert (event.beat.id, event.beat.lines[0].text) == ("gate", "Halt!")
        await line.cut()
        line = await server.line()
        await line.welcome()
        await line.send("beat", **BEAT)
        await line.send("beat", **(BEAT | {"id": "stairs"}))
        event = await play.until(lambda event: isinstance(event, BeatCame))
        assert isinstance(event, BeatCame)
        assert event.beat.id == "stairs"


async def test_after_the_last_beat_the_opening_is_awaited() -> None:
    async with playing() as (_, play, line):
        await line.send("beat", **(BEAT | {"final": True}))
        await play.until(lambda event: isinstance(event, BeatCame))
        told = play.next("gate")
        assert (await line.expect("next"))["beat"] == "gate"
        await line.send("ok", to=told.id)
        await told
        assert [(turn.id, turn.state) for turn in play.turns] == [("opening", "waiting")]
        await line.token("opening", 0, "You")
        await line.end("opening")
        await play.until(lambda event: isinstance(event, Ended))
        assert [(turn.id, turn.state) for turn in play.turns] == [("opening", "done")]


async def test_an_answer_from_the_book() -> None:
    async with playing() as (_, play, line):
        said = play.say("who are you?")
        await line.expect("say")
        saved = {"tokens": 90, "usd": 0.001, "mwh": 20.0, "gco2e": 0.008, "share": 0.5, "wakes_spared": 0}
        await line.send("answer", to=said.id, text="Your host.", matched="who are you", score=0.97, saved=saved)
        await line.send("ok", to=said.id)
        event = await play.until(lambda event: isinstance(event, AnswerCame))
        assert isinstance(event, AnswerCame)
        assert event.turn.answer == Answer(
            said.id, "Your host.", "who are you", 0.97, Saved(90, 0.001, 20.0, 0.008, 0.5, 0)
        )
        assert event.turn.state == "answered"


async def test_undo_retry_edit_continue_and_remember() -> None:
    turn = {"id": "a", "said": "hi", "reply": "Once", "state": "done", "take": 1}
    async with playing(turns=[turn], profile={"name": "Ada", "reason": "to see"}) as (_, play, line):

        async def acknowledged(action: str) -> dict[str, Any]:
            frame = await line.expect(action)
            await line.send("ok", to=frame["id"])
            return frame

        last = play.turns[0]
        for pending, action in [(play.retry(last), "retry"), (play.go_on(last), "continue")]:
            assert (await acknowledged(action))["of"] == "a"
            await pending
            assert last.state == "waiting"
            last.state = "done"
        edited = play.edit(last, "ho")
        assert (await acknowledged("edit"))["text"] == "ho"
        await edited
        assert last.said == "ho"
        changed = play.remember({"name": "Bo", "reason": ""})
        await acknowledged("remember")
        await changed
        assert play.profile == {"name": "Bo"}
        undone = play.undo(last)
        await acknowledged("undo")
        await undone
        assert play.turns == []


async def test_earlier_turns() -> None:
    turn = {"id": "b", "said": "hi", "reply": "Once", "state": "done", "take": 1}
    async with playing(turns=[turn]) as (_, play, line):
        asked = play.earlier()
        assert asked is not None
        assert (await line.expect("history"))["before"] == "b"
        await line.send("history", before="b", turns=[turn | {"id": "a"}])
        event = await play.until(lambda event: isinstance(event, Earlier))
        await asked
        assert isinstance(event, Earlier)
        assert [turn.id for turn in play.turns] == ["a", "b"]


@pytest.mark.parametrize("about", [{"to": "b", "code": "bad_field"}, {"code": "unknown_turn"}])
async def test_earlier_turns_that_are_refused_hold_nothing_up(about: dict[str, str]) -> None:
    turn = {"id": "b", "said": "hi", "reply": "Once", "state": "done", "take": 1}
    async with playing(turns=[turn]) as (_, play, line):
        asked = play.earlier()
        assert asked is not None
        play.say("and then?")
        await line.expect("history")
        await line.send("error", message="There is no turn `b` in this story.", retryable=False, **about)
        with pytest.raises(RefusedError, match="no turn"):
            await asked
        await line.expect("say")


async def test_a_stop_that_was_lost_is_sent_again() -> None:
    turn = {"id": "a", "said": "hi", "reply": "Once", "state": "telling", "take": 1}
    async with playing(turns=[turn]) as (server, play, line):
        await play.stop(play.turns[0])
        await line.expect("stop")
        await line.cut()
        line = await server.line()
        await line.welcome(turns=[turn])
        assert (await line.expect("stop"))["of"] == "a"


async def test_a_turn_that_was_given_up() -> None:
    turn = {"id": "a", "said": "hi", "reply": "", "state": "waiting", "take": 0}
    async with playing(turns=[turn]) as (_, play, line):
        await line.send("error", to="a", code="given_up", message="This line cannot be told.", retryable=False)
        event = await play.until(lambda event: isinstance(event, Failed))
        assert isinstance(event, Failed)
        assert event.turn is not None
        assert (event.turn.state, event.turn.error) == ("failed", "This line cannot be told.")


async def test_a_turn_that_will_be_told_anew_is_not_given_up() -> None:
    turn = {"id": "a", "said": "hi", "reply": "On", "state": "telling", "take": 1}
    async with playing(turns=[turn]) as (_, play, line):
        await line.send("error", to="a", code="storyteller_lost", message="It comes again.", retryable=True)
        await play.until(lambda event: isinstance(event, Failed))
        assert play.turns[0].live
        await line.token("a", 0, "Once", take=2)
        await play.until(lambda event: isinstance(event, Told))
        assert play.turns[0].reply == "Once"


async def test_a_reply_that_will_not_do_is_not_sent_again() -> None:
    async with playing() as (_, play, line):
        said = play.say("mauve", ask="spectacles")
        await line.expect("say")
        await line.send("error", to=said.id, code="bad_reply", message="Green, say.", retryable=True)
        with pytest.raises(RefusedError, match="Green"):
            await said


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


async def test_a_frame_that_cannot_be_read_does_not_end_the_play() -> None:
    async with playing() as (_, play, line):
        await line.socket.send_str("{")
        await line.send("token", to="a")
        await line.send("something_new", x=1)
        await line.send("beat", **BEAT)
        await play.until(lambda event: isinstance(event, Failed))
        await play.until(lambda event: isinstance(event, BeatCame))


@pytest.mark.parametrize(("text", "code"), [("", "empty"), (" \n", "empty"), ("x" * 2001, "too_long")])
async def test_a_line_nobody_could_hear_is_not_sent(text: str, code: str) -> None:
    async with playing() as (_, play, line):
        with pytest.raises(RefusedError) as refusal:
            await play.say(text)
        assert refusal.value.code == code
        assert line.heard.empty()
        assert play.turns == []


async def test_a_full_line_of_wide_characters_is_sent() -> None:
    async with playing() as (_, play, line):
        play.say("🟢" * 2000)
        assert len((await line.expect("say"))["text"]) == 2000


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
