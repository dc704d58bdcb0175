"""The script player: the prologue, one beat after another, for as long as the storyteller sleeps.

Pure functions over a state of plain integers, texts, lists and mappings that its keeper may write as
JSON and need not understand. There is no clock in it: time is what the beats told so far take to
read.

How it goes. Scenes are told in order, each beat of theirs once. Between two scenes, while there is
time to fill, come fillers: always the one told least, and none again within `REPEAT_S`. Once the
storyteller is awake only the beats that are not optional remain, then the final one. A wait longer
than the fillers can fill ends with the beat `late`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prologue.placeholders import fill, flatten, placeholders
from prologue.script.conditions import ALWAYS, Moment, When

ScriptState = dict[str, Any]

#: A filler is not told again before this many seconds of telling have passed since its end.
REPEAT_S = 90.0
#: Seconds between two fragments: as long as the first takes to read, within these bounds.
SHORTEST_S, LONGEST_S = 1.2, 2.5
#: A comfortable reading speed, characters per second.
READING_CPS = 18.0
#: What a visitor is expected to take for a reply, in seconds; it only spreads the fillers.
REPLY_S = 5.0


class ReplyError(Exception):
    """A reply that cannot be taken; the message is one sentence for the visitor."""


@dataclass(frozen=True)
class ProfileField:
    """One thing a world remembers of a visitor; `default` stands in for it while it is unknown.

    `recalls`: what the world knows about its value goes with the opening scene. `none`: values, case-folded,
    that mean there is none; the storyteller is not told of them.
    """

    key: str
    label: str
    default: str
    recalls: bool = False
    none: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Line:
    """A fragment of speech, shown `at_s` seconds after its beat began."""

    text: str
    at_s: float


@dataclass(frozen=True)
class Ask:
    """A question; with `choices` and not `free`, only one of those will do."""

    key: str
    text: str
    choices: tuple[str, ...] | None = None
    free: bool = True


@dataclass(frozen=True)
class Beat:
    """One step of the prologue as it is told: it runs to its question or its end."""

    id: str
    lines: tuple[Line, ...]
    speaker: str | None = None
    ask: Ask | None = None
    final: bool = False

    @property
    def seconds(self) -> float:
        """How long it takes to be told, with the time to read its last fragment."""
        return self.lines[-1].at_s + reading_s(self.lines[-1].text) if self.lines else 0.0


@dataclass(frozen=True)
class Fragment:
    """A line of the script. `otherwise` is told where `when` fails or a placeholder has no value."""

    text: str
    when: When = ALWAYS
    otherwise: str | None = None
    at_s: float | None = None


@dataclass(frozen=True)
class Question:
    """A question of the script and how its reply is understood.

    `strip`: beginnings that are no part of the value ("my name is"). `same`: words that stand for a
    value. `limit`: the most code points kept. `refuse`: what is said, in
    turn, to replies that are none of the choices; `{said}` is that reply.
    """

    key: str
    text: str
    choices: tuple[str, ...] = ()
    free: bool = True
    strip: tuple[str, ...] = ()
    same: Mapping[str, tuple[str, ...]] | None = None
    limit: int = 60
    refuse: tuple[str, ...] = ()

    def offered(self, text: str) -> str | None:
        """The choice that a text is, letter for letter but for capitals."""
        said = flatten(text).casefold()
        return next((choice for choice in self.choices if choice.casefold() == said), None)

    def read(self, text: str, refused: int = 0) -> str:
        """The value in a reply. Raises `ReplyError` for an empty one and for none of the choices.

        `refused`: how many replies were refused before.
        """
        if (choice := self.offered(text)) is not None:
            return choice
        said = flatten(text, 4 * self.limit)
        for beginning in sorted(self.strip, key=len, reverse=True):
            if re.match(rf"{re.escape(beginning)}\b", said, re.IGNORECASE):
                said = said[len(beginning) :]
                break
        said = said.strip(" \t.,;:!?\"'“”‘’()-–—") or said.strip()
        if not said:
            raise ReplyError("Say a word or two in reply, or pass the question over.")
        for value, words in (self.same or {}).items():
            if said.casefold() in (word.casefold() for word in words):
                return value
        chosen = _choice(said, self.choices, loosely=not self.free)
        if chosen is not None:
            return chosen
        if self.choices and not self.free:
            if self.refuse:
                raise ReplyError(fill(self.refuse[refused % len(self.refuse)], {"said": flatten(said, 40)}))
            raise ReplyError(f"Choose one of these: {', '.join(self.choices)}.")
        return flatten(said, self.limit)


@dataclass(frozen=True)
class Step:
    """A beat of the script. `optional`: not once the storyteller is awake. `once`: as a filler, never again.

    `go`: where the play goes on after it, the first whose condition holds; else with what follows.
    """

    id: str
    fragments: tuple[Fragment, ...]
    speaker: str | None = None
    ask: Question | None = None
    when: When = ALWAYS
    optional: bool = False
    once: bool = False
    go: tuple[tuple[When, str], ...] = ()


@dataclass(frozen=True)
class Scene:
    """Beats told one after another without a filler between them."""

    id: str
    steps: tuple[Step, ...]
    when: When = ALWAYS


@dataclass(frozen=True)
class Script:
    """A prologue and its player."""

    scenes: tuple[Scene, ...]
    fillers: tuple[Step, ...]
    final: Step
    late: Step
    fields: tuple[ProfileField, ...]
    #: What the speaker says to lines that nothing else answers, by kind (see `reactions`).
    asides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def begin(self) -> ScriptState:
        """The state before the first beat."""
        return {"scene": 0, "step": 0, "clock_ms": 0, "told": {}, "rest": 0, "ended": False, "beat": None}

    def current(self, state: ScriptState) -> Beat | None:
        """The beat told last, as it was told; None before the first."""
        return None if state["beat"] is None else unpack_beat(state["beat"])

    def next(
        self, state: ScriptState, awake: bool, eta_s: float | None, profile: Mapping[str, str]
    ) -> tuple[Beat, ScriptState]:
        """The next beat and the state after it. The last has `final`; after it, it comes again.

        `eta_s`: seconds until the storyteller is expected to be awake, where that is known.
        """
        shown = self.current(state)
        if state["ended"] and shown is not None:
            return shown, state
        state = copy.deepcopy(state)
        now = self._moment(state, awake, profile)
        self._follow_go(state, now)
        ahead = list(self._ahead(state, now))
        if not awake and self._pause(state, ahead, eta_s, now):
            filler = self._filler(state, eta_s, now)
            if filler is not None:
                state["rest"] += 1
                return self._tell(state, filler, now)
        if ahead:
            scene, place, step = ahead[0]
            state["scene"], state["step"], state["rest"] = scene, place + 1, 0
            return self._tell(state, step, now)
        return self.end(state, awake, profile)

    def end(self, state: ScriptState, awake: bool, profile: Mapping[str, str]) -> tuple[Beat, ScriptState]:
        """The final beat from any point, and the state after it."""
        state = copy.deepcopy(state)
        state["ended"] = True
        step = self.final if awake else self.late
        return self._tell(state, step, self._moment(state, awake, profile), final=True)

    def reply(self, state: ScriptState, key: str, text: str) -> tuple[str, ScriptState]:
        """The profile value in a reply to the question `key`, and the state after it.

        Raises `ReplyError` where the reply is empty or none of the choices, or nothing asks for `key`.
        """
        asked = [step.ask for step in self.steps() if step.ask is not None and step.ask.key == key]
        shown = self.current(state)
        if shown is not None and shown.ask is not None:
            # The same thing may be asked in several ways; the one on the screen decides.
            asked.sort(key=lambda question: question.text != shown.ask.text if shown.ask else False)
        if not asked:
            raise ReplyError("Nothing asks for that; reply to the question you see, or say it plainly.")
        return asked[0].read(text), state

    def steps(self) -> Iterator[Step]:
        """Every beat of the script, in the order of the file."""
        for scene in self.scenes:
            yield from scene.steps
        yield from self.fillers
        yield self.final
        if self.late is not self.final:
            yield self.late

    def render(self, step: Step, now: Moment, number: int = 1, final: bool = False) -> Beat:
        """The beat as it is told at this moment; told again, its id carries the number."""
        lines: list[Line] = []
        at_s = 0.0
        for fragment in step.fragments:
            text = self._text(fragment, now)
            if text is None:
                continue
            if lines and fragment.at_s is not None:
                at_s = max(at_s, fragment.at_s)
            lines.append(Line(text, round(at_s, 2)))
            at_s += reading_s(text)
        ask = None
        if step.ask is not None:
            question = fill(step.ask.text, self._values(now))
            ask = Ask(step.ask.key, question, step.ask.choices or None, step.ask.free)
        name = step.id if number == 1 else f"{step.id}.{number}"
        return Beat(name, tuple(lines), step.speaker, ask, final)

    def _moment(self, state: ScriptState, awake: bool, profile: Mapping[str, str]) -> Moment:
        known = {field.key: flatten(profile.get(field.key, "")) for field in self.fields}
        visits = {beat: count for beat, (count, _) in state["told"].items()}
        return Moment({key: value for key, value in known.items() if value}, visits, awake)

    def _values(self, now: Moment) -> dict[str, str]:
        return {field.key: now.profile.get(field.key, field.default) for field in self.fields}

    def _text(self, fragment: Fragment, now: Moment) -> str | None:
        if fragment.when.holds(now) and (
            fragment.otherwise is None or all(name in now.profile for name in placeholders(fragment.text))
        ):
            return fill(fragment.text, self._values(now))
        return None if fragment.otherwise is None else fill(fragment.otherwise, self._values(now))

    def _follow_go(self, state: ScriptState, now: Moment) -> None:
        """Leaves the beat told last by its `go`, where one holds."""
        shown = state["beat"]
        step = next((s for s in self.steps() if shown is not None and s.id == shown["step"]), None)
        for when, scene in step.go if step is not None else ():
            if when.holds(now):
                state["scene"] = [s.id for s in self.scenes].index(scene)
                state["step"] = 0
                return

    def _ahead(self, state: ScriptState, now: Moment) -> Iterator[tuple[int, int, Step]]:
        """The beats of scenes that would be told from here on if nothing changed (and no `go` led elsewhere)."""
        for index in range(state["scene"], len(self.scenes)):
            scene = self.scenes[index]
            first = state["step"] if index == state["scene"] else 0
            if first == 0 and not scene.when.holds(now):
                continue
            for place in range(first, len(scene.steps)):
                step = scene.steps[place]
                if step.id not in now.visits and not (step.optional and now.awake) and self._tellable(step, now):
                    yield index, place, step

    def _tellable(self, step: Step, now: Moment) -> bool:
        """Whether it may be told now and has anything to say."""
        if not step.when.holds(now):
            return False
        return step.ask is not None or any(self._text(fragment, now) is not None for fragment in step.fragments)

    def _pause(self, state: ScriptState, ahead: list[tuple[int, int, Step]], eta_s: float | None, now: Moment) -> bool:
        """Whether this is a place and a time for a filler: between scenes, with time to fill."""
        if not ahead:
            return True
        if not state["told"] or (ahead[0][0] == state["scene"] and state["step"] > 0):
            return False
        if eta_s is None:
            return bool(state["rest"] < 1)
        needed = sum(self.render(step, now).seconds + (REPLY_S if step.ask else 0) for _, _, step in ahead)
        spare = (eta_s - needed) / len({scene for scene, _, _ in ahead})
        wanted = 0 if spare <= 0 else 1 if spare < 16 else 2
        return bool(state["rest"] < wanted)

    def _filler(self, state: ScriptState, eta_s: float | None, now: Moment) -> Step | None:
        """The filler told least that may be told now, one that fits the time left where there is one."""
        ready = []
        for step in self.fillers:
            count, end_ms = state["told"].get(step.id, (0, 0))
            rested = not count or (not step.once and state["clock_ms"] - end_ms >= REPEAT_S * 1000)
            if rested and self._tellable(step, now):
                ready.append((count, step))
        if not ready:
            return None
        least = [step for count, step in ready if count == min(count for count, _ in ready)]
        fits = [step for step in least if eta_s is None or self.render(step, now).seconds <= max(eta_s, 5.0)]
        return (fits or least)[0]

    def _tell(self, state: ScriptState, step: Step, now: Moment, final: bool = False) -> tuple[Beat, ScriptState]:
        count, _ = state["told"].get(step.id, (0, 0))
        beat = self.render(step, now, count + 1, final)
        state["clock_ms"] += round(beat.seconds * 1000)
        state["told"][step.id] = [count + 1, state["clock_ms"]]
        state["beat"] = _pack(beat, step.id)
        return beat, state


def reading_s(text: str) -> float:
    """How long a fragment stands before the next, in seconds."""
    return min(max(len(text) / READING_CPS, SHORTEST_S), LONGEST_S)


def _choice(said: str, choices: tuple[str, ...], loosely: bool) -> str | None:
    """The choice a reply names: by itself, by its number, or, loosely, as the only one among other words."""
    plain = said.casefold()
    for number, choice in enumerate(choices, 1):
        if plain in (choice.casefold(), str(number)):
            return choice
    if not loosely:
        return None
    found = [c for c in choices if re.search(rf"\b{re.escape(c.casefold())}\b", plain)]
    return found[0] if len(found) == 1 else None


def _pack(beat: Beat, step: str) -> dict[str, Any]:
    packed: dict[str, Any] = {"id": beat.id, "step": step, "final": beat.final, "speaker": beat.speaker}
    packed["lines"] = [[round(line.at_s * 1000), line.text] for line in beat.lines]
    ask = beat.ask
    packed["ask"] = ask and {"key": ask.key, "text": ask.text, "choices": list(ask.choices or ()), "free": ask.free}
    return packed


def unpack_beat(packed: Mapping[str, Any]) -> Beat:
    """The beat that was kept as JSON: times in milliseconds, the question with its key, text, choices and `free`."""
    ask = packed["ask"]
    return Beat(
        id=packed["id"],
        lines=tuple(Line(text, int(at_ms) / 1000) for at_ms, text in packed["lines"]),
        speaker=packed["speaker"],
        ask=ask and Ask(ask["key"], ask["text"], tuple(ask["choices"]) or None, ask["free"]),
        final=packed["final"],
    )
