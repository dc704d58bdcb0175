"""The prompt: a world, what is known of the visitor and the story so far, as chat messages.

Pure text, without a tokenizer: the caller counts tokens. `compose_within` drops the oldest turns and
`fit_notes` the last notes until they fit. The next prompt begins with this one, so the storyteller can
keep what it has computed; and every visitor's prompt begins with the same messages, so those are computed
once, when a model is packed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from prologue.placeholders import clean, fill_known
from prologue.world import World

Message = dict[str, str]

#: The longest line of the visitor that reaches the storyteller, in code points.
SAID_CHARACTERS = 2_000

_BREAK = "\n\n"


class Told(Protocol):
    """Anything with a visitor's line and the reply to it."""

    @property
    def said(self) -> str:
        """The visitor's line; empty for the opening that nobody asked for."""

    @property
    def reply(self) -> str:
        """The reply so far; empty for the line to be told now."""

    @property
    def notes(self) -> Sequence[str]:
        """What the world knows that bears on the line, as sentences; often nothing. A note that has a placeholder is
        about the visitor."""


class Turn(NamedTuple):
    """A visitor's line, the reply to it and what the world knows that bears on the line."""

    said: str
    reply: str = ""
    notes: Sequence[str] = ()


def compose(world: World, profile: Mapping[str, str], turns: Sequence[Told]) -> list[Message]:
    """The chat messages `{role, content}` that ask the storyteller for the next reply.

    First come the system prompt and the world's examples, which are the same for every visitor and every
    turn. What is known of the visitor precedes the first line of the story and stands in notes that ask for
    it; what is not known is not mentioned. The last message is the visitor's line to be told now, or, when
    the last turn already has a reply, that reply to be continued. An earlier turn without a reply is left
    out, so that the roles always alternate. No turns at all ask for the opening.
    """
    messages, known = fixed_messages(world), world.known(profile)
    begin = len(messages)
    for turn in turns[:-1]:
        if turn.reply:
            messages += [_user(world, turn, known), {"role": "assistant", "content": turn.reply}]
    last = turns[-1] if turns else Turn("")
    messages.append(_user(world, last, known))
    if last.reply:
        messages.append({"role": "assistant", "content": last.reply})
    visitor = "\n".join(fill_known(world.visitor, known))
    if visitor:
        messages[begin]["content"] = f"{visitor}{_BREAK}{messages[begin]['content']}"
    return messages


def fixed_messages(world: World) -> list[Message]:
    """The messages with which every prompt of this world begins: the system prompt and the examples."""
    messages = [{"role": "system", "content": world.storyteller}]
    for example in world.examples:
        messages.append({"role": "user", "content": example.said})
        messages.append({"role": "assistant", "content": example.reply})
    return messages


def compose_within(
    world: World,
    profile: Mapping[str, str],
    turns: Sequence[Told],
    limit: int,
    count: Callable[[list[Message]], int],
) -> list[Message]:
    """`compose` without as many of the oldest turns as it takes for `count(messages) <= limit`.

    Once turns must go, half of the room they have is emptied, not one turn's: the prompts that follow then
    begin with the same turns until that half is full again, and what was computed for them is of use.
    The last turn always stays, even when it alone is over the limit.
    """
    messages = compose(world, profile, turns)
    size = count(messages)
    if size <= limit:
        return messages
    told = [turn for turn in turns[:-1] if turn.reply]
    half = max(1, (limit - count(compose(world, profile, turns[-1:]))) // 2)
    goal = size - -(-(size - limit) // half) * half
    while told and size > min(goal, limit):
        told.pop(0)
        messages = compose(world, profile, [*told, turns[-1]])
        size = count(messages)
    return messages


def fit_notes(notes: Sequence[str], limit: int, count: Callable[[str], int]) -> list[str]:
    """As many of the notes, the most similar first, as `count` gives at most `limit` for."""
    kept = list(notes)
    while kept and count(" ".join(kept)) > limit:
        kept.pop()
    return kept


def _user(world: World, turn: Told, known: Mapping[str, str]) -> Message:
    if not turn.said:
        return {"role": "user", "content": world.opening}
    said = clean(turn.said[:SAID_CHARACTERS]) or "…"
    # Before the line: the last thing that the storyteller reads is what the visitor said.
    notes = " ".join(fill_known(turn.notes, known))
    return {"role": "user", "content": f"({notes}){_BREAK}{said}" if notes else said}
