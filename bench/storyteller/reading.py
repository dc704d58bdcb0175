"""What a person reads of the storyteller's bench without knowing whose it is: pairs of replies, or single ones.

Each sheet is a text to read and, beside it, a key in JSON that says which model told what.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from bench.storyteller.lines import OPENING

Dialogue = Mapping[str, Any]


def write_pairs(runs: Sequence[Sequence[Dialogue]], count: int, out: Path, seed: int = 0) -> int:
    """Writes up to `count` pairs, each of two runs that say the same line, in shuffled order; says how many."""
    random = Random(seed)
    every = [
        (first, second, number, at)
        for place, first_run in enumerate(runs)
        for second_run in runs[place + 1 :]
        for first, second in _both(first_run, second_run)
        for number, at in _counted(first)
    ]
    text, key = ["# Which reply is better: A or B? The line is the same, what came before is each one's own.\n"], {}
    chosen = random.sample(every, min(count, len(every)))
    for place, (first, second, number, at) in enumerate(chosen, 1):
        sides = [first, second]
        random.shuffle(sides)
        text.append(f"## {place}\n\n{_visitor(first)}")
        for letter, side in zip("AB", sides, strict=True):
            text.append(f"### {letter}\n\n{_turns(side, at)}")
        key[place] = {"dialogue": number, "turn": at, "A": sides[0]["run"], "B": sides[1]["run"]}
    _write(out, text, key)
    return len(chosen)


def write_singles(run: Sequence[Dialogue], count: int, out: Path, seed: int = 0) -> int:
    """Writes up to `count` replies of one run, each with the line and what came before; says how many."""
    random = Random(seed)
    every = [(dialogue, number, at) for dialogue in run for number, at in _counted(dialogue)]
    chosen = random.sample(every, min(count, len(every)))
    text, key = ["# Does the last reply come to the point of the last line?\n"], {}
    for place, (dialogue, number, at) in enumerate(chosen, 1):
        text.append(f"## {place}\n\n{_visitor(dialogue)}\n\n{_turns(dialogue, at)}")
        key[place] = {"dialogue": number, "turn": at, "run": dialogue["run"]}
    _write(out, text, key)
    return len(chosen)


def _both(first: Sequence[Dialogue], second: Sequence[Dialogue]) -> list[tuple[Dialogue, Dialogue]]:
    """The dialogues that both runs have."""
    theirs = {dialogue["dialogue"]: dialogue for dialogue in second}
    return [(one, theirs[one["dialogue"]]) for one in first if one["dialogue"] in theirs]


def _counted(dialogue: Dialogue) -> list[tuple[int, int]]:
    return [(dialogue["dialogue"], at) for at, turn in enumerate(dialogue["turns"]) if turn["intent"] != OPENING]


def _visitor(dialogue: Dialogue) -> str:
    known = "; ".join(f"{key}: {value}" for key, value in dialogue["profile"].items())
    return f"The visitor: {known}"


def _turns(dialogue: Dialogue, at: int) -> str:
    """The turn before, then the line and the reply to be judged."""
    parts = []
    for turn in dialogue["turns"][max(0, at - 1) : at + 1]:
        if turn["said"]:
            parts.append(f"**{turn['said']}**")
        parts.append(turn["reply"].strip() or "(nothing)")
    return "\n\n".join(parts) + "\n"


def _write(out: Path, text: Sequence[str], key: Mapping[int, Mapping[str, Any]]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(text), encoding="utf-8")
    out.with_suffix(".key.json").write_text(json.dumps(key, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
