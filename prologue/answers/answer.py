"""A written answer, and the states of the play in which it may be given."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

State = Literal["prologue", "story"]
STATES: tuple[State, ...] = get_args(State)


class Answer(msgspec.Struct, frozen=True):
    """A written answer and the ways to ask for it.

    `when`: the states in which it may be given.
    """

    id: str
    phrasings: tuple[str, ...]
    text: str
    when: tuple[State, ...] = STATES
