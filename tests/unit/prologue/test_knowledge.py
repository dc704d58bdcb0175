from __future__ import annotations

from pathlib import Path

import pytest

from prologue.check import check_world
from prologue.knowledge import WORDS, read_knowledge
from prologue.new_world import make_world
from prologue.world import WorldError

WORLDS = sorted(Path("prologue/worlds").iterdir())


@pytest.mark.parametrize(("world", "least"), [("emerald_city", 40), ("quiet_shore", 12)])
def test_the_shipped_worlds_know_something(world: str, least: int) -> None:
    facts = read_knowledge(Path("prologue/worlds") / world / "knowledge.yaml")
    assert len(facts) >= least
    assert all(fact.about and len(fact.text.split()) <= WORDS for fact in facts)


def test_a_world_may_know_nothing(tmp_path: Path) -> None:
    assert read_knowledge(tmp_path / "knowledge.yaml") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one: two", "it must be a list of entries"),
        ("- {id: a}", r"entry 1 \(a\): `text` must be a text"),
        ("- {id: a, text: T, abut: x}", r"entry 1 \(a\): `abut` is not a key"),
        ("[{id: a, text: T}, {id: a, text: U}]", "entry a: another entry has this id"),
        (f"- {{id: a, text: {'word ' * 41}}}", "`text` has 41 words; say it in 40"),
        ("- {id: a, text: The lamp (Agnes).}", "round brackets"),
    ],
)
def test_a_wrong_file_is_refused_with_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "knowledge.yaml").write_text(text)
    with pytest.raises(WorldError, match=said):
        read_knowledge(tmp_path / "knowledge.yaml")


def test_check_finds_two_facts_about_the_same(tmp_path: Path) -> None:
    folder = make_world("house", tmp_path)
    (folder / "knowledge.yaml").write_text("[{id: a, text: T, about: the well}, {id: b, text: U, about: The well!}]")
    assert "knowledge a and b: both are about 'The well!'; leave it to one of them." in check_world(folder)
