"""The terminal client's stories: takes, export and import, what is kept between visits."""

from __future__ import annotations

from pathlib import Path

from client.terminal import story_file
from client.terminal.story_file import StoryFile
from tests.browser.fake_play import FakePlay
from tests.unit.client.terminal.terminal_process import piped, terminal


async def test_stories_takes_export_and_import(tmp_path: Path) -> None:
    exported = tmp_path / "story.json"
    async with FakePlay(wait_s=0.1) as server, terminal(server.address, tmp_path, size=(40, 100)) as client:
        await client.until("Ah. I heard the bell.")
        client.type("/skip\r")
        await client.until("1 Ask the boy his name.")
        client.type("/retry\r")
        await client.until("1 Listen.")
        client.forget()
        client.type("/takes 1\r")
        await client.until("Take 1 of 2")
        await client.until("Follow the marble street.")
        client.type(f"/stories name The boy\r/export {exported}\r")
        await client.until("keep it to yourself")
        client.type("/again\r")
        await client.until("A new visitor comes to the gate.")
        await client.until("Come in under the arch")
        client.forget()
        client.type("/stories\r")
        await client.until("2  The boy")
        client.type("/stories 2\r")
        await client.until("1 Listen.")
        client.forget()
        client.type("/takes 1\r")
        await client.until("Take 1 of 2")
        client.type("/takes 1 on\r")
        await client.until("1 Ask the boy his name.")
        assert server.turn("opening")["reply"].startswith("The gate swings wide")
        client.type("/import none.json\r")
        await client.until("could not be read: No such file or directory.")
        assert server.hellos == [None, None, "s" * 32]
    (tmp_path / "other").mkdir()
    async with FakePlay(wait_s=0.1) as server, terminal(server.address, tmp_path / "other", size=(40, 100)) as client:
        await client.until("Ah. I heard the bell.")
        shared = tmp_path / "shared.json"
        shared.write_text(exported.read_text().replace(f'"{"s" * 32}"', "null"))
        client.type(f"/import {shared}\r")
        await client.until("That was to read only; your own story goes on.")
        assert "the bell rings once" in client.shown
        assert server.hellos == [None]


def assert_same(one: StoryFile, other: StoryFile) -> None:
    """The same story, for the one who goes on with it; a client that heard no attempt at an aside counts none."""
    about = [
        (
            story.session,
            story.world,
            story.prologue,
            [(turn.id, turn.said, turn.reply, turn.takes) for turn in story.turns],
        )
        for story in (one, other)
    ]
    assert about[0] == about[1]


async def test_an_exported_story_goes_on_elsewhere_with_its_prologue_and_takes(tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{name}.json" for name in ("first", "second", "third"))
    async with FakePlay(wait_s=0.1, line_s=0.1) as server:
        async with terminal(server.address, tmp_path / "here", size=(40, 100)) as client:
            await client.until("(/say")
            client.type("/say I knock on the door\r")
            await client.until("Kept for when the storyteller wakes")
            client.type("Ada\r")
            await client.until("1 green")
            client.type("2\r")
            await client.until("1 Ask the boy his name.")
            client.type("/retry\r")
            await client.until("1 Listen.")
            client.type(f"/export {first}\r")
            await client.until("keep it to yourself")
            client.type("/quit\r")
            assert await client.process.wait() == 0
        kept = story_file.read(first.read_bytes())
        assert (kept.session, kept.world) == (server.session, "emerald_city")
        lines = [entry.text or entry.asked or entry.said or (entry.turn and "aside") for entry in kept.prologue]
        assert lines == [
            "Ah. I heard the bell.", "Come in under the arch, out of the sun.", "aside",
            "What name shall I write in the book?", "Ada", "Nobody goes in without spectacles.",
            "Which glass shall I lock on for you?", "gold", "There. The gate is open.",
        ]  # fmt: skip
        assert [len(turn.takes) for turn in kept.turns] == [0, 1]

        # The file is imported where nothing is known of the story, and exported and saved from there ...
        async with terminal(server.address, tmp_path / "there", "--new", size=(40, 100)) as client:
            await client.until("Ah. I heard the bell.")
            client.type(f"/import {first}\r")
            await client.until("1 Listen.")
            assert server.hellos[-1] == kept.session
            client.type(f"/export {second}\r")
            await client.until("keep it to yourself")
            assert_same(story_file.read(second.read_bytes()), kept)
            client.type(f"/save {tmp_path / 'story.md'}\r/quit\r")
            assert await client.process.wait() == 0
        saved = (tmp_path / "story.md").read_text()
        order = [saved.index(words) for words in ("Ah. I heard", "> I knock on the door", "> gold", "the bell rings")]
        assert order == sorted(order)
        # ... and again after a return, and where it was played first.
        for home in ("there", "here"):
            third.unlink(missing_ok=True)
            async with terminal(server.address, tmp_path / home, size=(40, 100)) as client:
                await client.until("1 Listen.")
                client.type(f"/takes 1\r/export {third}\r")
                await client.until("Take 1 of 2")
                await client.until("keep it to yourself")
            assert_same(story_file.read(third.read_bytes()), kept)


async def test_a_return_into_the_prologue_keeps_its_lines_once(tmp_path: Path) -> None:
    file = tmp_path / "story.json"
    async with FakePlay(wait_s=0.1, line_s=0.1) as server:
        for _ in range(2):
            async with terminal(server.address, tmp_path) as client:
                await client.until("(/say")
                client.type("/quit\r")
                assert await client.process.wait() == 0
        async with terminal(server.address, tmp_path) as client:
            await client.until("(/say")
            client.type(f"/export {file}\r")
            await client.until("keep it to yourself")
    texts = [entry.text for entry in story_file.read(file.read_bytes()).prologue]
    assert texts == ["Ah. I heard the bell.", "Come in under the arch, out of the sun."]


async def test_what_cannot_be_written_is_not_said_to_be_there(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.1) as server:
        commands = f"/skip\n/export {tmp_path / 'none' / 'story.json'}\n/save {tmp_path / 'none' / 'story.md'}\n"
        status, out, complaints = await piped(server.address, tmp_path, commands)
    assert (status, complaints) == (0, "")
    assert out.count("could not be written to") == 2
    assert "Whoever has this file" not in out
    assert "The story is in" not in out
