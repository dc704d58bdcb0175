"""The story's turns: retry, edit, undo, rewrite, continue and stop, and what refuses them."""

from __future__ import annotations

import pytest

from overture import leases, protocol
from tests.unit.front.visitor import Play, error


def test_too_many_lines_at_once(story: Play) -> None:
    for n in range(8):
        story.do("say", text=f"line {n}")
    refused = error(story.send("say", id="ninth", text="one more"))
    assert (refused.code, refused.retryable, refused.to) == ("inbox_full", True, "ninth")


def test_a_blank_line(story: Play) -> None:
    assert error(story.send("say", id="b", text=" \n ")).code == "bad_field"


def test_retry_edit_and_undo_the_last_turn(story: Play) -> None:
    story.do("retry", of="first")
    story.told("first", "Another scene.")
    turn = story.sessions.turns(story.key)[0]
    assert (turn.reply, turn.take) == ("Another scene.", 2)

    story.do("edit", of="first", text="I sing.")
    story.told("first", "A song.")
    turn = story.sessions.turns(story.key)[0]
    assert (turn.said, turn.reply, turn.take) == ("I sing.", "A song.", 3)

    story.do("undo", of="first")
    assert [turn.id for turn in story.sessions.turns(story.key)] == ["opening"]
    assert error(story.send("undo", id="u", of="opening")).code == "not_undoable"


def test_a_written_answer_is_taken_back(play: Play) -> None:
    play.hello()
    play.send("say", id="q", text="What can you do?")
    play.do("undo", of="q")
    assert play.sessions.turns(play.key) == []


@pytest.mark.parametrize("text", ["   ", "\x00\u202e"])
def test_nothing_cannot_be_said_nor_made_of_what_was_said(story: Play, text: str) -> None:
    assert error(story.send("say", id="b", text=text)).code == "bad_field"
    assert error(story.send("edit", id="e", of="first", text=text)).code == "bad_field"
    assert story.sessions.turns(story.key)[0].take == 1


def test_the_last_reply_can_be_rewritten_and_the_story_goes_on_from_it(story: Play) -> None:
    for _ in range(2):
        assert story.send("rewrite", id="r", of="first", text="The gate stays shut.") == [protocol.Ok("r")]
    turn = story.sessions.turns(story.key)[0]
    assert (turn.said, turn.reply, turn.state, turn.take, turn.base) == (
        "I look around.", "The gate stays shut.", "done", 2, 0,
    )  # fmt: skip
    assert error(story.send("rewrite", id="o", of="opening", text="No.")).code == "not_last"
    story.send("say", id="q", text="What can you do?")
    assert error(story.send("rewrite", id="a", of="q", text="No.")).code == "not_a_story"
    story.send("say", id="next", text="I knock.")
    assert error(story.send("rewrite", id="b", of="next", text="No.")).code == "busy"


def test_continue_keeps_the_take_and_the_text(story: Play) -> None:
    story.do("continue", of="first")
    story.told("first", " And more.")
    turn = story.sessions.turns(story.key)[0]
    assert (turn.reply, turn.take, turn.base) == ("A scene. And more.", 1, len("A scene."))


def test_written_answers_do_not_hide_the_last_turn_of_the_story(story: Play) -> None:
    story.do("say", text="What can you do?")
    story.do("retry", of="first")


def test_a_written_answer_retried_goes_to_the_storyteller_and_has_no_more_to_continue(story: Play) -> None:
    story.send("say", id="q", text="What can you do?")
    assert error(story.send("continue", id="k", of="q")).code == "not_a_story"
    story.do("retry", of="q")
    assert [line.turn for line in story.sessions.read(story.key).inbox] == ["q"]


@pytest.mark.parametrize("action", ["retry", "edit"])
def test_a_written_answer_of_the_prologue_is_not_told_again(play: Play, action: str) -> None:
    play.hello()
    play.send("say", id="q", text="What can you do?")
    text = {"text": "Where am I?"} if action == "edit" else {}
    (refused,) = play.send(action, id="r", of="q", **text)
    assert isinstance(refused, protocol.Error)
    assert refused.code == "not_a_story"
    session = play.sessions.read(play.key)
    assert (session.in_story, session.inbox) == (False, [])


@pytest.mark.parametrize("action", ["retry", "undo", "continue"])
def test_only_the_last_turn_can_be_changed(story: Play, action: str) -> None:
    assert error(story.send(action, id="x", of="opening")).code == "not_last"
    assert error(story.send(action, id="y", of="nonsense")).code == "not_last"
    story.send("say", id="second", text="On.")
    refused = error(story.send(action, id="z", of="second"))
    assert (refused.code, refused.retryable) == ("busy", True)


def test_stop_takes_back_a_line_nobody_tells_and_flags_one_that_is_told(story: Play) -> None:
    story.send("say", id="one", text="One")
    token = story.aws_lambda.sent[-1]["token"]
    fence = story.sessions.update(story.key, lambda tx: leases.confirm(tx, token, story.settings)) or ""
    story.sessions.update(story.key, lambda tx: leases.take_line(tx, fence, story.settings))
    story.send("say", id="two", text="Two")
    assert story.send("stop", of="one") == []
    assert story.sessions.read(story.key).stop == "one"
    (end,) = story.send("stop", of="two")
    assert isinstance(end, protocol.End)
    assert (end.to, end.reason) == ("two", "cancelled")
    assert story.send("stop", of="long_gone") == []
