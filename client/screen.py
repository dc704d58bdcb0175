"""What the terminal shows: a live screen for people, plain lines where there is no terminal.

Both take the same few calls. Neither knows the wire or what the words mean. All text comes from a
model or a visitor, so nothing in it is taken for markup or for the terminal's own codes.
"""

from __future__ import annotations

import re
import sys
import time
from typing import Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from client.editor import Editor

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")

#: Without a terminal a line of waiting is written when nothing else was for so many seconds.
SILENCE_S = 2.5


def clean(text: str) -> str:
    """The text without control characters, line breaks aside."""
    return _CONTROL.sub("", text.replace("\t", " "))


class Screen(Protocol):
    """What a screen can show."""

    def speak(self, text: str, speaker: str | None) -> None:
        """A character's fragment."""

    def say(self, text: str) -> None:
        """The visitor's line."""

    def tell(self, text: str) -> None:
        """More of the story, to follow what was told before."""

    def pause(self) -> None:
        """The story has come to an end for now; what was told is complete."""

    def offer(self, choices: list[str]) -> None:
        """Choices, to be taken by number."""

    def note(self, text: str, *, style: str = "dim") -> None:
        """An aside of the house."""

    def table(self, title: str, rows: list[tuple[str, str]]) -> None:
        """Names and values."""

    def status(self, words: str, figures: str = "", progress: float | None = None) -> None:
        """What is being waited for; empty: nothing."""


class LiveScreen:
    """A terminal: what is complete scrolls away above, below it the line being told, the state and the input."""

    def __init__(self, console: Console, editor: Editor) -> None:
        self._console, self._editor = console, editor
        self._telling = ""
        self._speaker: str | None = None
        self._status: tuple[str, str, float | None] = ("", "", None)
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )

    def start(self) -> None:
        """Takes the terminal's last lines."""
        self._live.start()

    def stop(self) -> None:
        """Gives the terminal back."""
        self._live.stop()

    def speak(self, text: str, speaker: str | None) -> None:
        """A character's fragment."""
        if speaker and speaker != self._speaker:
            self._print(Text(f"\n{clean(speaker)}", style="bold yellow"))
        self._speaker = speaker
        self._print(Text(clean(text)))

    def say(self, text: str) -> None:
        """The visitor's line."""
        self._speaker = None
        self._print(Padding(Text(f"› {clean(text)}", style="bold green"), (1, 0, 1, 0)))

    def tell(self, text: str) -> None:
        """More of the story."""
        self._speaker = None
        *lines, self._telling = (self._telling + clean(text)).split("\n")
        for line in lines:
            self._print(Text(line))
        # Full lines scroll away; only the last, unfinished one stays below and grows.
        wrapped = list(Text(self._telling).wrap(self._console, self._console.width))
        if len(wrapped) > 1:
            *whole, rest = wrapped
            for piece in whole:
                self._print(piece)
            # Not `rest` itself: wrapping has taken the space at its end, and the next word may follow.
            self._telling = self._telling[len(self._telling.rstrip()) - len(rest.plain.strip()) :]
        self.draw()

    def pause(self) -> None:
        """What was told is complete."""
        if self._telling:
            self._print(Text(self._telling))
        self._telling = ""
        self.draw()

    def offer(self, choices: list[str]) -> None:
        """Choices, to be taken by number."""
        for number, choice in enumerate(choices, 1):
            self._print(Text.assemble((f"  {number} ", "bold green"), clean(choice)))

    def note(self, text: str, *, style: str = "dim") -> None:
        """An aside of the house."""
        self._print(Text(clean(text), style=style))

    def table(self, title: str, rows: list[tuple[str, str]]) -> None:
        """Names and values."""
        self._print(Text(f"\n{title}", style="bold"))
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        for name, value in rows:
            table.add_row(Text(clean(name), style="dim"), Text(clean(value)))
        self._print(Padding(table, (0, 0, 1, 0)))

    def status(self, words: str, figures: str = "", progress: float | None = None) -> None:
        """What is being waited for."""
        self._status = (words, figures, progress)
        self.draw()

    def draw(self) -> None:
        """Draws the lines below: as they are now, at the width the terminal has now."""
        words, figures, progress = self._status
        parts: list[Text] = [Text(self._telling)] if self._telling else []
        if words:
            line = Text(no_wrap=True, overflow="ellipsis")
            if progress is not None:
                full = round(12 * progress)
                line.append("━" * full, "green").append("━" * (12 - full), "dim").append(" ")
            parts.append(line.append(words, "green").append(f"  {figures}", "dim"))
        text, cursor = self._editor.text, self._editor.cursor
        entry = Text("› ", style="bold green")
        entry.append(text[:cursor], "default")
        under = text[cursor : cursor + 1]
        entry.append(under if under not in ("", "\n") else " ", "reverse")
        entry.append(under.strip(" ") if under == "\n" else "", "default").append(text[cursor + 1 :], "default")
        self._live.update(Group(*parts, entry), refresh=True)

    def _print(self, what: Text | Padding) -> None:
        if self._live.is_started:
            self._live.console.print(what)
        else:
            self._console.print(what)


class PlainScreen:
    """A pipe or a file: lines, and now and then a word about what is being waited for."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._open = False
        self._speaker: str | None = None
        self._wrote_at = time.monotonic()

    def speak(self, text: str, speaker: str | None) -> None:
        """A character's fragment."""
        if speaker and speaker != self._speaker:
            self._line(f"\n{speaker}:")
        self._speaker = speaker
        self._line(text)

    def say(self, text: str) -> None:
        """The visitor's line."""
        self._speaker = None
        self._line(f"› {text}")

    def tell(self, text: str) -> None:
        """More of the story."""
        self._speaker = None
        self._write(clean(text))
        self._open = not text.endswith("\n")

    def pause(self) -> None:
        """What was told is complete."""
        if self._open:
            self._write("\n")
        self._open = False

    def offer(self, choices: list[str]) -> None:
        """Choices, to be taken by number."""
        for number, choice in enumerate(choices, 1):
            self._line(f"  {number} {choice}")

    def note(self, text: str, *, style: str = "dim") -> None:
        """An aside of the house."""
        self._line(f"[{text}]")

    def table(self, title: str, rows: list[tuple[str, str]]) -> None:
        """Names and values."""
        self._line(title)
        for name, value in rows:
            self._line(f"  {name}: {value}")

    def status(self, words: str, figures: str = "", progress: float | None = None) -> None:
        """What is being waited for, if nothing else was written for a while."""
        if words and not self._open and time.monotonic() - self._wrote_at >= SILENCE_S:
            self._line(f"[{words}{', ' if figures else ''}{figures}]")

    def _line(self, text: str) -> None:
        self.pause()
        self._write(clean(text) + "\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
        self._wrote_at = time.monotonic()
