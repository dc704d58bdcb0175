"""The terminal client: what is shown and typed, through pipes and in a terminal of its own."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

import pytest

from tests.browser.fake_play import ANSWER, HEARD, FakePlay
from tests.unit.client.terminal.terminal_process import piped, terminal


async def test_through_pipes(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.2) as server:
        status, out, complaints = await piped(server.address, tmp_path, "What can you do?\n/skip\n")
        assert (status, complaints) == (0, "")
        assert ANSWER in out
        assert "joined by rows of bright stones.\n" in out
        assert out.count("The gate swings") == 1
        assert "  1 Ask the boy his name.\n  2 Follow the marble street.\n" in out
        # The next visit goes on with the same story.
        status, out, _ = await piped(server.address, tmp_path, "/backstage\n")
        assert server.hellos == [None, "s" * 32]
        assert out.count("The gate swings") == 1
        assert "  2 Follow the marble street.\n" in out


async def test_the_prologue_hears_a_line_and_the_story_begins_when_it_is_told_to(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.2) as server:
        status, out, complaints = await piped(server.address, tmp_path, "hello\nI knock on the door\n/skip\n")
        assert (status, complaints) == (0, "")
        assert out.count(HEARD) == 2
        assert out.count("Kept for when the storyteller wakes") == 1
        assert out.index(HEARD) < out.index("The gate swings")
        assert [turn["id"] for turn in server.turns][2:] == ["opening"]


async def test_waiting_is_never_silent_for_three_seconds(tmp_path: Path) -> None:
    async with FakePlay(wait_s=7) as server:
        _, out, _ = await piped(server.address, tmp_path, "/skip\n")
        assert len(re.findall(r"\[Awake .* s so far\]", out)) >= 2


async def test_in_a_terminal(tmp_path: Path) -> None:
    async with FakePlay(wait_s=3, line_s=0.3) as server, terminal(server.address, tmp_path) as client:
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
        assert server.profile == {"name": "Ada", "spectacles": "gold"}
        client.type("/memory spectacles blue\r/memory\r")
        await client.until("The colour of your spectacles (/memory spectacles …)  blue")
        assert "joined by rows of bright stones." in re.sub(r"\s+", " ", client.shown)

        server.token_s = 0.2
        client.type("1\r")
        await client.until("You do")
        client.type("2\r")
        await client.until("There are no choices yet.")
        assert [frame["text"] for frame in server.heard if frame["action"] == "say"][-1] == "Ask the boy his name."
        client.type("\x03")  # Ctrl-C stops the reply …
        await client.until("Stopped.")
        assert client.process.returncode is None
        client.type("\x03")  # … and the next one leaves
        assert await client.process.wait() == 0


async def test_a_second_interrupt_leaves_while_a_reply_is_being_told(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.1, token_s=5) as server, terminal(server.address, tmp_path) as client:
        await client.until("Ah. I heard the bell.")
        client.type("/skip\r")
        await client.until("draws breath")
        client.process.send_signal(signal.SIGINT)
        while not server.stopped:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        client.process.send_signal(signal.SIGINT)
        assert await client.process.wait() == 0


async def test_a_cut_connection_goes_on_where_it_was(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.1, token_s=0.05) as server, terminal(server.address, tmp_path) as client:
        await client.until("Ah. I heard the bell.")
        client.type("/skip\r")
        await client.until("The gate swings")
        await server.cut()
        await client.until("1 Ask the boy his name.")
        # Above the lines below, which are drawn again and again, each line of the story stands once.
        assert "A boy with a tray of green lemonade looks up." in client.shown
        assert server.hellos == [None, "s" * 32]


async def test_several_lines_and_what_was_said_before(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.1) as server, terminal(server.address, tmp_path) as client:
        await client.until("Ah. I heard the bell.")
        client.type("/skip\r")
        await client.until("1 Ask the boy his name.")
        client.type("I look up\nand down")  # Ctrl-J begins a line, Enter sends them all
        await client.until("and down")
        assert all(frame["action"] != "say" for frame in server.heard)
        client.type("\r")
        await client.until("“I look up")
        await client.until("1 Go on.")
        client.type("I wait\x1b[A")  # up: what was said before; down: what was being written
        client.type("\x1b[B\x1b[A\r")
        async with asyncio.timeout(20):
            while sum(frame["action"] == "say" for frame in server.heard) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        said = [frame["text"] for frame in server.heard if frame["action"] == "say"]
        assert said == ["I look up\nand down"] * 2


async def test_a_terminal_that_is_resized(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.1) as server, terminal(server.address, tmp_path, size=(24, 100)) as client:
        await client.until("Ah. I heard the bell.")
        client.type("/skip\r")
        await client.until("1 Ask the boy his name.")
        assert any(len(line) > 60 for line in client.shown.splitlines()), "a line as wide as the terminal"
        typed = "I walk all the way along the marble street"
        client.type(typed)
        await client.until(typed)
        client.forget()
        client.resize(24, 40)
        # Drawn again by itself, in lines that fit.
        await client.until("the marble")
        client.type("\r")
        await client.until("2 Turn back.")
        assert "I walk all the way along" in client.shown
        assert max(len(line.rstrip()) for line in client.shown.splitlines()) <= 40


async def test_again_and_new_start_over(tmp_path: Path) -> None:
    async with FakePlay(wait_s=0.1) as server:
        async with terminal(server.address, tmp_path) as client:
            await client.until("Ah. I heard the bell.")
            client.type("/again\r")
            await client.until("A new visitor comes to the gate.")
            await client.until("Come in under the arch")
            client.type("/quit\r")
            assert await client.process.wait() == 0
        async with terminal(server.address, tmp_path, "--new") as client:
            await client.until("Ah. I heard the bell.")
            client.type("\x04")
            assert await client.process.wait() == 0
        assert server.hellos == [None, None, None]


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
    async with FakePlay(wait_s=0.2) as server:
        status, out, complaints = await piped(server.address, tmp_path, "What can you do?\n/skip\n", **encoding)
        assert (status, complaints) == (0, "")
        assert "> What can you do?" in out
        assert "? Green marble runs" in out, "a sign that the console lacks"
        assert "  2 Follow the marble street.\n" in out
