"""`python -m client.terminal [URL]`: the play in a terminal.

Reads the keyboard and the arguments, and remembers the session; `client.show` is the play itself.
"""

from __future__ import annotations

import argparse
import asyncio
import codecs
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from rich.console import Console

from client.door import DoorError
from client.editor import Editor
from client.remembered import recall, remember
from client.screen import LiveScreen, PlainScreen
from client.show import Show
from client.transport import Play

try:
    import termios
    import tty
except ImportError:  # Windows: plain lines
    termios = tty = None  # type: ignore[assignment]


def main(arguments: list[str] | None = None) -> int:
    """Plays until the visitor leaves. Gives the exit status: 1 where there is no way in."""
    parser = argparse.ArgumentParser(prog="python -m client.terminal", description="The play in a terminal.")
    parser.add_argument(
        "url",
        nargs="?",
        default=os.environ.get("OVERTURE_URL", "http://localhost:8080"),
        help="the address of the page (default: $OVERTURE_URL, else http://localhost:8080)",
    )
    parser.add_argument("--new", action="store_true", help="start afresh instead of going on with the last story")
    options = parser.parse_args(arguments)
    address = options.url.rstrip("/")
    try:
        return asyncio.run(_visit(address, session=None if options.new else recall(address)))
    except DoorError as error:
        print(error.message, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


async def _visit(address: str, session: str | None) -> int:
    live = termios is not None and sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    editor = Editor()
    console = Console(highlight=False, markup=False, emoji=False)
    screen = LiveScreen(console, editor) if live else PlainScreen()
    shows: list[Show] = []
    with contextlib.suppress(NotImplementedError):  # Windows: KeyboardInterrupt leaves at once
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, _interrupt, shows)
    play = Play(address, session=session)
    await play.open()
    with contextlib.ExitStack() as house:
        if isinstance(screen, LiveScreen):
            screen.start()
            house.callback(screen.stop)
            house.enter_context(_read_keys(editor, screen, shows))
        else:
            house.enter_context(_read_lines(shows))
        while True:
            shows.append(Show(play, screen))
            keeper = asyncio.create_task(_keep(address, play))
            try:
                outcome = await shows[-1].run()
            finally:
                keeper.cancel()
                await play.close()
            if outcome != "again":
                return 0
            remember(address, None)
            screen.note("A new visitor comes to the door.")
            play = Play(address)
            await play.open()


def _interrupt(shows: list[Show]) -> None:
    if not shows:
        raise KeyboardInterrupt
    shows[-1].interrupt()


async def _keep(address: str, play: Play) -> None:
    """Remembers the session as soon as it is known, and whenever it changes."""
    kept = None
    while True:
        if play.session != kept:
            kept = play.session
            remember(address, kept)
        await asyncio.sleep(0.2)


@contextlib.contextmanager
def _read_keys(editor: Editor, screen: LiveScreen, shows: list[Show]) -> Iterator[None]:
    """The keyboard, key by key: the terminal neither echoes nor gathers lines meanwhile."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    decode = codecs.getincrementaldecoder("utf-8")("ignore").decode
    loop = asyncio.get_running_loop()

    def read() -> None:
        data = os.read(fd, 4096)
        if not data:
            loop.remove_reader(fd)
            shows[-1].end_of_input()
            return
        for line in editor.feed(decode(data)):
            if line == "\x04":
                shows[-1].typed("/quit")
            else:
                shows[-1].typed(line)
        screen.draw()

    tty.setcbreak(fd)
    raw = termios.tcgetattr(fd)
    raw[0] &= ~termios.ICRNL  # so that Enter and Ctrl-J differ
    termios.tcsetattr(fd, termios.TCSADRAIN, raw)
    sys.stdout.write("\x1b[?2004h")  # pastes come bracketed
    sys.stdout.flush()
    loop.add_reader(fd, read)
    with contextlib.suppress(NotImplementedError, AttributeError):
        loop.add_signal_handler(signal.SIGWINCH, screen.draw)
    try:
        yield
    finally:
        loop.remove_reader(fd)
        sys.stdout.write("\x1b[?2004l")
        sys.stdout.flush()
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _read_lines(shows: list[Show]) -> Iterator[None]:
    """A pipe or a file, line by line, in a thread of its own: it works for all of them, everywhere."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            for line in sys.stdin:
                loop.call_soon_threadsafe(lambda line=line: shows[-1].typed(line))  # type: ignore[misc]
            loop.call_soon_threadsafe(lambda: shows[-1].end_of_input())

    threading.Thread(target=read, name="stdin", daemon=True).start()
    yield


if __name__ == "__main__":
    sys.exit(main())
