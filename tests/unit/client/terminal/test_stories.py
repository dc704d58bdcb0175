"""Stories are kept like keys, by name, and can be taken elsewhere."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from client.session.story import Take, Turn
from client.terminal import story_file
from client.terminal.stories import Stories
from client.terminal.story_file import Entry, StoryFile, StoryFileError


def test_stories_are_kept_per_address_and_for_their_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "overture" / "sessions.json"
    here, there = Stories("http://a", file), Stories("http://b", file)
    assert here.current is None
    assert here.keep("one", "The Emerald City")
    assert there.keep("two")
    assert [here.current, there.current] == ["one", "two"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert here.leave()
    assert here.current is None
    assert [story.session for story in here.all()] == ["one"], "left, and still there to go on with"


def test_the_latest_story_comes_first_and_a_name_stays(tmp_path: Path) -> None:
    stories = Stories("http://a", tmp_path / "sessions.json")
    stories.keep("one", "The Emerald City", "The boy")
    stories.keep("two", "The Emerald City")
    assert [story.session for story in stories.all()] == ["two", "one"]
    stories.keep("one")
    assert next((story.session, story.called) for story in stories.all()) == ("one", "The boy")
    assert stories.all()[1].called.startswith("The Emerald City, ")


def test_a_file_of_the_version_before_is_read(tmp_path: Path) -> None:
    file = tmp_path / "sessions.json"
    file.write_text('{"http://a": "one"}')
    stories = Stories("http://a", file)
    assert (stories.current, [story.session for story in stories.all()]) == ("one", ["one"])


def test_a_broken_file_holds_nothing_and_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "sessions.json"
    file.write_text("{not json")
    stories = Stories("http://a", file)
    assert stories.current is None
    assert stories.keep("one")
    assert stories.current == "one"


def test_where_nothing_can_be_kept_nothing_breaks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not Stories("http://a", tmp_path / "file" / "sessions.json").keep("one")


def test_a_story_file_comes_back_as_it_was() -> None:
    turn = Turn("a", "hi", "Once.\n> On.", "done", 2, takes=[Take(1, "hi", "Twice.")])
    prologue = [Entry(beat="gate", speaker="Guardian", text="Halt!"), Entry(asked="Who?"), Entry(said="Ada")]
    story = StoryFile(
        1, "The boy", "The Emerald City", "emerald_city", "s" * 22, prologue, story_file.file_turns([turn])
    )
    again = story_file.read(story_file.write(story))
    assert again == story
    assert again.turns[0].as_turn().takes == turn.takes


def test_what_is_kept_of_a_story_is_for_its_owner_only_and_does_not_name_the_session(tmp_path: Path) -> None:
    session = "s" * 22
    story = StoryFile(1, "", "The Emerald City", "w", session, [Entry(said="Ada")], [])
    stories = Stories("http://a", tmp_path / "overture" / "sessions.json")
    assert stories.story(session) is None
    assert stories.keep_story(story)
    (file,) = (tmp_path / "overture" / "stories").iterdir()
    assert session not in file.name
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent)] == [0o600, 0o700]
    assert Stories("http://a", tmp_path / "overture" / "sessions.json").story(session) == story
    file.write_text("{not json")
    assert Stories("http://a", tmp_path / "overture" / "sessions.json").story(session) is None


def test_where_no_story_can_be_kept_it_lasts_as_long_as_the_program(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stories = Stories("http://a", tmp_path / "file" / "sessions.json")
    story = StoryFile(1, "", "", "w", "s" * 22, [], [])
    assert not stories.keep_story(story)
    assert stories.story("s" * 22) == story


def test_takes_come_back_to_their_turns_and_one_told_elsewhere_meanwhile_is_a_former_take() -> None:
    kept = story_file.file_turns([Turn("a", "hi", "Second.", "done", 2, takes=[Take(1, "hi", "First.")])])
    same, later = Turn("a", "hi", "Second.", "done", 2), Turn("a", "hi", "Third.", "done", 3)
    for turn in (same, later, Turn("b")):
        story_file.restore_takes([turn], kept)
    assert same.takes == [Take(1, "hi", "First.")]
    assert later.takes == [Take(1, "hi", "First."), Take(2, "hi", "Second.")]
    story_file.restore_takes([later], kept)
    assert len(later.takes) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("{}", "overture_story"),
        ('{"overture_story": 2}', "`overture_story`"),
        ('{"overture_story": 1, "name": 3}', "`name`"),
        ('{"overture_story": 1, "name": "", "title": "", "world": "", "session": "x"}', "`session`"),
    ],
)
def test_a_file_that_is_no_story_gets_one_sentence(text: str, words: str) -> None:
    with pytest.raises(StoryFileError, match=words):
        story_file.read(text)
