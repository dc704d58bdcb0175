from __future__ import annotations

import pytest

from prologue.answers.guards import read_features
from prologue.answers.normalize import Speller, fold


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("Can I save?", "can i save"),
        ("So, can I save right now?", "Can I save?"),
        ("What\u2019s this?", "what is this"),
        ("Hey, WHO ARE YOU?!", "Who are you?"),
    ],
)
def test_lines_that_differ_in_courtesies_only_have_one_normal_form(line: str, same: str) -> None:
    assert read_features(line).exact == read_features(same).exact


def test_negation_is_seen() -> None:
    assert read_features("Can't I save?").negated
    assert not read_features("Can I save?").negated


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("ty!!", "thank you!"),
        ("whats ur name", "what's your name"),
        ("idk what to say lol", "I don't know what to say"),
        ("lol", "lol"),
        ("\uff48\uff45\uff4c\uff50", "help"),
        ("sooooo slow", "soo slow"),
        ("u", "u"),
        ("Tom", "Tom"),
        ("the Tin Man", "the Tin Man"),
    ],
)
def test_slang_is_folded(line: str, plain: str) -> None:
    assert fold(line) == plain


def test_one_slip_is_corrected_and_real_words_and_names_stay() -> None:
    speller = Speller({"spectacles", "wizard", "story"}, {"lizard", "stony"}.__contains__)
    assert speller.correct("the spectacels of the wizzard") == "the spectacles of the wizard"
    assert speller.correct("the lizard, stony") == "the lizard, stony"
    assert speller.correct("Wizart and his stry") == "Wizart and his story"
    assert speller.correct("wizxyd") == "wizxyd"
