"""The prompt: a world, what is known of the visitor and the story so far, as chat messages.

Pure text. It knows no tokenizer, so no budget: the engine counts, `trim` drops the oldest turns and
`fit_notes` the last notes until a given count fits. Everything is laid out so that the next prompt
begins with this one, which is what lets the storyteller keep what it has computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from prologue.slots import clean, fill
from prologue.world import World

Message = dict[str, str]

#: The longest line of the visitor that reaches the storyteller, in code points.
SAID_CHARACTERS = 2_000


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
        """What the world knows that bears on the line, as sentences; often nothing."""


class Turn(NamedTuple):
    """A visitor's line, the reply to it and what the world knows that bears on the line."""

    said: str
    reply: str = ""
    notes: Sequence[str] = ()


def compose(world: World, profile: Mapping[str, str], turns: Sequence[Told]) -> list[Message]:
    """The chat messages `{role, content}` that ask the storyteller for the next reply.

    The first is the system prompt, with the visitor's profile in it. The last is the visitor's line
    to be told now, or, when the last turn already has a reply, that reply to be continued. An earlier
    turn without a reply is left out, so that the roles always alternate. No turns at all ask for the
    opening.
    """
    messages = [{"role": "system", "content": fill(world.storyteller, world.known(profile))}]
    for turn in turns[:-1]:
        if turn.reply:
            messages += [_user(world, turn), {"role": "assistant", "content": turn.reply}]
    last = turns[-1] if turns else Turn("")
    messages.append(_user(world, last))
    if last.reply:
        messages.append({"role": "assistant", "content": last.reply})
    return messages


def trim(messages: list[Message], limit: int, count: Callable[[list[Message]], int]) -> list[Message]:
    """The messages without as many of the oldest turns as it takes for `count(messages) <= limit`.

    Once turns must go, half of the room they have is emptied, not one turn's: the prompts that follow then
    begin with the same turns until that half is full again, and what was computed for them is of use.
    The system prompt and the last visitor's line (with the reply being continued) always stay, even
    when they alone are over the limit.
    """
    tail = 2 if messages[-1]["role"] == "assistant" else 1
    over = count(messages) - limit
    if over > 0:
        head = messages[:1]
        alone = count(head)
        half = max(1, (limit - alone) // 2)
        must_go = -(-over // half) * half
        while must_go > 0 and len(messages) > 1 + tail:
            must_go -= count([*head, *messages[1:3]]) - alone
            messages = head + messages[3:]
    while len(messages) > 1 + tail and count(messages) > limit:
        messages = messages[:1] + messages[3:]
    return messages


def fit_notes(notes: Sequence[str], limit: int, count: Callable[[str], int]) -> list[str]:
    """As many of the notes, the most similar first, as `count` gives at most `limit` for."""
    kept = list(notes)
    while kept and count(" ".join(kept)) > limit:
        kept.pop()
    return kept


def _user(world: World, turn: Told) -> Message:
    if not turn.said:
        return {"role": "user", "content": world.opening}
    said = clean(turn.said[:SAID_CHARACTERS]) or "…"
    # Before the line: the last thing that the storyteller reads is what the visitor said.
    known = " ".join(turn.notes)
    return {"role": "user", "content": f"({known})\n\n{said}" if known else said}
