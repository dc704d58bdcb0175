"""The scores of played replies: what each counts, on replies whose scores are known."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.storyteller import __main__ as storyteller
from bench.storyteller import scores
from bench.storyteller.lines import OPENING, QUESTION
from bench.storyteller.scores import bootstrap, is_english, keeps_form, knows, repeats_itself, to_the_point, wilson

GOOD = "You walk to the gate, Thessaly.\n\n> Knock.\n> Wait a little."


def turn(said: str, reply: str, intent: str = "go", **more: Any) -> dict[str, Any]:
    timing = {"tokens": 10, "ttft_s": 0.05, "total_s": 0.5}
    return {"said": said, "intent": intent, "notes": [], "reply": reply, "reason": "stop", **timing, **more}


def dialogue(*turns: dict[str, Any], number: int = 0, **profile: str) -> dict[str, Any]:
    return {"run": "tiny", "dialogue": number, "profile": profile, "turns": list(turns)}


def first_words(texts: Sequence[str]) -> Any:
    """Texts that begin with the same letter are near to each other."""
    vectors = np.zeros((len(texts), 128))
    for row, text in enumerate(texts):
        vectors[row, ord(text[:1].lower() or " ") % 128] = 1
    return vectors


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        (GOOD, True),
        (GOOD + "\n", True),
        ("You walk.\n> Knock.\n> Wait.", True),  # a blank line more or less is no matter
        ("You walk.\n\n> Knock.", False),
        ("You walk.\n\n> Knock.\n> Wait.\n> Sing.", False),
        ("You walk.\n\n> Knock.\n> knock!", False),
        ("You walk.\n\n> Knock.\n> Wait.\n\nThen you sleep.", False),
        ("You walk.\n\n> Knock.\n> ", False),
        ("> Knock.\n> Wait.", False),
        ("You walk.\n\n> Knock.\n> " + "very " * 40, False),
        ("", False),
    ],
)
def test_the_form_is_a_scene_and_two_different_choices(reply: str, kept: bool) -> None:
    assert keeps_form(turn("go", reply)) is kept


def test_a_reply_that_was_cut_has_not_kept_the_form() -> None:
    assert not keeps_form(turn("go", GOOD, reason="length"))


@pytest.mark.parametrize(
    ("value", "scene", "known"),
    [
        ("Oisín", "“Your name is Oisin,” she says.", True),
        ("Thessaly", "“Your name is Tessaly,” she says.", False),
        ("Captain Barnaby Rook", "“Captain Rook!” he shouts.", True),
        ("Captain Barnaby Rook", "“Captain!” he shouts.", False),
        ("my aunt Zofie", "Your aunt Zofie waves.", True),
        ("two hedgehogs", "Nobody is with you.", False),
        ("to return a borrowed ladder", "You came to return the ladder that you borrowed.", True),
        ("to return a borrowed ladder", "You came to see the Wizard.", False),
        ("dark blue", "Your spectacles are dark blue.", True),
        ("red", "You are tired.", False),
    ],
)
def test_what_is_known_of_the_visitor_is_found_in_its_forms(value: str, scene: str, known: bool) -> None:
    assert knows(value, scene) is known


@pytest.mark.parametrize(
    ("scene", "repeated"),
    [
        ("A boy waves at you. You wave at the boy.", False),
        ("A boy waves at you. The bell rings. A boy waves at you!", True),
        ("“Yes.” You nod. “Yes.” She nods.", False),
        ("You see the man in the man in the man in the man in the hall.", True),
        ("“Ha ha ha ha,” says the clown, again and again and again.", False),
    ],
)
def test_a_sentence_told_twice_and_a_loop_are_repetitions(scene: str, repeated: bool) -> None:
    assert repeats_itself(scene) is repeated


def test_english_words_are_found_in_their_forms_and_in_both_spellings() -> None:
    for word in ("Lamplighters", "colours", "recognised", "stopped", "don’t", "storyteller's", "café"):
        assert is_english(word), word
    for word in ("thillm", "yourister", "Zofie's", "�"):
        assert not is_english(word), word


def test_a_word_that_the_model_had_read_is_not_strange() -> None:
    told = "Thessaly’s zorble meets Glinda and a krumpf, and Blivet."
    one = dialogue(turn("", "A krumpf."), turn("hi zorble", told), name="Thessaly")
    assert scores.strange_words(one, 1, "Glinda is good.") == ["krumpf", "Blivet"]


def test_wilsons_interval() -> None:
    assert wilson(95, 100) == pytest.approx((0.95, 0.8882, 0.9785, 100), abs=1e-4)
    assert wilson(10, 10).high == 1.0
    assert math.isnan(wilson(0, 0).value)


def test_whole_dialogues_are_drawn_for_an_interval() -> None:
    alike = bootstrap([[1.0, 3.0]] * 5, statistics.fmean)
    assert alike == (2.0, 2.0, 2.0, 10)
    apart = bootstrap([[1.0, 1.0]] * 5 + [[3.0, 3.0]] * 5, statistics.fmean)
    assert apart.value == 2.0
    assert 1.0 < apart.low < 2.0 < apart.high < 3.0


def test_a_reply_is_to_the_point_when_it_is_nearest_to_its_own_line() -> None:
    letters = "abcdefghijklmnopqrstuvwx"
    played = [dialogue(turn(f"{one} line", f"{one} reply"), number=n) for n, one in enumerate(letters)]
    assert to_the_point(played, first_words) == [True] * len(letters)
    played[0]["turns"][0]["reply"] = "zebra"
    assert to_the_point(played, first_words) == [False] + [True] * (len(letters) - 1)
    # As near as another's is not nearest; questions and openings are no hand-written lines.
    twins = [dialogue(turn("a", "a b"), turn("x", "y", QUESTION), number=number) for number in range(2)]
    assert to_the_point(twins, first_words) == [False, False]


def test_a_run_is_scored_in_every_row() -> None:
    one = dialogue(
        turn("", "You stand at the gate. The wind is cold.", OPENING),
        turn("knock", GOOD, total_s=1.0),
        turn("Who am I?", "She does not know your name. The wind is cold.", "self", asks="name", reason="length"),
        turn("And now?", GOOD, QUESTION, asks="name"),
        name="Thessaly",
    )
    found = scores.score([one], "", first_words)
    shares = {
        "form kept": (2, 3),
        "ends by itself": (2, 3),
        "second person": (3, 3),
        "name right when asked": (1, 2),
        "repeats itself in a reply": (0, 3),
        "repeats a sentence of an earlier reply": (2, 3),
    }
    for row, (right, of) in shares.items():
        assert found[row].value == pytest.approx(right / of), row
        assert found[row].of == of, row
    assert found["companion right when asked"].of == 0
    assert found["strange words"].value == 0
    assert found["words a reply (mean)"].value == pytest.approx((10 + 10 + 10) / 3)
    assert found["tokens/s (median)"].value == pytest.approx(20)
    assert found["first token, ms (median)"].value == pytest.approx(50)


def test_the_command_prints_a_table_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [dialogue(turn("", "A gate."), turn("knock", GOOD), number=n, name="Thessaly") for n in range(2)]
    path = tmp_path / "run.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(storyteller, "OUT", tmp_path)
    assert storyteller.main(["score", str(path), "--blind", "1"]) == 0
    printed = capsys.readouterr().out
    assert "| form kept | 50.0%" in printed
    assert "Strange words of tiny: none." in printed
    assert json.loads((tmp_path / "storyteller.json").read_text())["tiny"]["second person"][0] == 0.5
    assert (tmp_path / "storyteller-blind.md").exists()
    assert storyteller.main(["score", str(path), "--pairs", "1"]) == 1
    assert "two runs or more" in capsys.readouterr().err
