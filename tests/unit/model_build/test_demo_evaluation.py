"""The evaluation's trials and judgements, without a model: the simulator's own replies must come out right."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from model_build.demo.city import City
from model_build.demo.evaluation import NOTE_TOKENS, count, count_by_hand, find_notes, play_on, wilson
from model_build.demo.folder import SAMPLING
from model_build.demo.judging import acted, judge, patterns, repeated, split
from model_build.demo.trials import (
    Trial,
    ask_facts,
    ask_notes,
    by_hand,
    known_wordings,
    make_trials,
    remember,
    repeat,
    stranger,
    wording,
)
from model_build.demo.walk import plain
from overture.settings import Settings
from prologue.prompt import fit_notes
from prologue.world import World

SCENE = "“Good day, Ada,” says the baker, and lifts a hand. A cat bows. It smells of mint."
CHOICES = "\n\n> Go to the market square.\n> Look at the oven."


def test_the_simulators_own_replies_are_judged_right(city: City, world: World) -> None:
    trials = [*make_trials(city, 120), *ask_notes(city, 30), *repeat(city, 48)]
    told = iter(trials)
    counts, samples = count(city, world, trials, lambda messages, seed: (plain(next(told).expected), True), "test")
    assert len(samples) == 8
    rows = {row[:-3] for row in counts if row.endswith("/of")}
    assert {"name copied", "companion copied", "reason copied", "spectacles copied", "note used"} <= rows
    for row in rows:
        assert counts[row] == counts[f"{row}/of"], row
    assert counts["note used/of"] >= 30
    assert counts["visitor's words repeated/of"] >= 48


def test_a_line_that_somebody_else_worded_alike_is_told_apart(city: City) -> None:
    known = known_wordings(city)
    assert wording("Hello!") in known
    assert wording("I should like to polish the third lamp on the left") not in known


def test_what_is_asked_of_the_memory_was_settled_before(city: City) -> None:
    trials = [*remember(city, 30), *ask_facts(city, 40)]
    for trial in trials:
        assert trial.wanted
        right = judge(city, trial, f"{trial.wanted}, it is.{CHOICES}", True, patterns(city))
        wrong = judge(city, trial, f"Nobody knows.{CHOICES}", True, patterns(city))
        row = f"{trial.fact} copied" if trial.fact in trial.facts else "state after five turns"
        assert (right[row], wrong[row], wrong[f"{row}/of"]) == (1, 0, 1)
    assert all(len(trial.before) == 6 for trial in trials[:30])  # the first comes to the place
    held = [trial for trial in trials[:30] if trial.fact == "what you hold"]
    assert all(trial.wanted in trial.before[1].reply for trial in held)


def test_a_fact_told_wrong_is_seen(city: City) -> None:
    profile = {**stranger(Random(1), alone=False), "name": "Evander"}
    trial = Trial(profile, [], "hello", "bakery", "greet", "expected")
    counts = judge(city, trial, "“You have sharp eyes, Evanda,” says the baker." + CHOICES, True, patterns(city))
    assert (counts["name copied"], counts["name copied/of"]) == (0, 1)


@pytest.mark.parametrize(("told", "right"), [("your sweetheart", 1), ("your sweethart", 0)])
def test_a_mention_that_two_phrases_fit_counts_once(city: City, told: str, right: int) -> None:
    profile = {**stranger(Random(1), alone=False), "companion": "my sweetheart"}
    trial = Trial(profile, [], "hello", "bakery", "greet", "expected")
    scene = f"At your side, {told} stops short and looks from one thing to the next."
    assert len({match[1] for way in patterns(city)["companion"] for match in way.finditer(scene)}) == 2
    counts = judge(city, trial, scene + CHOICES, True, patterns(city))
    assert (counts["companion copied"], counts["companion copied/of"]) == (right, 1)


@pytest.mark.parametrize(
    ("said", "intent", "target", "scene", "right"),
    [
        ("walk to the market", "go", "market", "You come into the market square. A cat bows. It is noon.", True),
        ("walk to the market", "go", "market", "The baker laughs. A cat bows. It is noon.", False),
        ("hi", "greet", "", SCENE, True),
        ("bye", "greet", "", "“Well met,” says the baker. A cat bows. It is noon.", False),
        ("sit", "wait", "", "You sit down on a step. A cat bows. It is noon.", True),
        ("hola", "foreign", "", "“I understand only English,” says the baker. A cat bows. It is noon.", True),
        ("hola", "foreign", "", SCENE, False),
        ("no", "refuse", "", "You walk to the market square. A cat bows. It is noon.", False),
        ("what's my name", "self", "", "“You are Evander,” says the baker. A cat bows. It is noon.", True),
        ("what's my name", "self", "", "“You are Eva,” says the baker. A cat bows. It is noon.", False),
        ("hi", "greet", "", "“Hello,” says the baker.", False),
    ],
)
def test_a_hand_written_line_is_judged_by_its_table(
    said: str, intent: str, target: str, scene: str, right: bool
) -> None:
    profile = {**stranger(Random(1), alone=False), "name": "Evander"}
    assert acted(Trial(profile, [], said, "bakery", intent, target=target), scene + CHOICES) == right


def test_the_hand_written_lines_come_at_their_places(city: City) -> None:
    trials = by_hand(city)
    assert len(trials) >= 300
    assert len({trial.intent for trial in trials}) >= 12
    for trial in trials:
        assert trial.place in city.places
        assert len(trial.before) == 1


def test_a_line_by_hand_that_has_notes_is_told_with_them_as_well(city: City, world: World) -> None:
    profile = stranger(Random(1), alone=False)
    trials = [Trial(profile, [], said, "bakery", "greet") for said in ("hello there", "bye for ever")]
    sent: list[str] = []

    def tell(messages: list[dict[str, str]], seed: int) -> tuple[str, bool]:
        sent.append(messages[-1]["content"])
        return (SCENE if "A bell rings at noon." in sent[-1] else "Nothing. Nothing. Nothing.") + CHOICES, True

    notes = {"hello there": [], "bye for ever": ["A bell rings at noon."]}
    counts = count_by_hand(city, world, trials, tell, notes, "test")
    assert ["A bell" in content for content in sent] == [False, False, True]
    assert (counts["right action"], counts["right action/of"]) == (0, 2)
    assert (counts["right action with the play's notes"], counts["right action with the play's notes/of"]) == (1, 2)
    assert counts["right action, as the generator words it/of"] == 1
    assert counts["right action, worded as in no list/of"] == 1
    assert "three to six sentences/of" not in counts  # replies to lines by hand are counted for what they did


def test_notes_are_cut_as_the_storyteller_cuts_them() -> None:
    long = " ".join(["word"] * (NOTE_TOKENS - 2))
    for notes, kept in (([long, "one two"], 2), ([long, "one two three"], 1), ([long + " and so on"], 0), ([], 0)):
        assert fit_notes(notes, NOTE_TOKENS, lambda text: len(text.split())) == notes[:kept]
    assert Settings().knowledge_tokens == NOTE_TOKENS


def test_an_evaluation_without_an_answer_book_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no answer book in .*python -m prologue build"):
        find_notes(tmp_path)


def test_repeated_sentences_and_broken_choices_are_counted(world: World) -> None:
    assert repeated(["A cat bows. It is noon."], "It is noon. A dog bows. A dog bows.") == (2, 3)
    assert split("Scene.\n\n> One.\n> One.")[2] is False
    assert split(SCENE + CHOICES) == (SCENE, ["Go to the market square.", "Look at the oven."], True)
    counts = play_on(world, 2, lambda messages, seed: (SCENE + CHOICES, True))
    assert (counts["sentence not told before"], counts["sentence not told before/of"]) == (6, 42)


def test_wilsons_interval() -> None:
    found = wilson(190, 200)
    assert (found["share"], found["low"], found["high"]) == (0.95, 0.9104, 0.9726)
    assert wilson(0, 0)["share"] is None
    assert wilson(200, 200)["high"] == 1.0


def test_replies_are_sampled_as_the_storyteller_samples() -> None:
    told = Settings()
    assert {key: getattr(told, key) for key in SAMPLING} == SAMPLING
