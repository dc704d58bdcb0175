"""`Play`'s actions, and what the server's messages make of the story."""

from __future__ import annotations

from typing import Any

import pytest

from client.session.events import AnswerCame, BeatCame, Earlier, Failed, RefusedError
from client.session.protocol import Answer, Saved
from client.session.story import Ended, Told
from tests.unit.client.session.playing import BEAT, playing


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


async def test_an_answer_from_the_index() -> None:
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


async def test_a_turn_that_was_given_up() -> None:
    turn = {"id": "a", "said": "hi", "reply": "", "state": "waiting", "take": 0}
    async with playing(turns=[turn]) as (_, play, line):
        await line.send("error", to="a", code="given_up", message="This line cannot be told.", retryable=False)
        event = await play.until(lambda event: isinstance(event, Failed))
        assert isinstance(event, Failed)
        assert event.turn is not None
        assert (event.turn.state, event.turn.error) == ("failed", "This line cannot be told.")


async def test_a_turn_that_will_be_told_again_is_not_given_up() -> None:
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
