"""A model that plays dialogues as the storyteller does, and the file that what it told is kept in."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.storyteller.lines import Dialogue, Line
from overture.settings import Settings
from prologue.answers.index import MOST_FACTS
from prologue.prompt import Turn, compose_within, fit_notes
from prologue.world import Example, ExampleEntry, World
from prologue.yaml_file import read_yaml
from storyteller.engine import Grammar, Sampling

if TYPE_CHECKING:
    from storyteller.engine import Engine

Played = dict[str, Any]


class BenchError(Exception):
    """What is wrong with a file or an option, in one sentence."""


class Player:
    """A model that tells the replies of a dialogue, as the storyteller does."""

    def __init__(
        self,
        engine: Engine,
        world: World,
        facts: Callable[[str], Sequence[str]],
        settings: Settings,
        *,
        form: bool = True,
    ) -> None:
        self._engine, self._world, self._facts, self._settings = engine, world, facts, settings
        self._sampling = Sampling(
            **settings.sampling(engine.defaults),
            max_tokens=settings.max_tokens,
            grammar=form_of(world) if form else None,
        )

    def play(self, dialogue: Dialogue) -> list[dict[str, Any]]:
        """Every turn of a dialogue: the line, the reply, and what telling it took."""
        turns: list[Turn] = []
        played = []
        for place, line in enumerate(dialogue.lines):
            turns.append(Turn(line.said, "", self._notes(dialogue, line)))
            room = self._engine.context - self._settings.max_tokens
            messages = compose_within(self._world, dialogue.profile, turns, room, self._engine.count_chat)
            seed = 100 * dialogue.number + place
            done = self._engine.generate(self._engine.encode_chat(messages), replace(self._sampling, seed=seed))
            turns[-1] = turns[-1]._replace(reply=done.text)
            played.append(
                {
                    **{key: value for key, value in line._asdict().items() if value or key == "said"},
                    "notes": list(turns[-1].notes),
                    "reply": done.text,
                    "reason": done.reason,
                    "tokens": done.tokens,
                    "ttft_s": round(done.ttft_s, 4),
                    "total_s": round(done.total_s, 4),
                    "prompt_tokens": done.prompt_tokens,
                    "reused_tokens": done.reused_tokens,
                }
            )
        return played

    def _notes(self, dialogue: Dialogue, line: Line) -> list[str]:
        """What Front finds for a line; for the opening, for what the world recalls of the visitor."""
        about = (
            [line.said] if line.said else [dialogue.profile.get(f.key, "") for f in self._world.profile if f.recalls]
        )
        found = dict.fromkeys(fact for text in about if text for fact in self._facts(text))
        count = self._engine.encode
        return fit_notes([*found][:MOST_FACTS], self._settings.knowledge_tokens, lambda text: len(count(text)))


def form_of(world: World) -> Grammar | None:
    """The grammar that replies are held to; None where the world says no form."""
    form = world.reply
    return None if form is None else Grammar("lark", *form.parts())


def read_played(path: Path) -> list[Played]:
    """The dialogues of a file, without a last line that was cut. Raises BenchError for anything else."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeError) as error:
        raise BenchError(f"{path} cannot be read ({error}): give a file that `play` has written.") from None
    if lines.pop():
        print(f"{path}: the last line was cut off; it is left out.", file=sys.stderr)
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise BenchError(f"{path} is no file that `play` has written ({error}).") from None


def read_examples(path: Path) -> tuple[Example, ...]:
    """The turns of a YAML file, a list of {said, reply}. Raises WorldError."""
    found: list[ExampleEntry] = read_yaml(path, list[ExampleEntry])
    return tuple(one.read() for one in found)


def resume(path: Path, name: str, dialogues: Sequence[Dialogue]) -> list[Dialogue]:
    """The dialogues that are not yet in the file, whose cut last line is removed."""
    if not path.exists():
        return list(dialogues)
    there = read_played(path)
    said = {one.number: [line.said for line in one.lines] for one in dialogues}
    for row in there:
        if row["run"] != name:
            raise BenchError(f"{path} holds replies of {row['run']!r}, not of {name!r}: give another --out.")
        if row["dialogue"] in said and said[row["dialogue"]] != [turn["said"] for turn in row["turns"]]:
            raise BenchError(f"{path} was played with other lines: remove it, or give another --out.")
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in there), encoding="utf-8")
    done = {row["dialogue"] for row in there}
    return [one for one in dialogues if one.number not in done]
