"""What is said in the prologue: nothing of it begins the story, and nothing is lost."""

from __future__ import annotations

import pytest

from overture import protocol
from overture.sessions import Turn
from tests.unit.front.visitor import Play, kinds


def aside(play: Play, text: str) -> protocol.Aside:
    (heard,) = play.do("say", text=text)
    assert isinstance(heard, protocol.Aside)
    return heard


def to_question(play: Play, key: str) -> protocol.Beat:
    """Goes on until the question `key` stands."""
    beat = play.hello()[-1]
    while isinstance(beat, protocol.Beat) and not (beat.ask and beat.ask.key == key):
        beat = play.do("say", text="Nim", ask=beat.ask.key)[0] if beat.ask else play.do("next", beat=beat.id)[0]
    assert isinstance(beat, protocol.Beat)
    return beat


def opening(play: Play) -> Turn:
    return next(turn for turn in play.sessions.turns(play.key) if turn.id == protocol.OPENING)


@pytest.mark.parametrize("text", ["hello", "good morning!", "ok", "nice city", "thanks", "\U0001f408"])
def test_small_things_get_a_line_of_the_speakers_and_leave_no_trace(play: Play, text: str) -> None:
    play.hello()
    first, second = aside(play, text), aside(play, text)
    assert first.text != second.text
    assert not first.kept
    session = play.sessions.read(play.key)
    assert (session.in_story, session.kept, session.inbox) == (False, [], [])
    assert [turn.state for turn in play.sessions.turns(play.key)] == ["answered", "answered"]


def test_the_story_begins_with_what_was_kept(play: Play) -> None:
    play.hello()
    assert aside(play, "Who lights the lamps").kept
    assert aside(play, "I run to the palace.").kept
    aside(play, "hello")
    assert not play.sessions.read(play.key).in_story
    assert play.do("skip") == []
    assert opening(play).said == "Who lights the lamps\nI run to the palace."
    assert opening(play).notes == ["True of lamps."]
    session = play.sessions.read(play.key)
    assert session.kept == []
    assert [line.turn for line in session.inbox] == ["opening"]
    welcome = play.hello(session=play.secret)[0]
    assert isinstance(welcome, protocol.Welcome)
    assert [(turn.said, turn.kept) for turn in welcome.turns] == [
        ("Who lights the lamps", True),
        ("I run to the palace.", True),
        ("hello", False),
        ("", False),
    ]


def test_a_kept_line_that_is_taken_back_is_not_told(play: Play) -> None:
    play.hello()
    play.send("say", id="k", text="I run to the palace.")
    play.do("undo", of="k")
    play.do("skip")
    assert opening(play).said == ""


def test_no_more_is_kept_than_one_line_may_hold(play: Play) -> None:
    play.hello()
    assert aside(play, "I run. " * 200).kept
    assert not aside(play, "I walk. " * 200).kept
    assert len(play.sessions.read(play.key).kept) == 1


def test_a_line_sent_twice_is_heard_once(play: Play) -> None:
    play.hello()
    for text in ("I run to the palace.", "What can you do?"):
        first = play.send("say", id=text[:1], text=text)
        assert play.send("say", id=text[:1], text=text) == first
    assert len(play.sessions.turns(play.key)) == 2
    assert play.sessions.read(play.key).kept == ["I run to the palace."]
    play.do("skip")
    assert play.send("say", id="I", text="I run to the palace.")[0] == protocol.Ok("I", answered=True)
    assert len(play.sessions.turns(play.key)) == 3


def test_what_is_said_to_a_question_is_the_reply(play: Play) -> None:
    to_question(play, "name")
    got = play.send("say", id="n", text="I am Marlow", ask="name")
    assert kinds(got) == ["Ok", "Beat"]
    assert got[0] == protocol.Ok("n")
    assert "I am Marlow" not in [text for text, _ in play.index.asked], "no search for what is plainly a reply"
    assert play.sessions.read(play.key).profile == {"name": "Marlow"}
    assert play.sessions.turns(play.key) == []
    assert play.send("say", id="n", text="I am Marlow", ask="name") == [protocol.Ok("n")]


def test_a_question_a_greeting_or_thanks_is_no_reply(play: Play) -> None:
    to_question(play, "name")
    first = play.send("say", id="q", text="What can you do?", ask="name")
    assert kinds(first) == ["Ok", "Answer"]
    assert first[0] == protocol.Ok("q", answered=True)
    assert play.send("say", id="q", text="What can you do?", ask="name") == first
    heard = [play.send("say", id=text[:1], text=text, ask="name") for text in ("hello", "is that a bell", "thanks")]
    assert [kinds(got) for got in heard] == [["Ok", "Aside"]] * 3
    assert play.sessions.read(play.key).profile == {}
    assert play.sessions.read(play.key).kept == ["is that a bell"]


def test_a_line_said_before_the_question_is_seen_is_no_reply_to_it(play: Play) -> None:
    to_question(play, "companion")
    assert aside(play, "I wave to the lamplighter").kept
    assert "companion" not in play.sessions.read(play.key).profile


def test_a_reply_that_is_no_choice_is_refused_in_the_speakers_words(play: Play) -> None:
    to_question(play, "spectacles")
    (refused,) = play.send("say", id="p", text="pink", ask="spectacles")
    assert isinstance(refused, protocol.Error)
    assert refused.code == "bad_reply"
    assert refused.message.startswith("pink? I looked once")
    (again,) = play.send("say", id="q", text="pink", ask="spectacles")
    assert isinstance(again, protocol.Error)
    assert again.message != refused.message, "never twice in a row"
    assert "spectacles" not in play.sessions.read(play.key).profile
    assert kinds(play.send("say", id="g", text="green", ask="spectacles")) == ["Ok", "Beat"]
