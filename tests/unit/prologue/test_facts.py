from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from prologue.answers.embedder import Embedder
from prologue.answers.index import AnswerIndexError, load_answer_index
from prologue.answers.index_build.builder import build_answer_index
from prologue.check import check_world
from prologue.knowledge.facts_file import WORDS, Fact, read_facts
from prologue.knowledge.facts_index import MOST_FACTS, VECTORS, load_facts, map_index, phrases, write_facts
from prologue.new_world import make_world
from prologue.world import WorldError

WORLDS = sorted(Path("prologue/worlds").iterdir())


@pytest.mark.parametrize(("world", "least"), [("emerald_city", 40), ("quiet_shore", 12)])
def test_the_shipped_worlds_know_something(world: str, least: int) -> None:
    facts = read_facts(Path("prologue/worlds") / world / "facts.yaml")
    assert len(facts) >= least
    assert all(fact.about and len(fact.text.split()) <= WORDS for fact in facts)


def test_a_world_may_know_nothing(tmp_path: Path) -> None:
    assert read_facts(tmp_path / "facts.yaml") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one: two", "this must be a list, found a mapping"),
        ("- {id: a}", "line 1, a: `text` is missing"),
        ("- {id: a, text: T, abut: x}", "line 1, a: `abut` is not a key"),
        ("[{id: a, text: T}, {id: a, text: U}]", "fact a: another fact has this id"),
        (f"- {{id: a, text: {'word ' * 41}}}", "`text` has 41 words; say it in 40"),
        ("- {id: a, text: The lamp (Agnes).}", "round brackets"),
    ],
)
def test_a_wrong_file_is_refused_with_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "facts.yaml").write_text(text)
    with pytest.raises(WorldError, match=said):
        read_facts(tmp_path / "facts.yaml")


def test_check_finds_two_facts_about_the_same(tmp_path: Path) -> None:
    folder = make_world("house", tmp_path)
    (folder / "facts.yaml").write_text("[{id: a, text: T, about: the well}, {id: b, text: U, about: The well!}]")
    assert "facts a and b: both are about 'The well!'; leave it to one of them." in check_world(folder)


def test_check_finds_a_fact_about_what_nobody_is_asked(tmp_path: Path) -> None:
    folder = make_world("house", tmp_path)
    (folder / "facts.yaml").write_text("[{id: a, text: 'Your name is {name}.'}, {id: b, text: 'You are {age} old.'}]")
    wrong = "facts b: `{age}` is not in `profile` of world.yaml; add it there or mend it."
    assert [said for said in check_world(folder) if said.startswith("facts")] == [wrong]


@pytest.fixture(scope="module")
def house(embedder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with three facts beside it."""
    folder = make_world("house", tmp_path_factory.mktemp("worlds"))
    (folder / "facts.yaml").write_text(
        "- {id: well, text: The well behind the house is dry in August., about: [the well, I draw water]}\n"
        "- {id: dog, text: The dog of the house is called Brass., about: [the dog, I hear barking]}\n"
        "- {id: stair, text: The third stair creaks., about: [the stairs]}\n"
    )
    report = build_answer_index(folder / "answers.yaml", folder / "index", embedder=embedder)
    assert report.facts == 3
    return folder / "index"


def test_an_index_finds_the_facts_that_bear_on_a_line(house: Path) -> None:
    index = load_answer_index(house)
    assert index.facts("I throw a stick for the dog") == ["The dog of the house is called Brass."]
    assert index.facts("I think of my uncle in Leeds") == []
    line = index.consult("I lower the bucket into the well", "story")
    assert (line.match, line.facts) == (None, ["The well behind the house is dry in August."])
    answered = index.consult("Who are you?", "prologue")
    assert answered.match is not None
    assert answered.facts == []


def test_facts_of_another_embedder_are_refused(house: Path, tmp_path: Path, model: Embedder) -> None:
    raw = json.loads((house / "facts.json").read_text())
    (house / "facts.json").write_text(json.dumps({**raw, "embedder": "another"}))
    with pytest.raises(AnswerIndexError, match="build it again"):
        load_answer_index(house)
    (house / "facts.json").write_text(json.dumps(raw))
    assert load_answer_index(house).facts("the dog")
    assert load_facts(tmp_path, model.id).find(np.zeros(384, np.float32)) == [], "a world may know nothing"


def test_relevance_on_labelled_lines(tmp_path: Path, model: Embedder) -> None:
    """The figures of docs/worlds.md: the right fact comes first, and lines about nothing bring up nothing."""
    facts = read_facts(Path("prologue/worlds/emerald_city/facts.yaml"))
    write_facts(tmp_path, facts, model.embed(phrases(facts)), model.id)
    notes = load_facts(tmp_path, model.id)
    texts = {fact.id: fact.text for fact in facts}
    file = Path(__file__).with_name("data") / "fact_lines.yaml"
    lines = yaml.safe_load(file.read_text())
    chosen_on = len(yaml.safe_load(file.read_text().partition("# held out")[0]))
    found = [notes.find(vector) for vector in model.embed([line for line, _ in lines])]
    assert all(len(given) <= MOST_FACTS for given in found)

    def figures(part: slice) -> tuple[int, int, int, int]:
        pairs = list(zip(lines[part], found[part], strict=True))
        about = [(expected, given) for (_, expected), given in pairs if expected]
        right = sum(bool(given) and given[0] in [texts[name] for name in expected] for expected, given in about)
        nothing = [given for (_, expected), given in pairs if not expected]
        return len(about), right, len(nothing), sum(map(bool, nothing))

    about, right, nothing, wrong = figures(slice(chosen_on))
    assert (about, nothing) == (71, 30)
    assert right >= 65, "nine in ten"
    assert wrong <= 1
    about, right, nothing, wrong = figures(slice(chosen_on, None))
    assert (about, nothing) == (30, 15)
    assert right >= 25, "of lines the bar was not chosen on"
    assert wrong <= 1


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux shows what a process has mapped")
def test_an_index_is_mapped_and_outlives_its_file(tmp_path: Path) -> None:
    rows = np.eye(4, dtype=np.float32)
    write_facts(tmp_path, [Fact("a", "b", ("c", "d", "e"))], rows, "embedder")
    path = tmp_path / VECTORS
    index = map_index(path)
    assert str(path) in Path("/proc/self/maps").read_text()
    shutil.rmtree(tmp_path)  # as a new index does with the one in use
    assert index.search(rows[2:3], 1)[1].tolist() == [[2]]
