"""Every character once, whatever order the frames come in."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.session.protocol import OPENING, Answer, Aside, Saved, TurnView
from client.session.story import Altered, Appeared, Ended, Gap, Removed, Restarted, Story, Take, Told, Turn
from client.terminal.transcript import without_choices

ANSWER = Answer("q", "A storyteller.", "who are you", 0.97, Saved(96, 0.001, 21.0, 0.008, 0.5, 0))
TEXT = "A gate. 🟢 Zwölf Stufen. 👩‍🚀!"


def view(turn_id: str, reply: str, state: str = "telling", take: int = 1, said: str = "hi") -> TurnView:
    return msgspec.convert({"id": turn_id, "said": said, "reply": reply, "state": state, "take": take}, TurnView)


def never(turn_id: str) -> bool:
    return False


def shown(changes: list[Any]) -> str:
    text = ""
    for change in changes:
        if isinstance(change, Restarted):
            text = ""
        elif isinstance(change, Told):
            text += change.text
    return text


@given(st.data())
def test_frames_in_any_order_any_number_of_times(data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(TEXT) - 1))))
    pieces = [(a, TEXT[a:b]) for a, b in zip([0, *cuts], [*cuts, len(TEXT)], strict=True)]
    frames = data.draw(st.permutations(pieces + data.draw(st.lists(st.sampled_from(pieces), max_size=5))))
    story = Story()
    changes = [change for at, text in frames for change in story.token("a", 1, at, text)]
    assert shown(changes) == TEXT
    turn = story.get("a")
    assert turn is not None
    assert turn.reply == TEXT
    assert not turn.held


def test_at_counts_code_points() -> None:
    story = Story()
    story.token("a", 1, 0, "🟢🟢")
    assert shown(story.token("a", 1, 2, "ok")) == "ok"


def test_a_higher_take_starts_again_and_a_lower_one_is_ignored() -> None:
    story = Story()
    story.token("a", 1, 0, "First")
    changes = story.token("a", 2, 0, "Second")
    assert [type(change) for change in changes] == [Restarted, Told]
    assert story.token("a", 1, 5, " try") == []
    assert story.end("a", 1, "stop", None) == []
    assert story.turns[0].reply == "Second"


def test_a_gap_is_told_and_filled() -> None:
    story = Story()
    story.token("a", 1, 0, "One ")
    assert [type(change) for change in story.token("a", 1, 8, "three")] == [Gap]
    assert shown(story.token("a", 1, 4, "two ")) == "two three"


def test_an_end_with_characters_missing_is_a_gap() -> None:
    story = Story()
    story.token("a", 1, 4, "two")
    assert [type(change) for change in story.end("a", 1, "stop", None)] == [Ended, Gap]
    assert shown(story.welcome([view("a", "One two", "done")], never)) == "One two"


def test_welcome_brings_what_was_missed_and_nothing_twice() -> None:
    story = Story()
    story.token("a", 1, 0, "The gate ")
    assert shown(story.welcome([view("a", "The gate opens.")], never)) == "opens."
    assert shown(story.token("a", 1, 9, "opens. Wide.")) == " Wide."


def test_a_reply_that_ended_while_this_client_was_away_has_ended() -> None:
    story = Story()
    story.said("a", "hi")
    story.token("a", 1, 0, "The gate ")
    changes = story.welcome([view("a", "The gate opens.", "done")], never)
    assert [type(change) for change in changes] == [Told, Ended]
    assert story.welcome([view("a", "The gate opens.", "done")], never) == []


def test_a_client_ahead_of_what_was_saved_keeps_its_text() -> None:
    story = Story()
    story.said("a", "hi")
    story.token("a", 1, 0, "The gate opens.")
    assert story.welcome([view("a", "The gate")], never) == []
    assert story.turns[0].reply == "The gate opens."


def test_what_was_saved_at_the_end_is_right_even_if_shorter() -> None:
    story = Story()
    story.token("a", 1, 0, "The gate opens.")
    changes = story.welcome([view("a", "The gate", "stopped")], never)
    assert shown(changes) == "The gate"
    assert story.turns[0].state == "stopped"


def test_a_welcome_saved_before_the_new_take_does_not_undo_it() -> None:
    story = Story()
    story.said("a", "hi")
    story.token("a", 2, 0, "Second")
    assert story.welcome([view("a", "First", "done", take=1)], never) == []
    assert story.turns[0].reply == "Second"


def test_welcome_drops_what_the_server_no_longer_knows_but_not_what_waits() -> None:
    story = Story()
    story.said("a", "one")
    story.token("a", 1, 0, "A")
    story.said("gone", "two")
    story.said("unsent", "three")
    story.answered(ANSWER)
    changes = story.welcome([view("a", "A", "done")], lambda turn_id: turn_id == "unsent")
    assert [change.turn.id for change in changes if isinstance(change, Removed)] == ["gone"]
    assert [turn.id for turn in story.turns] == ["a", "unsent", "q"]


def test_a_written_answer_is_not_told_again() -> None:
    story = Story()
    story.said("q", "who are you?")
    story.answered(ANSWER)
    assert story.welcome([view("q", "A storyteller.", "answered", said="who are you?")], never) == []


def test_turns_older_than_the_first_one_named_stay() -> None:
    story = Story()
    story.welcome([view("b", "B", "done"), view("c", "C", "done")], never)
    assert [turn.id for turn in story.earlier([view("a", "A", "done"), view("b", "B", "done")])] == ["a"]
    story.welcome([view("c", "C", "done"), view("d", "D")], never)
    assert [turn.id for turn in story.turns] == ["a", "b", "c", "d"]


def test_an_opening_of_which_nothing_was_said_appears() -> None:
    changes = Story().token(OPENING, 1, 0, "You")
    assert [type(change) for change in changes] == [Appeared, Told]


def test_reopened_waits_unless_the_new_attempt_was_quicker() -> None:
    story = Story()
    story.token("a", 1, 0, "One")
    story.end("a", 1, "stop", None)
    mark = story.turns[0].mark
    story.reopened("a", mark, None)
    assert story.turns[0].state == "waiting"
    story.token("a", 2, 0, "Two")
    story.end("a", 2, "stop", None)
    story.reopened("a", mark, "other")
    assert (story.turns[0].state, story.turns[0].said) == ("done", "other")


def test_continue_goes_on_in_the_same_take() -> None:
    story = Story()
    story.token("a", 1, 0, "One")
    story.end("a", 1, "length", None)
    story.reopened("a", story.turns[0].mark, None)
    assert [type(change) for change in story.token("a", 1, 3, " two")] == [Told]
    assert story.turns[0].state == "telling"


@pytest.mark.parametrize(
    ("reason", "state"),
    [("stop", "done"), ("length", "done"), ("deadline", "done"), ("cancelled", "stopped"), ("error", "failed")],
)
def test_how_a_reply_ended(reason: str, state: str) -> None:
    story = Story()
    story.end("a", 1, reason, None)
    assert (story.turns[0].state, story.turns[0].reason) == (state, reason)


def test_choices_come_with_the_end() -> None:
    story = Story()
    story.token("a", 1, 0, "You stand.\n> Knock on the green door.\n  >  Wait. \n>\n")
    assert story.turns[0].choices == []
    story.end("a", 1, "stop", None)
    assert story.turns[0].choices == ["Knock on the green door.", "Wait."]


def test_a_continued_reply_offers_only_its_last_choices() -> None:
    turn = Turn("a", reply="You stand.\n> Knock.\n> Wait.\n\nIt rains.\n> Run.", state="done")
    assert turn.choices == ["Run."]


def test_what_is_offered_twice_is_one_choice() -> None:
    turn = Turn("a", reply="You stand.\n> Knock.\n> Wait.\n> Knock.", state="done")
    assert turn.choices == ["Knock.", "Wait."]


def test_an_answer_is_no_turn_of_the_story() -> None:
    story = Story()
    story.said("q", "who are you?")
    assert [type(change) for change in story.answered(ANSWER)] == [Altered]
    assert story.answered(ANSWER) == []
    assert not story.begun
    assert story.last is None


def test_a_reply_that_is_rewritten_keeps_what_it_was_as_a_take() -> None:
    story = Story()
    story.said("a", "I knock")
    story.token("a", 1, 0, "Nobody opens.")
    story.end("a", 1, "stop", None)
    kinds = [type(change) for change in story.rewritten("a", "A hatch opens.")]
    assert kinds == [Restarted, Told, Ended]
    (turn,) = story.turns
    assert (turn.reply, turn.state, turn.take) == ("A hatch opens.", "done", 2)
    assert turn.takes == [Take(1, "I knock", "Nobody opens.")]
    # The server says the same.
    assert story.welcome([TurnView("a", "I knock", "A hatch opens.", "done", 2)], lambda _: False) == []
    assert story.rewritten("none", "x") == []


def test_a_line_that_the_prologue_heard_is_no_turn_of_the_story() -> None:
    story = Story()
    story.said("a", "I knock")
    heard = Aside("a", "Not yet.", kept=True)
    assert [type(change) for change in story.put_aside(heard)] == [Altered]
    assert story.put_aside(heard) == []
    story.assure("a")
    assert (story.begun, story.last) == (False, None)
    (turn,) = story.turns
    assert (turn.state, turn.reply, turn.kept) == ("answered", "Not yet.", True)
    again = Story()
    again.welcome([TurnView("a", "I knock", "Not yet.", "answered", 1, kept=True)], lambda _: False)
    assert (again.turns[0].kept, again.begun) == (True, False)


def test_a_line_just_said_has_not_ended_the_prologue_yet() -> None:
    story = Story()
    story.said("a", "hello?")
    assert not story.begun
    story.said("b", "I knock")
    assert [type(change) for change in story.assure("b")] == [Altered]
    assert story.begun


def test_what_was_told_says_how_far_the_reply_had_come_by_then() -> None:
    story = Story()
    changes = [*story.token("a", 1, 0, "One "), *story.token("a", 1, 4, "two.\n> Go"), *story.token("a", 1, 13, " on.")]
    told = [change for change in changes if isinstance(change, Told)]
    # A screen may hear of it when the reply has long grown.
    assert [change.so_far for change in told] == ["One ", "One two.\n> Go", "One two.\n> Go on."]
    assert [without_choices(change.so_far, change.text) for change in told] == ["One ", "two.\n", ""]
