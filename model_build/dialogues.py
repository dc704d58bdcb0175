"""Dialogues written for a world: a JSON object a line, read, checked and turned into training rows.

    {"profile": {"name": "Ann"}, "turns": [["", "The gate opens. …"], ["I wave", "A boy waves back. …", ["A fact."]]]}

A turn is what the visitor says, the reply, and maybe the facts that stand in brackets before the line. The
first line is empty: the opening is told before anybody speaks. The file is named after its world:
`<world>.jsonl` or `<world>.<part>.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from prologue.prompt import Turn, compose
from prologue.world import World, load_world

if TYPE_CHECKING:
    from storyteller.engine.text.tokenizer import Tokenizer

WORLDS = Path("prologue/worlds")


class DialogueError(ValueError):
    """What is wrong with a file of dialogues, in one sentence."""


class Dialogue(NamedTuple):
    """A visitor's profile and the turns of their story."""

    profile: dict[str, str]
    turns: list[Turn]


class Row(NamedTuple):
    """A dialogue as the model reads it; `learned` marks the tokens of the replies and the ends after them."""

    ids: list[int]
    learned: list[bool]


def world_of(path: Path, worlds: Path = WORLDS) -> World:
    """The world a file is named after. Raises DialogueError where there is none."""
    folder = worlds / path.name.split(".")[0]
    if not folder.is_dir():
        raise DialogueError(f"{path}: there is no world {folder}; name the file after its world, or give --world.")
    return load_world(folder)


def read_dialogues(path: Path, world: World) -> list[Dialogue]:
    """The dialogues of a file. Raises DialogueError, which names the line and the field."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise DialogueError(f"{path} cannot be read ({error}): give a text file in UTF-8.") from None
    keys = {field.key for field in world.profile}
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            found.append(_dialogue(line, f"{path}, line {number}", keys))
    if not found:
        raise DialogueError(f"{path} is empty: write a dialogue a line.")
    return found


def encode(dialogue: Dialogue, world: World, tokenizer: Tokenizer, end: int) -> Row:
    """The row of a dialogue: the very prompt that the play sends, with each reply and its end to be learned.

    `end` is the token that ends a reply. Raises DialogueError where a prompt does not begin with the one before it.
    """
    ids: list[int] = []
    learned: list[bool] = []
    told: list[Turn] = []
    for turn in dialogue.turns:
        prompt = tokenizer.encode_chat(compose(world, dialogue.profile, [*told, turn._replace(reply="")]))
        if prompt[: len(ids)] != ids:
            raise DialogueError("The chat template rewrites earlier turns: replies cannot be learned in one pass.")
        reply = [*tokenizer.encode(turn.reply, special=False), end]
        learned += [False] * (len(prompt) - len(ids)) + [True] * len(reply)
        ids = prompt + reply
        told.append(turn)
    return Row(ids, learned)


def _dialogue(line: str, where: str, keys: set[str]) -> Dialogue:
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DialogueError(f"{where}: this is not JSON ({error}); write one object a line.") from None
    if not isinstance(raw, dict) or set(raw) != {"profile", "turns"}:
        raise DialogueError(f"{where}: expected an object with the keys profile and turns.")
    profile, turns = raw["profile"], raw["turns"]
    if not isinstance(profile, dict) or not all(isinstance(value, str) for value in profile.values()):
        raise DialogueError(f"{where}: `profile` must be an object of texts.")
    for key in profile:
        if key not in keys:
            raise DialogueError(f"{where}: `profile` has {key!r}; this world remembers {', '.join(sorted(keys))}.")
    if not isinstance(turns, list) or not turns:
        raise DialogueError(f"{where}: `turns` must be a list of [said, reply] or [said, reply, facts].")
    return Dialogue(profile, [_turn(turn, f"{where}, turn {place}", place) for place, turn in enumerate(turns, 1)])


def _turn(raw: Any, where: str, place: int) -> Turn:
    said, reply, *facts = raw if isinstance(raw, list) and len(raw) in (2, 3) else (None, None)
    if not isinstance(said, str) or not isinstance(reply, str):
        raise DialogueError(f"{where}: expected [said, reply] or [said, reply, facts], with texts for both.")
    if bool(said.strip()) == (place == 1):
        raise DialogueError(f"{where}: the first line is empty, since nobody speaks before the opening; no other is.")
    if not reply.strip():
        raise DialogueError(f"{where}: the reply is empty; write it.")
    notes: Sequence[Any] = facts[0] if facts else []
    if not isinstance(notes, list) or not all(isinstance(fact, str) and fact.strip() for fact in notes):
        raise DialogueError(f"{where}: the facts must be a list of sentences.")
    return Turn(said, reply, notes)
