"""Rates an answer index on labelled lines: how often it answers rightly, falsely, wrongly.

    {"text": "can I save?", "answer": "save"}            asks for that answer
    {"text": "I save the cat", "answer": null, "state": "story"}    has none; there must be no match

`recall`: of the lines with an answer, the share that got it. `wrong_answer_rate`: of those, the share
that got another. `false_answer_rate`: of the lines without, the share that got any. `precision`: of
the answers given, the share that were right. `auroc`: how well the score alone tells lines with an
answer from lines without.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, get_args

import numpy as np
import numpy.typing as npt

from prologue.answers.answer import State
from prologue.answers.index import Decision
from prologue.yaml_file import WorldError, read_text


class Labelled(NamedTuple):
    """A line, the id of its answer (None: it has none), and the state it is said in."""

    text: str
    answer: str | None
    state: State = "prologue"


class Decides(Protocol):
    """An answer index, or anything that decides like one."""

    def decide(self, texts: Sequence[str], state: State = ...) -> list[Decision]:
        """For each line its decision."""


def read_labelled(path: Path) -> list[Labelled]:
    """The labelled lines of a JSONL file. Raises `WorldError` naming the line and the field."""
    lines = []
    for number, text in enumerate(read_text(path).splitlines(), 1):
        if not text.strip():
            continue
        where = f"{path}, line {number}"
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise WorldError(f"{where}: this is not JSON ({error.msg}); write one object a line.") from None
        if not isinstance(raw, dict) or not isinstance(raw.get("text"), str) or not raw["text"].strip():
            raise WorldError(f'{where}: `text` is missing; write {{"text": ..., "answer": id or null}}.')
        if "answer" not in raw or not isinstance(raw["answer"], str | None):
            raise WorldError(f"{where}: `answer` must be the id of an answer, or null.")
        state = raw.get("state", "prologue")
        if state not in get_args(State):
            raise WorldError(f"{where}: `state` is {state!r}; it may be {', '.join(get_args(State))}.")
        lines.append(Labelled(raw["text"], raw["answer"], state))
    if not lines:
        raise WorldError(f"{path} has no lines: write one object a line.")
    return lines


def measure(index: Decides, lines: Sequence[Labelled]) -> dict[str, float | int | None]:
    """The figures of an index on labelled lines; None where there is nothing to measure."""
    decisions: list[Decision | None] = [None] * len(lines)
    for state in get_args(State):
        places = [place for place, line in enumerate(lines) if line.state == state]
        decided = index.decide([lines[place].text for place in places], state)
        for place, found in zip(places, decided, strict=True):
            decisions[place] = found
    asked = hits = wrong = false = 0
    scores, positive = [], []
    for line, decision in zip(lines, decisions, strict=True):
        assert decision is not None
        given = decision.match.id if decision.match else None
        scores.append(decision.score)
        positive.append(line.answer is not None)
        if line.answer is None:
            false += given is not None
        else:
            asked += 1
            hits += given == line.answer
            wrong += given not in (None, line.answer)
    silent = len(lines) - asked
    answered = hits + wrong + false
    return {
        "lines": len(lines),
        "asked": asked,
        "recall": hits / asked if asked else None,
        "precision": hits / answered if answered else None,
        "false_answer_rate": false / silent if silent else None,
        "wrong_answer_rate": wrong / asked if asked else None,
        "auroc": auroc(np.array(scores), np.array(positive, bool)),
    }


def auroc(scores: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float | None:
    """The chance that a positive scores above a negative, ties counting half; None where either is missing."""
    ours, theirs = scores[positive], scores[~positive]
    if not len(ours) or not len(theirs):
        return None
    ranked = np.sort(theirs)
    below = np.searchsorted(ranked, ours, "left") + np.searchsorted(ranked, ours, "right")
    value = float(below.mean()) / 2 / len(theirs)
    return value if math.isfinite(value) else None
