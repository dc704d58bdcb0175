"""A compiled ink story as a prologue: its lines become beats, its choices questions. The twin of `prologue.script`.

What a story may say to its player stands in tags (`# speaker:`, `# at:`, `# ask:`, `# free`, `# other`, `# pass`,
`# beat`) and in the names of two knots, `waiting` and `curtain`; docs/worlds.md describes them for writers. The
state is plain JSON, and there is no clock in it.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prologue.ink.content import Container, InkError
from prologue.ink.story import Ink
from prologue.script import Ask, Beat, Line, ProfileField, Question, ReplyError, State, reading_s, unpack_beat
from prologue.slots import flatten

#: Where a story goes while it is over and the storyteller sleeps, and when the storyteller is awake.
WAITING, CURTAIN = "waiting", "curtain"
#: A question of choices that fills no entry of the profile.
CHOICE = "choice"
#: A beat has at most so many lines: between two beats the play can turn to what has happened meanwhile.
LINES = 6


@dataclass(frozen=True)
class InkScript:
    """A story and its player."""

    root: Container
    fields: tuple[ProfileField, ...]

    def begin(self) -> State:
        """The state before the first beat."""
        ink = Ink(self.root, seed=secrets.randbelow(1 << 30)).state
        return {"ink": ink, "beats": 0, "beat": None, "asked": None, "chosen": None, "speaker": None,
                "at": "story", "ended": False}  # fmt: skip

    def current(self, state: State) -> Beat | None:
        """The beat told last, as it was told; None before the first."""
        return None if state["beat"] is None else unpack_beat(state["beat"])

    def next(self, state: State, awake: bool, eta_s: float | None, profile: Mapping[str, str]) -> tuple[Beat, State]:
        """The next beat and the state after it. The last has `final`; after it, it comes again.

        A story that fails ends here: the visitor goes on to the storyteller. `check` finds such faults.
        """
        shown = self.current(state)
        if state["ended"] and shown is not None:
            return shown, state
        state = copy.deepcopy(state)
        try:
            return self._play(state, awake, eta_s, profile)
        except InkError:
            return self._keep(state, Beat(f"ink.{state['beats'] + 1}", (), final=True))

    def play_on(
        self, state: State, awake: bool, eta_s: float | None, profile: Mapping[str, str], seen: set[str] | None = None
    ) -> tuple[Beat, State]:
        """As `next`, but raises `InkError` where the story fails; `seen` takes in the knots that were entered."""
        return self._play(copy.deepcopy(state), awake, eta_s, profile, seen)

    def reply(self, state: State, key: str, text: str) -> tuple[str, State]:
        """The value in a reply to the question `key`, and the state after it. Raises `ReplyError`."""
        asked, shown = state["asked"], self.current(state)
        said = _bare(text)
        if asked is None or shown is None or shown.ask is None or shown.ask.key != key:
            raise ReplyError("Nothing asks for that; reply to the question you see, or say it plainly.")
        choices = tuple(shown.ask.choices or ())
        same = next((choice for choice in choices if _bare(choice) == said), None)
        value = same or Question(key, shown.ask.text, choices, free=shown.ask.free).read(text)
        state = copy.deepcopy(state)
        if choices:
            state["chosen"] = choices.index(value) if value in choices else asked["other"]
        return value, state

    def _play(
        self, state: State, awake: bool, eta_s: float | None, profile: Mapping[str, str], seen: set[str] | None = None
    ) -> tuple[Beat, State]:
        ink = Ink(self.root, state["ink"])
        ink.seen = set() if seen is None else seen
        known = {field.key: flatten(profile.get(field.key, "")) for field in self.fields}
        expected = -1.0 if eta_s is None else round(eta_s, 1)
        ink.set({**known, "awake": awake, "eta_s": expected})
        ink.externals = {
            "awake": lambda: awake,
            "eta_s": lambda: expected,
            "known": lambda key: bool(known.get(str(key))),
        }
        asked, chosen = state["asked"], state["chosen"]
        state["asked"] = state["chosen"] = None
        if asked is not None and ink.choices:
            ink.choose(asked["pass"] if chosen is None else chosen)
        elif awake and _may_end(ink, state) and ink.go(CURTAIN):
            state["at"] = CURTAIN
        elif not awake and not ink.can_go_on and state["at"] != CURTAIN and ink.go(WAITING):
            state["at"] = WAITING
        beat = self._beat(ink, state)
        is_over = not ink.can_go_on and not ink.choices and beat.ask is None
        if is_over and state["at"] != CURTAIN:
            # There may be more to tell while the storyteller sleeps, or something to say when it is awake.
            more = WAITING in self.root.named and (beat.lines or state["at"] != WAITING)
            is_over = not more if not awake else CURTAIN not in self.root.named
        state["ink"] = {**ink.state, "out": []}
        if not is_over and not beat.lines and beat.ask is None:
            return self._play(state, awake, eta_s, profile, seen)
        return self._keep(state, Beat(beat.id, beat.lines, beat.speaker, beat.ask, is_over))

    def _keep(self, state: State, beat: Beat) -> tuple[Beat, State]:
        state["beats"] += 1
        state["beat"] = _pack(beat)
        state["ended"] = beat.final
        return beat, state

    def _beat(self, ink: Ink, state: State) -> Beat:
        """Tells lines until a question, another speaker, a tag that says so, or enough of them."""
        name = f"ink.{state['beats'] + 1}"
        lines: list[Line] = []
        at_s = 0.0
        question: tuple[str, str, bool] | None = None  # key, text, free
        while ink.can_go_on and len(lines) < LINES:
            before = copy.deepcopy(ink.state)
            text, tags = ink.line()
            text, about = flatten(text, 400), _read(tags)
            if about.get("speaker", state["speaker"]) != state["speaker"]:
                if lines:  # it is the next beat's
                    ink.state = before
                    break
                state["speaker"] = about["speaker"] or None
            if "ask" in about:
                question = (about["ask"], text, "free" in about)
                break
            if text:
                if lines and "at" in about:
                    at_s = max(at_s, _seconds(about["at"]))
                lines.append(Line(text, round(at_s, 2)))
                at_s += reading_s(text)
            if "beat" in about:
                break
        ask = None
        if ink.choices:
            texts = tuple(flatten(choice["text"]) for choice in ink.choices)
            if question is None:
                question = (CHOICE, lines.pop().text if lines else "And now?", False)
            ask = Ask(question[0], question[1], texts, question[2])
            named = [list(_read(choice["tags"])) for choice in ink.choices]
            state["asked"] = {"pass": _tagged(named, "pass"), "other": _tagged(named, "other")}
        elif question is not None:
            ask = Ask(question[0], question[1])
            state["asked"] = {}
        return Beat(name, tuple(lines), state["speaker"], ask)


def _may_end(ink: Ink, state: State) -> bool:
    """Whether the story is over, or only passing the time."""
    return state["at"] == WAITING or (state["at"] != CURTAIN and not ink.can_go_on)


def _bare(text: str) -> str:
    return flatten(text).strip(" .,;:!?\"'“”‘’").casefold()


def _read(tags: Sequence[str]) -> dict[str, str]:
    """`speaker: The Guardian` as a name and what it says; a word alone says nothing more."""
    return {name.strip(): value.strip() for name, _, value in (tag.partition(":") for tag in tags)}


def _seconds(text: str) -> float:
    try:
        return min(60.0, max(0.0, float(text)))
    except ValueError:
        raise InkError(f"the tag `at` says {text!r}, which is no number of seconds") from None


def _tagged(choices: list[list[str]], tag: str) -> int:
    return next((place for place, names in enumerate(choices) if tag in names), len(choices) - 1)


def _pack(beat: Beat) -> dict[str, Any]:
    ask = beat.ask
    return {
        "id": beat.id, "final": beat.final, "speaker": beat.speaker,
        "lines": [[round(line.at_s * 1000), line.text] for line in beat.lines],
        "ask": ask and {"key": ask.key, "text": ask.text, "choices": list(ask.choices or ()), "free": ask.free},
    }  # fmt: skip
