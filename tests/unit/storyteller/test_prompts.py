"""What a reply is made from: the prompt, the sampling, the form, a reply that goes on."""

from __future__ import annotations

from typing import Any

import msgspec

from overture import leases, protocol
from overture.sessions import SessionTransaction
from tests.unit.storyteller.shift import SETTINGS, WORLD, Shift, ends


def test_the_prompt_has_the_profile_and_the_story_so_far_without_written_answers(shift: Shift) -> None:
    shift.work(shift.say("a", "I knock."))
    shift.sessions.update(shift.key, lambda tx: tx.add_turn("q", "What can you do?", reply="Tell.", state="answered"))
    shift.work(shift.say("b", "I go in."))
    assert shift.story() == ["My name: Nim\n\nI knock.", "You stand at the gate.", "I go in."]


def test_what_the_world_knows_stands_before_the_line_within_its_budget(shift: Shift) -> None:
    shift.settings = msgspec.structs.replace(SETTINGS, knowledge_tokens=5)
    shift.work(shift.say("a", notes=["The bell is silver.", "Nobody rings.", "It is deaf."]))
    (end,) = ends(shift.connections.take())
    assert end.notes == ["The bell is silver."], "the nearest first, the others do not fit"
    shift.settings = msgspec.structs.replace(SETTINGS, knowledge_tokens=100)
    shift.work(shift.say("b", "I go in."))
    first, second = shift.engine.prompts
    assert first[-1]["content"] == "My name: Nim\n\n(The bell is silver.)\n\nI knock."
    assert second[: len(first)] == first, "the next prompt begins with this one, whatever the budget is by then"


def test_a_long_story_keeps_within_the_context(shift: Shift) -> None:
    shift.engine.words = ["word "] * 200
    for n in range(8):
        shift.work(shift.say(f"t{n}"))
    assert all(shift.engine.count_chat(messages) <= 1024 - 320 for messages in shift.engine.prompts)
    assert len(shift.engine.prompts[-1]) > 3, "and still has some of the story"


def go_on(tx: SessionTransaction) -> Any:
    turn = tx.turn(1)
    assert turn is not None
    turn.base, turn.state = len(turn.reply), "waiting"
    tx.put(turn)
    leases.append(tx, turn)
    return leases.reserve(tx, SETTINGS).token


def test_a_reply_that_was_cut_goes_on_in_the_middle(shift: Shift) -> None:
    shift.engine.reason = "length"
    shift.work(shift.say("a"))
    shift.connections.take()
    shift.engine.words = [" It ", "opens."]
    shift.work(shift.sessions.update(shift.key, go_on))
    assert shift.engine.went_on == [False, True]
    assert shift.engine.prompts[-1][-1] == {"role": "assistant", "content": "You stand at the gate."}
    tokens = [message for message in shift.connections.take() if isinstance(message, protocol.Token)]
    assert tokens[0].at == len("You stand at the gate.")
    assert shift.reply("a") == ("You stand at the gate. It opens.", "done")


def test_every_line_is_held_to_the_form_of_the_world_from_where_it_stands(shift: Shift) -> None:
    shift.engine.reason = "length"
    shift.work(shift.say("a"))
    shift.work(shift.sessions.update(shift.key, go_on))
    first, continued = shift.engine.sampled
    assert WORLD.reply is not None
    assert first.grammar is not None
    assert first.grammar.text == WORLD.reply.first_part()
    assert (first.begun, continued.begun) == ("", "You stand at the gate.")
    assert continued.grammar is not None


def test_a_reply_is_drawn_as_the_model_says_unless_a_setting_does(shift: Shift) -> None:
    shift.work(shift.say("a"))
    shift.engine.defaults = {"temperature": 0.3, "top_k": 5, "min_p": 0.2}
    shift.settings = msgspec.structs.replace(SETTINGS, temperature=1.0)
    shift.work(shift.say("b"))
    story, told = shift.engine.sampled
    assert (story.temperature, story.top_p, story.top_k, story.min_p) == (0.7, 0.9, 0, 0.05)
    assert (told.temperature, told.top_p, told.top_k, told.min_p) == (1.0, 0.9, 5, 0.2)


def test_a_reply_that_had_ended_gets_another_paragraph(shift: Shift) -> None:
    shift.work(shift.say("a"))
    shift.engine.words = ["It ", "opens."]
    shift.work(shift.sessions.update(shift.key, go_on))
    assert shift.engine.went_on == [False, False]
    assert shift.story() == ["My name: Nim\n\nI knock.", "You stand at the gate.", "Go on."]
    assert shift.reply("a") == ("You stand at the gate.\n\nIt opens.", "done")
