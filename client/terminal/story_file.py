"""A story as a file, which the page and the terminal both write and read. docs/clients.md describes the format."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from client.session.protocol import TurnState
from client.session.story import Take, Turn


class Entry(Struct, omit_defaults=True):
    """What was shown in the prologue: a line, a question, a reply, or the place of a turn."""

    beat: str | None = None
    speaker: str | None = None
    text: str | None = None
    asked: str | None = None
    said: str | None = None
    turn: str | None = None


class FileTake(Struct):
    take: int
    said: str
    reply: str


class FileTurn(Struct):
    id: str
    said: str
    reply: str
    state: TurnState
    take: int = 1
    takes: list[FileTake] = []

    def as_turn(self) -> Turn:
        """The turn as a screen shows it."""
        takes = [Take(one.take, one.said, one.reply) for one in self.takes]
        return Turn(self.id, self.said, self.reply, self.state, self.take, sure=True, takes=takes, settled=True)


class StoryFile(Struct):
    """`session` is None in a file that is only to be read."""

    overture_story: Literal[1]
    name: str
    title: str
    world: str
    session: Annotated[str, Meta(min_length=22, max_length=128)] | None
    prologue: list[Entry]
    turns: list[FileTurn]


class StoryFileError(Exception):
    """The message says what is wrong with the file, and the remedy."""


def write(story: StoryFile) -> str:
    return msgspec.json.format(msgspec.json.encode(story), indent=1).decode() + "\n"


def read(text: str | bytes) -> StoryFile:
    """Raises `StoryFileError`."""
    try:
        return msgspec.json.decode(text, type=StoryFile)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        field = where.strip("`").removeprefix("$.")
        named = f"The field `{field}` of this file cannot be used" if field else "This file cannot be used"
        raise StoryFileError(f"{named}: {what[:1].lower()}{what[1:]}. Export the story again.") from None
    except (msgspec.DecodeError, UnicodeError):
        raise StoryFileError("This file is not JSON, so it is no story; choose one that was exported.") from None


def restore_takes(turns: list[Turn], kept: list[FileTurn]) -> None:
    """Gives turns that came from the server the former takes that a file has of them."""
    former = {turn.id: turn for turn in kept}
    for turn in turns:
        one = former.get(turn.id)
        if one is None or turn.takes or turn.state == "answered":
            continue
        turn.takes = one.as_turn().takes
        if 0 < one.take < turn.take and one.reply:  # it was told again meanwhile
            turn.takes.append(Take(one.take, one.said, one.reply))


def file_turns(turns: list[Turn]) -> list[FileTurn]:
    """The turns as a file keeps them."""
    return [
        FileTurn(
            turn.id, turn.said, turn.reply, msgspec.convert(turn.state, TurnState), turn.take,
            [FileTake(one.take, one.said, one.reply) for one in turn.takes],
        )
        for turn in turns
    ]  # fmt: skip
