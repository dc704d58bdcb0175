"""The terminal client as its visitors start it: through pipes, and in a terminal of its own."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pyte
import pytest

from client.terminal import story_file
from client.terminal.story_file import StoryFile
from tests.browser.fake_play import ANSWER, HEARD, FakePlay

ROOT = Path(__file__).parents[3]
CLIENT = [sys.executable, "-m", "client.terminal"]
#: Makes its input the controlling terminal of its session, so that Ctrl-C is a signal, and goes on as what it is given.
CONTROLLED = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Terminal:
    """A terminal client running on `fd`, and what a terminal of this size has shown of it."""

    def __init__(self, process: asyncio.subprocess.Process, fd: int, size: tuple[int, int]) -> None:
        self.process, self._fd = process, fd
        self._screen = pyte.HistoryScreen(size[1], size[0], history=10_000)
        self._stream = pyte.ByteStream(self._screen)
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the other end is closed
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
        self._stream.feed(data)
        self._news.set()

    @property
    def shown(self) -> str:
        """The lines that scrolled away since `forget`, and those on the screen."""
        columns = range(self._screen.columns)
        gone = ["".join(line[column].data for column in columns) for line in self._screen.history.top]
        return "\n".join(line.rstrip() for line in [*gone, *self._screen.display])

    def forget(self) -> None:
        self._screen.history.top.clear()
        self._screen.erase_in_display(2)

    async def until(self, text: str, times: int = 1) -> None:
        """Waits until this is shown so often."""
        async with asyncio.timeout(60):
            while self.shown.count(text) < times:
                self._news.clear()
                await self._news.wait()

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def resize(self, rows: int, columns: int) -> None:
        """As a window's edge does: the kernel tells the client (SIGWINCH)."""
        self._screen.resize(rows, columns)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@asynccontextmanager
async def terminal(
    address: str, home: Path, *options: str, size: tuple[int, int] = (30, 80)
) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    environment |= {"XDG_STATE_HOME": str(home), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CONTROLLED, *CLIENT, *options, address,
        cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    client = Terminal(process, ours, size)
    try:
        yield client
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


async def piped(address: str, home: Path, said: str, **environment: str) -> tuple[int | None, str, str]:
    """Runs the client with this for its input. Gives its status, what it wrote, and its complaints."""
    process = await asyncio.create_subprocess_exec(
        *CLIENT, address, cwd=ROOT, env=os.environ | {"XDG_STATE_HOME": str(home)} | environment,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, complaints = await process.communicate(said.encode())
    return process.returncode, out.decode(errors="replace"), complaints.decode(errors="replace")


async def test_through_pipes(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.2) as house:
        status, out, complaints = await piped(house.address, tmp_path, "What can you do?\n/skip\n")
        assert (status, complaints) == (0, "")
        assert ANSWER in out
        assert "joined by rows of bright stones.\n" in out
        assert out.count("The gate swings") == 1
        assert "  1 Ask the boy his name.\n  2 Follow the marble street.\n" in out
        # The next visit goes on with the same story.
        status, out, _ = await piped(house.address, tmp_path, "/backstage\n")
        assert house.hellos == [None, "s" * 32]
        assert out.count("The gate swings") == 1
        assert "  2 Follow the marble street.\n" in out


async def test_the_prologue_hears_a_line_and_the_story_begins_when_it_is_told_to(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.2) as house:
        status, out, complaints = await piped(house.address, tmp_path, "hello\nI knock on the door\n/skip\n")
        assert (status, complaints) == (0, "")
        assert out.count(HEARD) == 2
        assert out.count("Kept for when the storyteller wakes") == 1
        assert out.index(HEARD) < out.index("The gate swings")
        assert [turn["id"] for turn in house.turns][2:] == ["opening"]


async def test_waiting_is_never_silent_for_three_seconds(tmp_path: Path) -> None:
    async with FakePlay(wait_s=7) as house:
        _, out, _ = await piped(house.address, tmp_path, "/skip\n")
        assert len(re.findall(r"\[Awake .* s so far\]", out)) >= 2


async def test_in_a_terminal(tmp_path: Path) -> None:
    async with FakePlay(wait_s=3, line_s=0.3) as house, terminal(house.address, tmp_path) as client:
        await client.until("Ah. I heard the bell.")
        await client.until("Awake in about")
        await client.until("What name shall I write")
        await client.until("(/say says something else)")
        client.type("who are you\r")
        await client.until("What name shall I write", times=2)
        client.type("Adb\x7fa\r")
        await client.until("1 green")
        client.type("mauve\r")
        await client.until("Choose one of these")
        client.type("2\r")
        await client.until("1 Ask the boy his name.")
        assert house.profile == {"name": "Ada", "spectacles": "gold"}
        client.type("/memory spectacles blue\r/memory\r")
        await client.until("The colour of your spectacles (/memory spectacles …)  blue")
        assert "joined by rows of bright stones." in re.sub(r"\s+", " ", client.shown)

        house.token_s = 0.2
        client.type("1\r")
        await client.until("You do")
        client.type("2\r")
        await client.until("There are no choices yet.")
        assert [frame["text"] for frame in house.heard if frame["action"] == "say"][-1] == "Ask the boy his name."
        client.type("\x03")  # Ctrl-C stops the reply …
        await client.until("Stopped.")
        assert client.process.returncode is None
        client.type("\x03")  # … and the next one leaves
        assert await client.process.wait() == 0


async def test_a_second_interrupt_leaves_while_a_reply_is_being_told(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.1, token_s=5) as house, terminal(house.address, tmp_path) as client:
        await client.until("Ah. I heard the bell.")
        client.type("/skip\r")
        await client.until("draws breath")
        client.process.send_signal(signal.SIGINT)
        while not house.stopped:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        client.process.send_signal(signal.SIGINT)
        assert await client.process.wait() == 0


async def test_a_cut_connection_goes_on_where_it_was(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.1, token_s=0.05) as house, terminal(house.address, tmp_path) as client:
        await client.until("Ah. I heard the bell.")
        client.type("/skip\r")
        await client.until("The gate swings")
        await house.cut()
        await client.until("1 Ask the boy his name.")
        # Above the lines below, which are drawn again and again, each line of the story stands once.
        assert "A boy with a tray of green lemonade looks up." in client.shown
        assert house.hellos == [None, "s" * 32]


async def test_several_lines_and_what_was_said_before(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.1) as house, terminal(house.address, tmp_path) as client:
        await client.until("Ah. I heard the bell.")
        client.type("/skip\r")
        await client.until("1 Ask the boy his name.")
        client.type("I look up\nand down")  # Ctrl-J begins a line, Enter sends them all
        await client.until("and down")
        assert all(frame["action"] != "say" for frame in house.heard)
        client.type("\r")
        await client.until("“I look up")
        await client.until("1 Go on.")
        client.type("I wait\x1b[A")  # up: what was said before; down: what was being written
        client.type("\x1b[B\x1b[A\r")
        async with asyncio.timeout(20):
            while sum(frame["action"] == "say" for frame in house.heard) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        said = [frame["text"] for frame in house.heard if frame["action"] == "say"]
        assert said == ["I look up\nand down"] * 2


async def test_a_terminal_that_is_resized(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.1) as house, terminal(house.address, tmp_path, size=(24, 100)) as client:
        await client.until("Ah. I heard the bell.")
        client.type("/skip\r")
        await client.until("1 Ask the boy his name.")
        assert any(len(line) > 60 for line in client.shown.splitlines()), "a line as wide as the terminal"
        typed = "I walk all the way along the marble street"
        client.type(typed)
        await client.until(typed)
        client.forget()
        client.resize(24, 40)
        # Drawn anew by itself, in lines that fit.
        await client.until("the marble")
        client.type("\r")
        await client.until("2 Turn back.")
        assert "I walk all the way along" in client.shown
        assert max(len(line.rstrip()) for line in client.shown.splitlines()) <= 40


async def test_again_and_new_start_over(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.1) as house:
        async with terminal(house.address, tmp_path) as client:
            await client.until("Ah. I heard the bell.")
            client.type("/again\r")
            await client.until("A new visitor comes to the gate.")
            await client.until("Come in under the arch")
            client.type("/quit\r")
            assert await client.process.wait() == 0
        async with terminal(house.address, tmp_path, "--new") as client:
            await client.until("Ah. I heard the bell.")
            client.type("\x04")
            assert await client.process.wait() == 0
        assert house.hellos == [None, None, None]


@pytest.mark.parametrize(
    ("address", "words"),
    [("http://127.0.0.1:9", "Nobody answers at http://127.0.0.1:9/"), ("elsewhere", "is not the address of a page")],
)
async def test_no_way_in_is_one_sentence(tmp_path: Path, address: str, words: str) -> None:
    status, out, complaints = await piped(address, tmp_path, "")
    assert (status, out) == (1, "")
    assert words in complaints
    assert complaints.count("\n") == 1


@pytest.mark.parametrize(
    "encoding", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "latin-1"}]
)
async def test_a_console_that_is_not_utf_8_shows_every_line(tmp_path: Path, encoding: dict[str, str]) -> None:
    async with FakePlay(wait_s=0.2) as house:
        status, out, complaints = await piped(house.address, tmp_path, "What can you do?\n/skip\n", **encoding)
        assert (status, complaints) == (0, "")
        assert "> What can you do?" in out
        assert "? Green marble runs" in out, "a sign that the console lacks"
        assert "  2 Follow the marble street.\n" in out


async def test_stories_takes_export_and_import(tmp_path: Path) -> None:
    exported = tmp_path / "story.json"
    async with FakePlay(wait_s=0.1) as house, terminal(house.address, tmp_path, size=(40, 100)) as client:
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
        assert house.turn("opening")["reply"].startswith("The gate swings wide")
        client.type("/import none.json\r")
        await client.until("could not be read: No such file or directory.")
        assert house.hellos == [None, None, "s" * 32]
    (tmp_path / "other").mkdir()
    async with FakePlay(wait_s=0.1) as house, terminal(house.address, tmp_path / "other", size=(40, 100)) as client:
        await client.until("Ah. I heard the bell.")
        shared = tmp_path / "shared.json"
        shared.write_text(exported.read_text().replace(f'"{"s" * 32}"', "null"))
        client.type(f"/import {shared}\r")
        await client.until("That was to read only; your own story goes on.")
        assert "the bell rings once" in client.shown
        assert house.hellos == [None]


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
    async with FakePlay(wait_s=0.1, line_s=0.1) as house:
        async with terminal(house.address, tmp_path / "here", size=(40, 100)) as client:
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
        assert (kept.session, kept.world) == (house.session, "emerald_city")
        lines = [entry.text or entry.asked or entry.said or (entry.turn and "aside") for entry in kept.prologue]
        assert lines == [
            "Ah. I heard the bell.", "Come in under the arch, out of the sun.", "aside",
            "What name shall I write in the book?", "Ada", "Nobody goes in without spectacles.",
            "Which glass shall I lock on for you?", "gold", "There. The gate is open.",
        ]  # fmt: skip
        assert [len(turn.takes) for turn in kept.turns] == [0, 1]

        # The file is imported where nothing is known of the story, and exported and saved from there ...
        async with terminal(house.address, tmp_path / "there", "--new", size=(40, 100)) as client:
            await client.until("Ah. I heard the bell.")
            client.type(f"/import {first}\r")
            await client.until("1 Listen.")
            assert house.hellos[-1] == kept.session
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
            async with terminal(house.address, tmp_path / home, size=(40, 100)) as client:
                await client.until("1 Listen.")
                client.type(f"/takes 1\r/export {third}\r")
                await client.until("Take 1 of 2")
                await client.until("keep it to yourself")
            assert_same(story_file.read(third.read_bytes()), kept)


async def test_a_return_into_the_prologue_keeps_its_lines_once(tmp_path: Path) -> None:
    file = tmp_path / "story.json"
    async with FakePlay(wait_s=0.1, line_s=0.1) as house:
        for _ in range(2):
            async with terminal(house.address, tmp_path) as client:
                await client.until("(/say")
                client.type("/quit\r")
                assert await client.process.wait() == 0
        async with terminal(house.address, tmp_path) as client:
            await client.until("(/say")
            client.type(f"/export {file}\r")
            await client.until("keep it to yourself")
    texts = [entry.text for entry in story_file.read(file.read_bytes()).prologue]
    assert texts == ["Ah. I heard the bell.", "Come in under the arch, out of the sun."]


async def test_what_cannot_be_written_is_not_said_to_be_there(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.1) as house:
        commands = f"/skip\n/export {tmp_path / 'none' / 'story.json'}\n/save {tmp_path / 'none' / 'story.md'}\n"
        status, out, complaints = await piped(house.address, tmp_path, commands)
    assert (status, complaints) == (0, "")
    assert out.count("could not be written to") == 2
    assert "Whoever has this file" not in out
    assert "The story is in" not in out
