"""The screen of a terminal: what is complete scrolls away above; below it stay the line being told, the
state of the wait and the line being typed.

prompt_toolkit reads the keys and draws the lines below; rich formats what scrolls away.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import BufferControl, FormattedTextControl, HSplit, Layout, VSplit, Window
from prompt_toolkit.output import Output
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from client.terminal.screen import clean, encodable


class LiveScreen:
    """Shows a play on `console` and reads lines: each goes to `typed`, Ctrl-C to `interrupt`, Ctrl-D to `leave`."""

    def __init__(
        self,
        console: Console,
        typed: Callable[[str], None],
        interrupt: Callable[[], None],
        leave: Callable[[], None],
        *,
        input: Input | None = None,
        output: Output | None = None,
    ) -> None:
        self._console = console
        self._telling = ""
        self._speaker: str | None = None
        self._status: tuple[str, str, float | None] = ("", "", None)
        self._waiting: list[str] = []
        self._news = asyncio.Event()

        def accept(buffer: Buffer) -> bool:
            typed(buffer.text)
            return False  # the next line starts empty

        self._line = Buffer(multiline=True, history=InMemoryHistory(), accept_handler=accept)
        below = Window(
            FormattedTextControl(self._below), wrap_lines=True, dont_extend_height=True, always_hide_cursor=True
        )
        mark = Window(FormattedTextControl([("bold fg:ansigreen", encodable("› ", console.encoding))]), width=2)
        entry = Window(BufferControl(self._line), wrap_lines=True, dont_extend_height=True)
        self._application: Application[None] = Application(
            layout=Layout(HSplit([below, VSplit([mark, entry])]), focused_element=entry),
            key_bindings=_keys(self._line, interrupt, leave),
            erase_when_done=True,
            input=input,
            output=output,
        )

    async def run(self) -> None:
        """Takes the terminal's last lines, until cancelled."""
        printer = asyncio.create_task(self._print_waiting())
        try:
            await self._application.run_async()
        finally:
            printer.cancel()
            await asyncio.gather(printer, return_exceptions=True)
            self._write_waiting()

    def speak(self, text: str, speaker: str | None) -> None:
        if speaker and speaker != self._speaker:
            self._print(Text(f"\n{clean(speaker)}", style="bold yellow"))
        self._speaker = speaker
        self._print(Text(clean(text)))

    def say(self, text: str) -> None:
        self._speaker = None
        self._print(Padding(Text(f"› {clean(text)}", style="bold green"), (1, 0, 1, 0)))

    def tell(self, text: str) -> None:
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
        self._application.invalidate()

    def pause(self) -> None:
        if self._telling:
            self._print(Text(self._telling))
        self._telling = ""

    def offer(self, choices: list[str]) -> None:
        for number, choice in enumerate(choices, 1):
            self._print(Text.assemble((f"  {number} ", "bold green"), clean(choice)))

    def note(self, text: str, *, style: str = "dim") -> None:
        self._print(Text(clean(text), style=style))

    def table(self, title: str, rows: list[tuple[str, str]]) -> None:
        self._print(Text(f"\n{title}", style="bold"))
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        for name, value in rows:
            table.add_row(Text(clean(name), style="dim"), Text(clean(value)))
        self._print(Padding(table, (0, 0, 1, 0)))

    def status(self, words: str, figures: str = "", progress: float | None = None) -> None:
        self._status = (words, figures, progress)
        self._application.invalidate()

    def _below(self) -> StyleAndTextTuples:
        """The line being told and the state of the wait, an unfinished line each."""
        words, figures, progress = self._status
        parts: StyleAndTextTuples = [("", self._telling)] if self._telling else []
        if words:
            parts += [("", "\n")] if parts else []
            if progress is not None:
                full = round(12 * progress)
                parts += [("fg:ansigreen", "━" * full), ("fg:ansibrightblack", "━" * (12 - full)), ("", " ")]
            parts += [("fg:ansigreen", words), ("fg:ansibrightblack", f"  {figures}")]
        return [(style, encodable(text, self._console.encoding)) for style, text, *_ in parts]

    # --- what scrolls away --------------------------------------------------------------

    def _print(self, what: Text | Padding) -> None:
        with self._console.capture() as captured:
            self._console.print(what)
        self._waiting.append(encodable(captured.get(), self._console.encoding))
        self._news.set()
        if not self._application.is_running:
            self._write_waiting()

    async def _print_waiting(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            # Not prompt_toolkit's `in_terminal`: it leaves the raw mode for a moment, in which Enter becomes Ctrl-J.
            self._application.renderer.erase()
            self._write_waiting()
            self._application.invalidate()

    def _write_waiting(self) -> None:
        out = self._console.file or sys.stdout
        out.write("".join(self._waiting))
        out.flush()
        self._waiting.clear()


def _keys(line: Buffer, interrupt: Callable[[], None], leave: Callable[[], None]) -> KeyBindings:
    """Enter sends; Alt-Enter or Ctrl-J starts a new line within."""
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        line.validate_and_handle()

    @keys.add("c-j")
    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        line.insert_text("\n")

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        interrupt()

    @keys.add("c-d")
    def _(event: KeyPressEvent) -> None:
        if line.text:
            line.delete()
        else:
            leave()

    @keys.add("up")
    def _(event: KeyPressEvent) -> None:
        line.auto_up()

    @keys.add("down")
    def _(event: KeyPressEvent) -> None:
        line.auto_down()

    return keys
