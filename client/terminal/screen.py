"""What the terminal shows: the calls that every screen takes, and plain lines where there is no terminal.

All text comes from a model or a visitor, so nothing in it is taken for markup or for the terminal's own codes.
"""

from __future__ import annotations

import re
import sys
import time
from typing import Protocol, TextIO

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")

#: What stands for the signs that a console without them cannot show.
_ASCII = str.maketrans({"›": ">", "“": '"', "”": '"', "‘": "'", "’": "'", "…": "...", "—": "-", "–": "-", "◆": "*"})

#: Without a terminal a line of waiting is written when nothing else was for so many seconds.
SILENCE_S = 2.5


def clean(text: str) -> str:
    """The text without control characters, line breaks aside."""
    return _CONTROL.sub("", text.replace("\t", " "))


def encodable(text: str, encoding: str | None) -> str:
    """The text as a console of this encoding can show it: plain quotes for curly ones, `?` for what it lacks."""
    name = encoding or "utf-8"  # a file in memory has none
    try:
        text.encode(name)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(name, "replace").decode(name)
    except LookupError:
        return encodable(text, "ascii")
    return text


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
        """An aside, not part of the story."""

    def table(self, title: str, rows: list[tuple[str, str]]) -> None:
        """Names and values."""

    def status(self, words: str, figures: str = "", progress: float | None = None) -> None:
        """What is being waited for; empty: nothing."""


class PlainScreen:
    """A pipe or a file: lines, and now and then a word about what is being waited for."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._open = False
        self._speaker: str | None = None
        self._wrote_at = time.monotonic()

    def speak(self, text: str, speaker: str | None) -> None:
        if speaker and speaker != self._speaker:
            self._line(f"\n{speaker}:")
        self._speaker = speaker
        self._line(text)

    def say(self, text: str) -> None:
        self._speaker = None
        self._line(f"› {text}")

    def tell(self, text: str) -> None:
        self._speaker = None
        self._write(clean(text))
        self._open = not text.endswith("\n")

    def pause(self) -> None:
        if self._open:
            self._write("\n")
        self._open = False

    def offer(self, choices: list[str]) -> None:
        for number, choice in enumerate(choices, 1):
            self._line(f"  {number} {choice}")

    def note(self, text: str, *, style: str = "dim") -> None:
        self._line(f"[{text}]")

    def table(self, title: str, rows: list[tuple[str, str]]) -> None:
        self._line(title)
        for name, value in rows:
            self._line(f"  {name}: {value}")

    def status(self, words: str, figures: str = "", progress: float | None = None) -> None:
        if words and not self._open and time.monotonic() - self._wrote_at >= SILENCE_S:
            self._line(f"[{words}{', ' if figures else ''}{figures}]")

    def _line(self, text: str) -> None:
        self.pause()
        self._write(clean(text) + "\n")

    def _write(self, text: str) -> None:
        self._out.write(encodable(text, self._out.encoding))
        self._out.flush()
        self._wrote_at = time.monotonic()
