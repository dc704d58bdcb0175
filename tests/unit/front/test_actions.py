"""Every action as a visitor's client sends it, against the real sessions and script."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from front import actions
from overture import leases, protocol
from overture.counters import add_to_ledger, read_ledger
from overture.ledger import Ledger
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


def test_a_common_question_is_answered_from_the_book_without_the_storyteller(play: Play) -> None:
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
    assert play.book.asked[0] == ("What can you do?", "prologue")
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


def test_in_the_story_the_book_is_asked_as_in_a_story(story: Play) -> None:
    (answer,) = story.do("say", text="What can you do?")
    assert isinstance(answer, protocol.Answer)
    assert story.book.asked[-1] == ("What can you do?", "story")


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


def test_a_line_in_the_story_sends_for_the_storyteller_and_a_second_does_not(story: Play) -> None:
    before = len(story.aws_lambda.sent)
    story.do("say", text="One")
    story.do("say", text="Two")
    assert len(story.aws_lambda.sent) == before + 1


def test_too_many_lines_at_once(story: Play) -> None:
    for n in range(8):
        story.do("say", text=f"line {n}")
    refused = error(story.send("say", id="ninth", text="one more"))
    assert (refused.code, refused.retryable, refused.to) == ("inbox_full", True, "ninth")


def test_a_blank_line(story: Play) -> None:
    assert error(story.send("say", id="b", text=" \n ")).code == "bad_field"


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


def test_an_unknown_session_begins_anew(play: Play) -> None:
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


def test_a_lost_storyteller_is_told_of_and_sent_for_again(story: Play) -> None:
    story.send("say", id="x", text="On")
    sent = story.aws_lambda.sent[-1]
    record = {"requestContext": {"condition": "RetriesExhausted"}, "requestPayload": sent}
    story.invoker.settle(record)
    told = story.connections.take()
    assert kinds(told) == ["Error", "Wake"]
    assert isinstance(told[0], protocol.Error)
    assert (told[0].code, told[0].to, told[0].retryable) == ("storyteller_lost", "x", True)
    again = story.aws_lambda.sent[-1]
    assert again["token"] != sent["token"]
    story.invoker.settle(record)
    assert story.aws_lambda.sent[-1] == again, "the record came twice"
    story.invoker.settle({**record, "requestPayload": again})
    told = story.connections.take()
    assert kinds(told) == ["Error", "End"]
    assert isinstance(told[0], protocol.Error)
    assert told[0].code == "given_up"
    assert story.aws_lambda.sent[-1] == again, "given up after two tries"
    story.do("say", text="Something else")
    assert story.aws_lambda.sent[-1] != again


def test_a_storyteller_that_cannot_be_sent_for(story: Play) -> None:
    story.aws_lambda.refuse = ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")
    wake, refused = story.do("say", text="On")
    assert wake == protocol.Wake("failed")
    assert isinstance(refused, protocol.Error)
    assert refused.retryable
    story.aws_lambda.refuse = None
    story.do("say", text="And on")
    assert [line.failures for line in story.sessions.read(story.key).inbox] == [0, 0], "the first line is kept"


def test_beyond_the_concurrency_the_visitor_hears_their_place(
    sessions: Sessions, connections: FakeConnections, aws_lambda: FakeLambda
) -> None:
    play = Play(sessions, connections, aws_lambda, concurrency=1)
    play.hello("c1")
    first = aws_lambda.sent[-1]
    assert protocol.Wake("queued", position=1) in play.hello("c2")
    assert protocol.Wake("queued", position=2) in play.hello("c3")
    third = play.secret
    assert len(aws_lambda.sent) == 1

    fence = sessions.update(first["session"], lambda tx: leases.confirm(tx, first["token"], play.settings)) or ""
    sessions.update(first["session"], lambda tx: leases.release(tx, fence))
    play.invoker.settle({"requestContext": {"condition": "Success"}, "requestPayload": first})
    assert len(aws_lambda.sent) == 2
    assert connections.take("c2") == [protocol.Wake("waking", progress=0.0)]
    assert connections.take("c3") == [protocol.Wake("queued", position=1)]
    actions.leave(play.front, "c3")
    assert sessions.waiting_line.heads() == []
    assert sessions.read(key_of(third)).connection is None


def test_wakes_are_capped_per_address(sessions: Sessions, connections: FakeConnections, aws_lambda: FakeLambda) -> None:
    play = Play(sessions, connections, aws_lambda, wakes_per_day=2)
    for n in range(2):
        play.hello(f"c{n}")
    got = play.hello("c9")
    assert kinds(got) == ["Welcome", "Wake", "Error", "Beat"]
    assert isinstance(got[2], protocol.Error)
    assert got[2].code == "wakes_exhausted"
    assert error(play.send("skip", connection="c9", id="s")).code == "wakes_exhausted"
    assert isinstance(play.send("say", connection="c9", id="q", text="What can you do?")[1], protocol.Answer)
    assert len(aws_lambda.sent) == 2


def test_a_fault_of_ours_is_told_without_its_insides(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    play.hello()

    def fail(text: str, state: str) -> Found:
        raise RuntimeError("secret insides")

    monkeypatch.setattr(play.book, "consult", fail)
    refused = error(play.send("say", id="x", text="Hm"))
    assert (refused.code, refused.retryable, refused.to) == ("internal", True, "x")
    assert "insides" not in refused.message
