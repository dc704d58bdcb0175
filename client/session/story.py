"""The story as one client knows it: turns, and the rules by which frames become text.

A frame may come twice, late or after a gap, and a reply may start again. `Story` turns what
comes into text in which every character stands once. Characters are Unicode code points, which is
what Python's `len` counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from client.session.protocol import OPENING, Answer, Aside, Stats, TurnView

#: The states in which a reply may still come or grow.
LIVE = frozenset({"waiting", "telling"})


@dataclass(frozen=True, slots=True)
class Take:
    """A former attempt at a reply that came to an end, and the line it replied to."""

    take: int
    said: str
    reply: str


@dataclass(slots=True)
class Turn:
    """A line of the visitor and the reply to it. `take` 0: no attempt has been heard of yet."""

    id: str
    said: str = ""
    reply: str = ""
    state: str = "waiting"
    take: int = 0
    reason: str | None = None
    stats: Stats | None = None
    answer: Answer | None = None
    error: str | None = None
    #: What the world knows that the storyteller was told with the line.
    notes: tuple[str, ...] = ()
    held: dict[int, str] = field(default_factory=dict, repr=False)
    ends: int = 0
    #: Whether it is known to be a line of the story: the answer index may still answer one that was just said.
    sure: bool = False
    #: Former attempts, oldest first.
    takes: list[Take] = field(default_factory=list)
    #: Whether this attempt came to an end.
    settled: bool = False
    #: A line of the prologue that the story begins with.
    kept: bool = False

    @property
    def live(self) -> bool:
        """Whether a reply may still come or grow."""
        return self.state in LIVE

    @property
    def mark(self) -> tuple[int, ...]:
        """How far it has got: unlike before as soon as anything of a new attempt has come."""
        return (self.take, len(self.reply), self.ends)

    @property
    def parts(self) -> tuple[list[str], list[str]]:
        """The reply without its choices, and what it offers at its end, one `> ` line each and each of them once."""
        told: list[str] = []
        choices: list[str] = []
        for line in self.reply.splitlines():
            bare = line.strip()
            if bare.startswith(">") and self.state != "answered":
                choice = bare[1:].strip()
                choices += [choice] if choice and choice not in choices else []
            elif bare:
                told.append(bare)
                choices = []  # offered before the reply was continued
        return told, choices

    @property
    def choices(self) -> list[str]:
        """What the reply offers; nothing while it is still being told."""
        return [] if self.live else self.parts[1]


@dataclass(frozen=True, slots=True)
class Told:
    """More of a reply, to be shown after what is there already.

    `so_far` is the reply with `text` at its end: by the time this is heard, `turn.reply` may be longer.
    """

    turn: Turn
    text: str
    so_far: str


@dataclass(frozen=True, slots=True)
class Restarted:
    """The reply shown so far is void; what comes next is its beginning."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Appeared:
    """A turn that was not there before."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Altered:
    """A turn whose state or line changed, its reply as it was."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Removed:
    """A turn was taken back."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Ended:
    """A reply is over: `turn.reason` and `turn.stats` say how."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Gap:
    """Characters of this reply are missing. If they stay away, `hello` brings the whole."""

    turn: Turn


Change = Told | Restarted | Appeared | Altered | Removed | Ended | Gap


class Story:
    """All turns this client has heard of, oldest first."""

    def __init__(self) -> None:
        self._turns: dict[str, Turn] = {}

    @property
    def turns(self) -> list[Turn]:
        """The turns, oldest first."""
        return list(self._turns.values())

    @property
    def last(self) -> Turn | None:
        """The last turn of the story, written answers aside: the only one that can be acted on."""
        return next((turn for turn in reversed(self._turns.values()) if turn.state != "answered"), None)

    @property
    def live(self) -> Turn | None:
        """The turn whose reply is awaited or being told."""
        return next((turn for turn in self._turns.values() if turn.live), None)

    @property
    def begun(self) -> bool:
        """Whether the prologue is over: a line has been put to the storyteller."""
        return any(turn.sure for turn in self._turns.values() if turn.state != "answered")

    def get(self, turn_id: str) -> Turn | None:
        """The turn with this id, if it has been heard of."""
        return self._turns.get(turn_id)

    def said(self, turn_id: str, text: str) -> list[Change]:
        """The visitor has said a line (or, with the id `opening`, the first scene is due)."""
        if turn_id in self._turns:
            return []
        turn = self._turns[turn_id] = Turn(turn_id, said=text, sure=turn_id == OPENING)
        return [Appeared(turn)]

    def assure(self, turn_id: str) -> list[Change]:
        """The answer index has had time to answer this line and has not: it is a line of the story."""
        turn = self._turns.get(turn_id)
        if turn is None or turn.sure or turn.state == "answered":
            return []
        turn.sure = True
        return [Altered(turn)]

    def forget(self, turn_id: str) -> list[Change]:
        """The turn is taken back, or never was."""
        turn = self._turns.pop(turn_id, None)
        return [Removed(turn)] if turn else []

    def token(self, to: str, take: int, at: int, text: str) -> list[Change]:
        """More of a reply has come; see the module's first lines for what may be wrong with it."""
        turn, changes = self._find(to)
        if take < turn.take:
            return changes
        if take > turn.take:
            changes += self._begin(turn, take)
        if at > len(turn.reply):
            if len(text) > len(turn.held.get(at, "")):
                turn.held[at] = text
            return [*changes, Gap(turn)]
        fresh = text[len(turn.reply) - at :]
        return changes + self._append(turn, fresh)

    def end(self, to: str, take: int, reason: str, stats: Stats | None, notes: Sequence[str] = ()) -> list[Change]:
        """A reply is over. Frames that were late may still follow it."""
        turn, changes = self._find(to)
        if take < turn.take:
            return changes
        if take > turn.take:
            changes += self._begin(turn, take)
        turn.state = {"cancelled": "stopped", "error": "failed"}.get(reason, "done")
        turn.reason, turn.stats, turn.notes, turn.ends = reason, stats, tuple(notes), turn.ends + 1
        turn.settled = True
        changes.append(Ended(turn))
        if turn.held:
            changes.append(Gap(turn))
        return changes

    def reopened(self, turn_id: str, mark: tuple[int, ...] | None, said: str | None) -> list[Change]:
        """The turn will be told again, or go on; `mark` is how it stood when that was asked for."""
        turn = self._turns.get(turn_id)
        if turn is None:
            return []
        turn.said = turn.said if said is None else said
        if turn.mark == mark:  # else the new attempt has been quicker than its acknowledgement
            turn.state = "waiting"
            turn.reason = turn.stats = turn.error = None
        return [Altered(turn)]

    def rewritten(self, turn_id: str, text: str) -> list[Change]:
        """The reply is this text now; what it was is a former take."""
        turn = self._turns.get(turn_id)
        if turn is None:
            return []
        changes = self._begin(turn, turn.take + 1)
        turn.reply, turn.state, turn.settled = text, "done", True
        turn.notes = ()
        return [*changes, Told(turn, text, text), Ended(turn)]

    def answered(self, answer: Answer) -> list[Change]:
        """A written answer to the line `answer.to`. Its turn, if it has one, is no turn of the story."""
        known = self._turns.get(answer.to)
        if known is not None and known.answer is not None:
            return []
        turn, changes = self._answer(answer.to, answer.text)
        turn.answer = answer
        return changes

    def put_aside(self, aside: Aside) -> list[Change]:
        """The prologue has heard the line `aside.to`: its turn is no turn of the story."""
        known = self._turns.get(aside.to)
        if known is not None and known.state == "answered":
            return []
        turn, changes = self._answer(aside.to, aside.text)
        turn.kept = aside.kept
        return changes

    def failed(self, to: str, message: str) -> list[Change]:
        """The storyteller has given this turn up."""
        turn = self._turns.get(to)
        if turn is None:
            return []
        turn.state, turn.reason, turn.error = "failed", "error", message
        return [Altered(turn)]

    def welcome(self, views: Iterable[TurnView], unsent: Callable[[str], bool]) -> list[Change]:
        """The server says what the recent turns are: it is right.

        `unsent` tells whether a line with this id still waits to be acknowledged; such a turn stays,
        at the end. So do turns older than the first one named, and written answers, which were asides.
        All others the server does not name are gone.
        """
        views = list(views)
        before = dict(self._turns)
        order: dict[str, Turn] = {}
        changes: list[Change] = []
        if views and views[0].id in before:
            named = {view.id for view in views}
            for turn in before.values():
                if turn.id == views[0].id:
                    break
                if turn.id not in named:
                    order[turn.id] = turn
        for view in views:
            known = before.get(view.id)
            turn = order[view.id] = known or Turn(view.id)
            changes += self._reconcile(turn, view, new=known is None)
        previous: str | None = None
        for turn in before.values():
            if turn.id not in order:
                if unsent(turn.id):
                    order[turn.id] = turn
                elif turn.state == "answered":
                    order = _insert_after(order, previous, turn)
                else:
                    changes.append(Removed(turn))
                    continue
            previous = turn.id
        self._turns = order
        return changes

    def earlier(self, views: Iterable[TurnView]) -> list[Turn]:
        """Older turns, as `history` brings them; gives those that were not there yet."""
        fresh = [_from_view(view) for view in views if view.id not in self._turns]
        self._turns = {turn.id: turn for turn in fresh} | self._turns
        return fresh

    # --- within -------------------------------------------------------------------------

    def _answer(self, to: str, text: str) -> tuple[Turn, list[Change]]:
        known = to in self._turns
        turn = self._turns.setdefault(to, Turn(to))
        turn.reply, turn.state = text, "answered"
        return turn, [Altered(turn) if known else Appeared(turn)]

    def _find(self, to: str) -> tuple[Turn, list[Change]]:
        turn = self._turns.get(to)
        if turn is not None:
            turn.sure = True
            return turn, []
        turn = self._turns[to] = Turn(to, sure=True)
        return turn, [Appeared(turn)]

    def _begin(self, turn: Turn, take: int) -> list[Change]:
        void = turn.take > 0
        if turn.settled and turn.reply:
            turn.takes.append(Take(turn.take, turn.said, turn.reply))
        turn.settled = False
        turn.take, turn.reply, turn.state = take, "", "telling"
        turn.reason = turn.stats = turn.error = None
        turn.held.clear()
        return [Restarted(turn)] if void else []

    def _append(self, turn: Turn, fresh: str) -> list[Change]:
        turn.reply += fresh
        for at in sorted(turn.held):
            if at > len(turn.reply):
                break
            more = turn.held.pop(at)[len(turn.reply) - at :]
            turn.reply += more
            fresh += more
        if not fresh:
            return []
        if turn.state == "waiting":
            turn.state = "telling"
        return [Told(turn, fresh, turn.reply)]

    def _reconcile(self, turn: Turn, view: TurnView, *, new: bool) -> list[Change]:
        said, reply, state, take = view.said, view.reply, view.state, view.take
        was, was_live = (turn.said, turn.state), turn.live
        changes: list[Change] = [Appeared(turn)] if new else []
        turn.said, turn.sure, turn.kept = said, True, view.kept
        if state == turn.state == "answered":
            return changes
        if take < turn.take:  # saved before the attempt this client has already heard of
            return changes
        if take > turn.take:
            changes += self._begin(turn, take)
        # The reply so far is saved about once a second: while it is being told, this client may be ahead.
        ahead = turn.reply.startswith(reply) and len(turn.reply) > len(reply) and state in LIVE
        if reply.startswith(turn.reply):
            changes += self._append(turn, reply[len(turn.reply) :])
        elif not ahead:
            turn.reply = ""
            changes += [Restarted(turn), *self._append(turn, reply)]
        turn.state = "telling" if ahead else state
        if state not in LIVE:
            turn.held.clear()
            turn.settled = True
        if not new and was_live and not turn.live:
            changes.append(Ended(turn))  # while this client was away: nobody told it the figures
        elif not new and was != (turn.said, turn.state):
            changes.append(Altered(turn))
        return changes


def _insert_after(turns: dict[str, Turn], previous: str | None, turn: Turn) -> dict[str, Turn]:
    order: dict[str, Turn] = {} if previous in turns else {turn.id: turn}
    for key, value in turns.items():
        order[key] = value
        if key == previous:
            order[turn.id] = turn
    return order


def _from_view(view: TurnView) -> Turn:
    return Turn(view.id, view.said, view.reply, view.state, view.take, sure=True, settled=view.state not in LIVE)
