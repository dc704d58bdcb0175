"""`python -m client.terminal [URL]`: the play in a terminal.

Reads the arguments and the keyboard, and remembers the session; `controller` is the play itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import threading

from rich.console import Console

from client.session.connect import ConnectError
from client.session.connection import Play
from client.terminal.controller import Controller
from client.terminal.live_screen import LiveScreen
from client.terminal.screen import PlainScreen, Screen
from client.terminal.stories import Stories


def main(arguments: list[str] | None = None) -> int:
    """Plays until the visitor leaves. Returns the exit status: 1 where there is no connection."""
    parser = argparse.ArgumentParser(prog="python -m client.terminal", description="The play in a terminal.")
    parser.add_argument(
        "url",
        nargs="?",
        default=os.environ.get("OVERTURE_URL", "http://localhost:8080"),
        help="the address of the page (default: $OVERTURE_URL, else http://localhost:8080)",
    )
    parser.add_argument("--new", action="store_true", help="start over instead of going on with the last story")
    options = parser.parse_args(arguments)
    address = options.url.rstrip("/")
    try:
        visit = _Visit(address)
        return asyncio.run(visit.run(None if options.new else visit.stories.current))
    except ConnectError as error:
        print(error.message, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


class _Visit:
    """One run of the client: one screen, and on it one play after another."""

    def __init__(self, address: str) -> None:
        self.address, self.stories = address, Stories(address)
        self.controller: Controller | None = None
        self.screen: Screen = PlainScreen()

    async def run(self, session: str | None) -> int:
        with contextlib.suppress(NotImplementedError):  # Windows: KeyboardInterrupt leaves at once
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        play = Play(self.address, session=session)
        await play.open()
        if sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            console = Console(highlight=False, markup=False, emoji=False)
            self.screen = live = LiveScreen(console, self._typed, self._interrupt, lambda: self._typed("/quit"))
            keyboard = asyncio.create_task(live.run())
            try:
                await self._play_on(play)
            finally:
                keyboard.cancel()
                await asyncio.gather(keyboard, return_exceptions=True)
        else:
            self._read_lines()
            await self._play_on(play)
        return 0

    async def _play_on(self, play: Play) -> None:
        while True:
            self.controller = Controller(play, self.screen, self.stories)
            keeper = asyncio.create_task(self._keep(play))
            try:
                outcome = await self.controller.run()
            finally:
                keeper.cancel()
                await play.close()
            if outcome != "again":
                return
            session = self.controller.next_session
            if session is None:
                self.stories.leave()
                self.screen.note("A new visitor comes to the gate.")
            play = Play(self.address, session=session)
            await play.open()

    async def _keep(self, play: Play) -> None:
        """Remembers the session as soon as it is known, and whenever it changes."""
        kept = None
        while True:
            if play.connected and play.session and play.session != kept:
                kept = play.session
                self.stories.keep(kept, play.title)
            await asyncio.sleep(0.2)

    def _typed(self, line: str) -> None:
        if self.controller:
            self.controller.typed(line)

    def _interrupt(self) -> None:
        if self.controller is None:
            raise KeyboardInterrupt
        self.controller.interrupt()

    def _read_lines(self) -> None:
        """A pipe or a file, line by line, in a thread of its own: it works for all of them, everywhere."""
        loop = asyncio.get_running_loop()

        def end() -> None:
            if self.controller:
                self.controller.end_of_input()

        def read() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                for line in sys.stdin:
                    loop.call_soon_threadsafe(self._typed, line)
                loop.call_soon_threadsafe(end)

        threading.Thread(target=read, name="stdin", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
