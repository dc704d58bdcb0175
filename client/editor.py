"""A line editor for a terminal in raw mode: keys in, lines out. Draws nothing and reads no device.

Enter sends; Alt-Enter or Ctrl-J begins a new line within; up and down walk through what was said
before; a paste may have several lines.
"""

from __future__ import annotations

import re

_KEY = re.compile(r"\x1b\[200~|\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|\x1b[\r\n]|\x1b.|.", re.DOTALL)
_UNFINISHED = re.compile(r"\x1b(\[[0-9;]*|O)?$")
_PASTE_END = "\x1b[201~"


class Editor:
    """The line being typed: `text`, and `cursor`, a place in it."""

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0
        self._history: list[str] = []
        self._place = 0
        self._draft = ""
        self._rest = ""
        self._pasting = False

    def feed(self, keys: str) -> list[str]:
        """Takes what the terminal sent. Gives the lines finished by it, and `\\x04` for Ctrl-D on an empty line."""
        keys, self._rest = self._rest + keys, ""
        lines: list[str] = []
        while keys:
            if self._pasting:
                pasted, end, keys = keys.partition(_PASTE_END)
                if not end:  # the end may itself come in two
                    cut = next((n for n in range(len(_PASTE_END) - 1, 0, -1) if pasted.endswith(_PASTE_END[:n])), 0)
                    self._rest = pasted[len(pasted) - cut :]
                    pasted = pasted[: len(pasted) - cut]
                self._insert(pasted.replace("\r\n", "\n").replace("\r", "\n"))
                self._pasting = not end
                continue
            if _UNFINISHED.match(keys):
                self._rest = keys
                break
            found = _KEY.match(keys)
            assert found is not None
            key, keys = found.group(), keys[found.end() :]
            finished = self._press(key)
            if finished is not None:
                lines.append(finished)
        return lines

    def _press(self, key: str) -> str | None:
        match key:
            case "\r":
                return self._finish()
            case "\n" | "\x1b\r" | "\x1b\n":
                self._insert("\n")
            case "\x1b[200~":
                self._pasting = True
            case "\x7f" | "\x08":
                self._cut(self.cursor - 1, self.cursor)
            case "\x1b[3~":
                self._cut(self.cursor, self.cursor + 1)
            case "\x04":
                if not self.text:
                    return "\x04"
                self._cut(self.cursor, self.cursor + 1)
            case "\x15":
                self._cut(0, self.cursor)
            case "\x0b":
                self._cut(self.cursor, len(self.text))
            case "\x17" | "\x1b\x7f":
                self._cut(len(re.sub(r"\S*\s*$", "", self.text[: self.cursor])), self.cursor)
            case "\x1b[D" | "\x1bOD" | "\x02":
                self.cursor = max(0, self.cursor - 1)
            case "\x1b[C" | "\x1bOC" | "\x06":
                self.cursor = min(len(self.text), self.cursor + 1)
            case "\x1b[H" | "\x1bOH" | "\x1b[1~" | "\x01":
                self.cursor = 0
            case "\x1b[F" | "\x1bOF" | "\x1b[4~" | "\x05":
                self.cursor = len(self.text)
            case "\x1b[A" | "\x1bOA":
                self._walk(-1)
            case "\x1b[B" | "\x1bOB":
                self._walk(1)
            case "\t":
                self._insert(" ")
            case _ if key.isprintable():
                self._insert(key)
        return None

    def _finish(self) -> str:
        text, self.text, self.cursor = self.text, "", 0
        if text.strip() and text not in self._history[-1:]:
            self._history.append(text)
        self._place = len(self._history)
        return text

    def _insert(self, text: str) -> None:
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def _cut(self, start: int, end: int) -> None:
        start = max(0, start)
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start

    def _walk(self, step: int) -> None:
        place = self._place + step
        if not 0 <= place <= len(self._history):
            return
        if self._place == len(self._history):
            self._draft = self.text
        self._place = place
        self.text = self._draft if place == len(self._history) else self._history[place]
        self.cursor = len(self.text)
