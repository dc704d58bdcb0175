from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prologue.answers.guards import find_entities, objection, read_features, read_words


def judge(line: str, phrasing: str, in_story: bool = False, any_name: bool = False) -> str | None:
    return objection(read_features(line), read_features(phrasing), read_words(phrasing), any_name, in_story)


@pytest.mark.parametrize(
    ("line", "phrasing", "why"),
    [
        ("can i save", "Can I save?", None),
        ("Could you tell me whether I can save?", "Can I save?", None),
        ("I'd like to know how I save", "How do I save?", None),
        ("Can't I save?", "Can I save?", "negation"),
        ("Why is there no sound?", "Why is there sound?", "negation"),
        ("Play without sound", "Play with sound", "negation"),
        ("How do I turn it off and on", "How do I turn it off?", None),
        ("How do I turn the music on?", "How do I turn the music off?", "opposite"),
        ("How do I log out?", "How do I log in?", "opposite"),
        ("Can two play?", "Can 2 play?", None),
        ("Can three play?", "Can two play?", "number"),
        ("Do you speak Finnish?", "Do you speak German?", "name"),
        ("Can you hear me?", "Can I hear you?", "roles"),
        ("yes", "Yes, save it", "leaning"),
        ("the second one", "What is the second one called?", "leaning"),
        ("Why?", "Why do I wait?", "leaning"),
        ("and who are you really?", "Who are you?", "leaning"),
        ("Who are you really?", "Who are you?", None),
        ("What can she do?", "What can you do?", "leaning"),
        ("I ask the wizard what he can do", "What can you do?", "story"),
        ('"What can you do?" I ask', "What can you do?", "speech"),
        ("*opens the gate*", "How do I open the gate?", "speech"),
        ("I want to save my story", "Can I save my story?", None),
        ("Where is the code?", "Why is the code open?", "question"),
        ("How old is it?", "How long is it?", "question"),
        ("How large is it?", "How big is it?", None),
    ],
)
def test_objection(line: str, phrasing: str, why: str | None) -> None:
    assert judge(line, phrasing) == why


def test_in_a_story_the_form_must_agree() -> None:
    assert judge("save my story", "Can I save my story?") is None
    assert judge("save my story", "Can I save my story?", in_story=True) == "form"
    assert judge("save my story", "Save my story now", in_story=True) is None


def test_any_name_lets_names_and_numbers_pass() -> None:
    assert judge("Do you speak Finnish?", "Do you speak German?", any_name=True) is None
    assert judge("Is this Llama 3?", "Is this Llama?", any_name=True) is None


def test_entities_are_words_with_a_capital_only() -> None:
    lines = ["Ask Dorothy about the Lion", "the lion sleeps", "Can I see it?", "Toto barks", "I thank Toto"]
    assert find_entities(lines) == {"dorothy", "toto"}
    assert read_features("can i be dorothy", {"dorothy"}).names == {"dorothy"}


def test_the_polarity_set() -> None:
    rows = [json.loads(line) for line in Path("bench/data/polarity.jsonl").read_text().splitlines()]
    assert len(rows) >= 200
    let_through = [row["other"] for row in rows if judge(row["other"], row["phrasing"]) is None]
    silenced = [row["same"] for row in rows if judge(row["same"], row["phrasing"]) is not None]
    assert len(let_through) <= 0.03 * len(rows), let_through
    assert not silenced


@given(st.text(max_size=200))
def test_any_line_has_signs_and_agrees_with_itself(line: str) -> None:
    features = read_features(line)
    assert objection(features, features, read_words(line), False, False) in (None, "name")
