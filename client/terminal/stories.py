"""The stories of this user: which sessions were played at an address, under which names, in a small private file.

Beside it lies a file for each story, with what the server does not keep: the prologue's lines and former takes.

A session id lets whoever has it go on with the story, so the files are for their owner alone. Before version 0.2
there was one session an address, as a bare string; such an entry is read as one story without a name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from client.terminal import story_file
from client.terminal.story_file import StoryFile, StoryFileError


class KeptStory(Struct):
    """A story that can be gone on with. `at` is when it was last played, in seconds since 1970."""

    session: str
    name: str = ""
    title: str = ""
    at: float = 0.0

    @property
    def called(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.at))
        return self.name or f"{self.title or 'A story'}, {when}"


class _Shelf(Struct):
    """The stories of one address, oldest first; `current` is the session to go on with."""

    current: str | None = None
    stories: list[KeptStory] = []


def state_file() -> Path:
    """Where stories are kept: `$XDG_STATE_HOME/overture`, else `~/.local/state/overture`."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "overture" / "sessions.json"


class Stories:
    """The stories played at one address; none where the file cannot be read."""

    def __init__(self, address: str, file: Path | None = None) -> None:
        self.address = address
        self._file = file or state_file()
        self._stories: dict[str, StoryFile] = {}  # for when nothing can be written

    @property
    def current(self) -> str | None:
        """The session to go on with."""
        return self._read().get(self.address, _Shelf()).current

    def all(self) -> list[KeptStory]:
        """The stories, the latest first."""
        shelf = self._read().get(self.address, _Shelf())
        return sorted(shelf.stories, key=lambda story: story.at, reverse=True)

    def keep(self, session: str, title: str = "", name: str | None = None) -> bool:
        """Makes this the story to go on with, under a new name if one is given. False where nothing can be kept."""
        shelves = self._read()
        shelf = shelves.setdefault(self.address, _Shelf())
        story = next((story for story in shelf.stories if story.session == session), None)
        if story is None:
            story = KeptStory(session)
            shelf.stories.append(story)
        story.title, story.at = title or story.title, time.time()
        story.name = story.name if name is None else name
        shelf.current = session
        return self._write(shelves)

    def leave(self) -> bool:
        """The next visit begins a new story; those kept stay."""
        shelves = self._read()
        shelves.setdefault(self.address, _Shelf()).current = None
        return self._write(shelves)

    def story(self, session: str) -> StoryFile | None:
        """What is kept of a story; None where nothing is, or it cannot be read."""
        if session not in self._stories:
            with contextlib.suppress(OSError, StoryFileError):
                self._stories[session] = story_file.read(self._story_file(session).read_bytes())
        return self._stories.get(session)

    def keep_story(self, story: StoryFile) -> bool:
        """Keeps a story that has a session. False where it is kept no longer than this program runs."""
        assert story.session is not None
        self._stories[story.session] = story
        return _write_private(self._story_file(story.session), story_file.write(story).encode())

    def _story_file(self, session: str) -> Path:
        """Its name does not tell the session."""
        return self._file.parent / "stories" / f"{hashlib.sha256(session.encode()).hexdigest()[:24]}.json"

    def _read(self) -> dict[str, _Shelf]:
        try:
            kept = msgspec.json.decode(self._file.read_bytes(), type=dict[str, str | _Shelf])
        except (OSError, msgspec.DecodeError, UnicodeError):
            return {}
        return {
            address: _Shelf(shelf, [KeptStory(shelf)]) if isinstance(shelf, str) else shelf
            for address, shelf in kept.items()
        }

    def _write(self, shelves: dict[str, _Shelf]) -> bool:
        return _write_private(self._file, msgspec.json.format(msgspec.json.encode(shelves), indent=1))


def _write_private(file: Path, data: bytes) -> bool:
    """Writes or replaces a file that only its owner can read. False where that cannot be done."""
    new = file.with_suffix(".new")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
        new.replace(file)
    except OSError:
        return False
    return True
