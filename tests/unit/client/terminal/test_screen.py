"""What the terminal shows: every word once, and none of a model's control codes."""

from __future__ import annotations

import io
import itertools

from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.input import DummyInput
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from client.terminal.live_screen import LiveScreen
from client.terminal.screen import PlainScreen

TOLD = (
    "The gate swings wide, and the light of the Emerald City falls on your shoes. 🟢 Zwölf Stufen führen "
    "hinauf.\n\nA boy with a tray of green lemonade looks up.\nNobody says aword."
)


def live_screen(width: int) -> tuple[LiveScreen, io.StringIO]:
    """A screen that has not taken the terminal's last lines: only what scrolls away is written."""
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=True)
    keyboard = {"typed": print, "interrupt": print, "leave": print}
    return LiveScreen(console, **keyboard, input=DummyInput(), output=DummyOutput()), out


@given(st.lists(st.integers(1, len(TOLD) - 1)), st.integers(12, 100))
def test_a_streamed_reply_scrolls_away_whole(cuts: list[int], width: int) -> None:
    screen, out = live_screen(width)
    places = [0, *sorted(set(cuts)), len(TOLD)]
    for start, end in itertools.pairwise(places):
        screen.tell(TOLD[start:end])
    screen.pause()
    assert out.getvalue().split() == TOLD.split()
    assert max(len(line) for line in out.getvalue().splitlines()) <= width


def test_a_model_cannot_command_the_terminal() -> None:
    hostile = "\x1b[2J\x1b]0;title\x07Hello\r\x9b31m there[bold] [/x]\x08"
    harmless = "[2J]0;titleHello31m there[bold] [/x]"
    plain_out = io.StringIO()
    plain = PlainScreen(plain_out)
    live, live_out = live_screen(100)
    for screen in (plain, live):
        screen.tell(hostile)
        screen.pause()
        screen.speak(hostile, hostile)
        screen.say(hostile)
        screen.note(hostile)
        screen.offer([hostile])
        screen.table("Title", [(hostile, hostile)])
    for out in (plain_out, live_out):
        assert not set(out.getvalue()) & set("\x1b\x07\r\x08\x9b")
        assert out.getvalue().count(harmless) == 8


def test_plain_lines() -> None:
    out = io.StringIO()
    screen = PlainScreen(out)
    screen.speak("Halt.", "The Guardian")
    screen.speak("Who is it?", "The Guardian")
    screen.say("Ada")
    screen.tell("You ")
    screen.tell("stand.")
    screen.note("Stopped.")
    screen.offer(["Go on."])
    screen.status("Awake in about 3 s", "40% read")  # so soon after something else, it is not needed
    assert out.getvalue() == "\nThe Guardian:\nHalt.\nWho is it?\n› Ada\nYou stand.\n[Stopped.]\n  1 Go on.\n"
