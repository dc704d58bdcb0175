"""Every action as a visitor's client sends it, against the real sessions and script."""

from __future__ import annotations

import pytest

from front import actions
from overture import protocol
from overture.accounting.ledger import Ledger
from overture.counters import add_to_ledger, read_ledger
from overture.sessions import Sessions, key_of
from prologue.answers.index import Found
from tests.unit.fakes import FakeConnections, FakeLambda, MemoryClient
from tests.unit.front.visitor import Play, error, kinds


def test_hello_begins_a_session_the_prologue_and_the_waking(play: Play) -> None:
    welcome, wake, beat = play.hello()
    assert isinstance(welcome, protocol.Welcome)
    assert (welcome.resumed, welcome.turns, welcome.world, welcome.protocol) == (False, [], "emerald_city", 1)
    assert (welcome.title, welcome.fields[0].label) == ("The Emerald City", "Your name")
    assert len(welcome.session) >= 22, "at least 128 random bits"
    assert wake == protocol.Wake("waking", progress=0.0)
    assert isinstance(beat, protocol.Beat)
    assert [sent["session"] for sent in play.aws_lambda.sent] == [key_of(welcome.session)]


def test_the_secret_is_nowhere_in_the_table_nor_in_an_invocation(play: Play, client: MemoryClient) -> None:
    play.hello()
    rows = client.rows()
    assert play.secret not in str(rows)
    assert play.secret not in str(play.aws_lambda.sent)


@pytest.mark.parametrize(
    "frame", ['{"action":"say","id":"a","text":"x"}', '{"action":"ping"}', '{"action":"skip","id":"a"}']
)
def test_before_hello_nothing_is_done(play: Play, frame: str) -> None:
    actions.act(play.front, "c1", "192.0.2.1", frame)
    assert error(play.connections.take()).code == "hello_first"
    assert play.aws_lambda.sent == []


@pytest.mark.parametrize("frame", ["{", '{"action":"dance"}', '{"action":"say","id":"a","text":7}', "\u0000"])
def test_a_bad_frame_is_refused_and_the_session_goes_on(play: Play, frame: str) -> None:
    play.hello()
    actions.act(play.front, "c1", "192.0.2.1", frame)
    assert error(play.connections.take()).code in ("bad_json", "unknown_action", "bad_field")
    assert play.send("ping") == [protocol.Pong()]


def test_another_world_is_not_played_here(play: Play) -> None:
    assert error(play.send("hello", world="kansas")).code == "unknown_world"


def test_the_whole_prologue_fills_the_profile_and_ends_with_the_opening(play: Play) -> None:
    got = play.hello()
    play.sessions.update(play.key, lambda tx: setattr(tx.session.wake, "state", "ready"))
    replies = {"name": "Nim", "companion": "a clockwork owl", "reason": "to see the Wizard", "spectacles": ""}
    beat = got[-1]
    for _ in range(40):
        assert isinstance(beat, protocol.Beat)
        if beat.ask:
            text = replies[beat.ask.key] or (beat.ask.choices or [""])[0]
            got = play.do("say", text=text, ask=beat.ask.key)
        else:
            got = play.do("next", beat=beat.id)
        if beat.final:
            break
        (beat,) = got
    assert got == [], "after the last beat the storyteller has the word"
    session = play.sessions.read(play.key)
    assert session.in_story
    assert [line.turn for line in session.inbox] == ["opening"]
    assert session.profile["name"] == "Nim"
    assert set(session.profile) == {"name", "companion", "reason", "spectacles"}
    assert len(play.aws_lambda.sent) == 1, "the one that is waking has the lease"


def test_an_action_sent_twice_is_done_once(play: Play) -> None:
    beat = play.hello()[-1]
    assert isinstance(beat, protocol.Beat)
    first = play.send("next", id="n1", beat=beat.id)
    assert kinds(first) == ["Ok", "Beat"]
    assert kinds(play.send("next", id="n1", beat=beat.id)) == ["Ok"]
    play.do("skip")
    for _ in range(2):
        assert play.send("say", id="s1", text="A line") == [protocol.Ok("s1", answered=False)]
    assert [turn.id for turn in play.sessions.turns(play.key)] == ["s1", "opening"]
    assert [line.turn for line in play.sessions.read(play.key).inbox] == ["opening", "s1"]


def test_a_client_that_is_behind_gets_the_beat_the_session_is_at(play: Play) -> None:
    play.hello()
    (beat,) = play.do("next", beat="long_ago")
    assert beat == play.hello(session=play.secret)[-1]


def test_a_reply_nobody_asked_for(play: Play) -> None:
    play.hello()
    assert error(play.send("say", id="x", text="green", ask="spectacles")).code == "not_asked"


def test_a_common_question_is_answered_from_the_index_without_the_storyteller(play: Play) -> None:
    play.hello()
    (answer,) = play.do("say", text="What can you do?")
    assert isinstance(answer, protocol.Answer)
    assert (answer.text, answer.matched, answer.score) == ("I tell stories.", "What can you do", 0.93)
    nothing = protocol.Saved(0, 0.0, 0.0, 0.0, share=1.0, wakes_spared=0)
    assert answer.saved == nothing, "nothing measured yet, so nothing is claimed"
    add_to_ledger(play.sessions.table, Ledger(prefill_s=2, decode_s=6, start_s=9, starts=1, replies=1, tokens=100))
    (answer,) = play.do("say", text="What can you do?")
    assert isinstance(answer, protocol.Answer)
    assert answer.saved.tokens == 100
    assert 0.00106 < answer.saved.usd <= 8 * 10 * 0.0000133334
    assert 20 < answer.saved.mwh < 30
    assert answer.saved.gco2e > 0
    assert answer.saved.share == pytest.approx(2 / 3, abs=1e-4), "of three lines two were answered"
    assert read_ledger(play.sessions.table).answers == 2
    assert play.sessions.read(play.key).ledger.answers == 2
    assert not play.sessions.read(play.key).in_story
    assert play.index.asked[0] == ("What can you do?", "prologue")
    assert len(play.aws_lambda.sent) == 1


def test_an_answer_while_no_storyteller_works_spares_a_start(story: Play) -> None:
    add_to_ledger(story.sessions.table, Ledger(decode_s=4, start_s=9, starts=1, replies=1, tokens=50))
    (answer,) = story.do("say", text="What can you do?")
    assert isinstance(answer, protocol.Answer)
    assert answer.saved.wakes_spared == 1
    assert answer.saved.usd == pytest.approx(13 * 10 * 0.0000133334, rel=0.01)
    story.send("say", id="on", text="I go on.")
    (answer,) = story.do("say", text="What can you do?")
    assert isinstance(answer, protocol.Answer)
    assert answer.saved.wakes_spared == 1, "one is at work now"


def test_in_the_story_the_index_is_asked_as_in_a_story(story: Play) -> None:
    (answer,) = story.do("say", text="What can you do?")
    assert isinstance(answer, protocol.Answer)
    assert story.index.asked[-1] == ("What can you do?", "story")


def test_what_the_world_knows_goes_with_the_line(story: Play) -> None:
    def notes() -> list[str]:
        return story.sessions.turns(story.key)[0].notes

    story.do("say", text="Who lights the lamps and rings the bells?")
    assert notes() == ["True of lamps.", "True of bells."]
    story.told("a2")
    story.do("retry", of="a2")
    assert notes() == ["True of lamps.", "True of bells."], "the line is the same"
    story.told("a2")
    story.do("edit", of="a2", text="Who rings the bells")
    assert notes() == ["True of bells."]


def test_what_brought_the_visitor_goes_with_the_opening(play: Play) -> None:
    play.hello()
    play.do("remember", profile={"name": "lamps", "reason": "to see wizards"})
    play.do("skip")
    assert play.sessions.turns(play.key)[0].notes == ["True of wizards."], "of the reason, not of the name"


def test_nothing_is_looked_up_without_a_budget(
    sessions: Sessions, connections: FakeConnections, aws_lambda: FakeLambda
) -> None:
    play = Play(sessions, connections, aws_lambda, knowledge_tokens=0)
    play.hello()
    play.do("remember", profile={"reason": "to see wizards"})
    play.do("skip")
    play.told("opening")
    play.do("say", text="Who lights the lamps?")
    play.told("a3")
    play.do("edit", of="a3", text="Who rings the bells")
    assert [turn.notes for turn in play.sessions.turns(play.key)] == [[], []]


def test_coming_back_shows_the_turns_and_takes_the_session_over(story: Play) -> None:
    got = story.send("hello", connection="c2", session=story.secret)
    welcome = got[0]
    assert isinstance(welcome, protocol.Welcome)
    assert welcome.resumed
    assert [(turn.id, turn.said, turn.reply, turn.state) for turn in welcome.turns] == [
        ("opening", "", "A scene.", "done"),
        ("first", "I look around.", "A scene.", "done"),
    ]
    assert "Beat" not in kinds(got)
    assert error(story.connections.take("c1")).code == "taken_over"
    assert story.connections.closed == ["c1"]
    assert error(story.send("ping", connection="c1")).code == "hello_first"
    actions.leave(story.front, "c1")
    assert story.sessions.read(story.key).connection == "c2", "the old one's goodbye does not count"
    actions.leave(story.front, "c2")
    assert story.sessions.read(story.key).connection is None


def test_an_unknown_session_begins_again(play: Play) -> None:
    welcome = play.hello(session="f" * 32)[0]
    assert isinstance(welcome, protocol.Welcome)
    assert not welcome.resumed
    assert welcome.session != "f" * 32


def test_nobodys_session_shows_anothers_text(story: Play) -> None:
    other = story.send("hello", connection="c9")[0]
    assert isinstance(other, protocol.Welcome)
    assert other.turns == []
    assert story.send("history", connection="c9", before="first")[0] == protocol.Error(
        "unknown_turn", "There is no turn `first` in this story.", False, "first"
    )


def test_the_profile_can_be_changed_and_forgotten(story: Play) -> None:
    story.do("remember", profile={"name": "Ozma's friend", "companion": "a goat"})
    story.do("remember", profile={"companion": ""})
    assert story.sessions.read(story.key).profile == {"name": "Ozma's friend"}
    refused = error(story.send("remember", id="r", profile={"shoe_size": "42"}))
    assert "shoe_size" in refused.message


def test_history_sends_what_came_before(story: Play) -> None:
    (older,) = story.send("history", before="first")
    assert isinstance(older, protocol.Turns)
    assert [turn.id for turn in older.turns] == ["opening"]
    assert story.send("history", before="opening") == [protocol.Turns("opening", [])]


def test_a_fault_of_ours_is_told_without_its_insides(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    play.hello()

    def fail(text: str, state: str) -> Found:
        raise RuntimeError("secret insides")

    monkeypatch.setattr(play.index, "consult", fail)
    refused = error(play.send("say", id="x", text="Hm"))
    assert (refused.code, refused.retryable, refused.to) == ("internal", True, "x")
    assert "insides" not in refused.message
