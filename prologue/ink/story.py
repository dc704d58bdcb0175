"""Running compiled ink, a line at a time: what each piece of content does, and choices.

A story's state is plain JSON, so it may be kept anywhere between two lines and played on by another process. What
it does with each piece of content follows inkle's runtime (inkjs), against whose output it is tested. Knows
nothing of beats or visitors (`script`); how it gets from place to place is `flow`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from prologue.ink import output, values
from prologue.ink.content import COMMANDS, FUNCTIONS, Container, InkError
from prologue.ink.flow import Flow, State, frame_at, resolve

#: A story that takes more steps than this for one line is thought to run in a circle.
STEPS = 20_000


class Ink(Flow):
    """One story being played. Change nothing in `state`, but keep it: it is where the story stands."""

    def __init__(self, root: Container, state: State | None = None, *, seed: int = 0) -> None:
        super().__init__(root)
        self.externals: dict[str, Callable[..., Any]] = {}
        self.state: State = copy.deepcopy(state) if state is not None else self._begin(seed)

    # --- what a player does -------------------------------------------------------------

    @property
    def can_go_on(self) -> bool:
        """Whether there is a next line."""
        return self._frame["at"] is not None

    @property
    def choices(self) -> list[dict[str, Any]]:
        """What is to be chosen from: `text` and `tags` of each."""
        if self.can_go_on:
            return []
        return [choice for choice in self.state["choices"] if not choice["silent"]]

    def line(self) -> tuple[str, list[str]]:
        """The next line and its tags. Raises `InkError` where the story cannot go on."""
        state = self.state
        state["out"] = []
        kept: State | None = None
        for _ in range(STEPS):
            self._step()
            if not self.can_go_on:
                self._take_silent_choice()
            out = self.state["out"]
            if not output.in_text(out):
                if kept is not None:
                    verdict = _beyond(kept["out"], out)
                    if verdict == "more":
                        self.state = kept
                        break
                    if verdict == "gone":
                        kept = None
                if output.ends_line(out):
                    kept = (kept or copy.deepcopy(self.state)) if self.can_go_on else None
            if not self.can_go_on:
                break
        else:
            raise InkError(f"it runs in a circle {self._where()} without a line or a choice")
        return output.line_of(self.state["out"])

    def choose(self, place: int) -> None:
        """Takes one of `choices`."""
        choice = self.choices[place]
        self.state["threads"][-1] = choice["thread"]
        self._go(choice["target"])
        self.state["turn"] += 1

    def go(self, path: str) -> bool:
        """Goes to a knot, from wherever the story is; False where there is none of that name."""
        if path not in self._root.named:
            return False
        self.state["threads"] = [{"frames": [frame_at("tunnel", None)], "before": None}]
        self._go(path)
        return True

    def set(self, values: Mapping[str, Any]) -> None:
        """Sets those of these variables that the story declares."""
        for name, value in values.items():
            if name in self.state["globals"]:
                self.state["globals"][name] = value

    # --- state --------------------------------------------------------------------------

    def _begin(self, seed: int) -> State:
        self.state = {
            "threads": [{"frames": [frame_at("tunnel", ["", 0])], "before": None}],
            "out": [], "stack": [], "choices": [], "globals": {}, "visits": {}, "turns": {},
            "turn": -1, "seed": seed, "drawn": 0,
        }  # fmt: skip
        if "global decl" in self._root.named:
            self._go("global decl")
            while self.can_go_on:
                self._step()
        state = self.state
        state.update(threads=[{"frames": [frame_at("tunnel", ["", 0])], "before": None}], out=[], stack=[], visits={})
        return state

    # --- steps --------------------------------------------------------------------------

    def _step(self) -> None:
        pointer = self._pointer()
        if pointer is None:
            return
        item = resolve(pointer)
        while isinstance(item, Container):
            self._visit(item, at_start=True)
            if not item.content:
                break
            pointer = (item, 0)
            item = item.content[0]
        self._point(pointer)
        self._diverted = None
        self._forks = False
        if not isinstance(item, Container) and item is not None:
            self._do(item, pointer[0])
            if self._frame["at"] is None and self._diverted is None:
                return
        self._advance()
        if self._forks:
            self.state["threads"].append(copy.deepcopy(self._thread))

    def _do(self, item: Any, here: Container) -> None:
        if isinstance(item, dict):
            self._do_mapping(item, here)
        elif isinstance(item, str) and not item.startswith(("^", "\n")) and item != "<>":
            if item in COMMANDS:
                self._command(item, here)
            elif item in FUNCTIONS:
                self.state["stack"].append(values.apply(item, self.state["stack"]))
            elif item == "void":
                self._give(None)
            else:
                raise InkError(f"it uses {item!r} {self._where()}, which is not supported here")
        elif isinstance(item, str):
            self._give(item[1:] if item.startswith("^") else output.GLUE if item == "<>" else item)
        else:
            self._give(item)

    def _give(self, value: Any) -> None:
        if self._frame["ev"]:
            self.state["stack"].append(value)
        else:
            self._put(value if isinstance(value, str) or value == output.GLUE else values.shown(value))

    def _put(self, item: Any) -> None:
        output.put(self.state["out"], item, self._thread["frames"])

    def _do_mapping(self, item: dict[str, Any], here: Container) -> None:
        stack = self.state["stack"]
        if "^->" in item:
            self._give({"->": item["^->"]})
        elif "^var" in item:
            at = item.get("ci", -1)
            self._give({"ref": item["^var"], "at": self._frame_of(item["^var"]) if at < 0 else at})
        elif "VAR?" in item:
            stack.append(self._read(item["VAR?"]))
        elif "CNT?" in item:
            stack.append(self._visits(self._find(item["CNT?"], here)[0]))
        elif "VAR=" in item or "temp=" in item:
            self._assign(item.get("VAR=") or item["temp="], stack.pop(), "VAR=" in item, bool(item.get("re")))
        elif "*" in item:
            self._offer(item, here)
        elif "#" in item:
            self.state["out"].append({"tag": item["#"]})
        else:
            self._divert(item, here)

    def _divert(self, item: dict[str, Any], here: Container) -> None:
        kind, path = next((key, item[key]) for key in ("->", "f()", "->t->", "x()") if key in item)
        if item.get("c") and not values.truth(self.state["stack"].pop()):
            return
        if kind == "x()":
            if path in self.externals:
                count = item.get("exArgs", 0)
                given = [self.state["stack"].pop() for _ in range(count)][::-1]
                self.state["stack"].append(self.externals[path](*given))
                return
            if path not in self._root.named:
                raise InkError(f"it calls the function {path}, which nobody provides; write one of that name in ink")
            kind = "f()"
        if item.get("var"):
            target = self._read(path)
            if not isinstance(target, dict) or "->" not in target:
                raise InkError(f"it diverts to the variable {path} {self._where()}, which holds no target")
            path = target["->"]
        self._diverted = self._find(path, here)
        if kind != "->":
            frame = frame_at("function" if kind == "f()" else "tunnel", self._frame["at"])
            frame["out"] = len(self.state["out"])
            self._thread["frames"].append(frame)

    def _command(self, command: str, here: Container) -> None:
        stack, out = self.state["stack"], self.state["out"]
        match command:
            case "ev":
                self._frame["ev"] = True
            case "/ev":
                self._frame["ev"] = False
            case "out":
                value = stack.pop() if stack else None
                if value is not None:
                    self._put(values.shown(value))
            case "du":
                stack.append(stack[-1])
            case "pop":
                stack.pop()
            case "~ret" | "->->":
                self._return("function" if command == "~ret" else "tunnel")
            case "str":
                out.append(output.TEXT)
                self._frame["ev"] = False
            case "/str":
                self._frame["ev"] = True
                stack.append(output.take_text(out))
            case "#":
                out.append(output.TAG)
            case "/#":
                if output.in_text(out):
                    stack.append({"tag": output.take_tag(out)})
                else:
                    out.append(output.TAG_END)
            case "choiceCnt":
                stack.append(len(self.state["choices"]))
            case "turn":
                stack.append(self.state["turn"] + 1)
            case "turns" | "readc":
                container = self._find(stack.pop()["->"])[0]
                if command == "readc":
                    stack.append(self._visits(container))
                else:
                    since = self.state["turns"].get(container.path)
                    stack.append(-1 if since is None else self.state["turn"] - since)
            case "rnd":
                self.state["drawn"] = drawn = values.draw(self.state["seed"] + self.state["drawn"])
                stack.append(values.draw_between(drawn, stack))
            case "srnd":
                self.state["seed"], self.state["drawn"] = values.read_seed(stack), 0
                stack.append(None)
            case "visit":
                stack.append(self._visits(here) - 1)
            case "seq":
                stack.append(self._shuffle(here))
            case "thread":
                self._forks = True
            case "done":
                if len(self.state["threads"]) > 1:
                    self.state["threads"].pop()
                else:
                    self._point(None)
            case "end":
                self.state["threads"] = [{"frames": [frame_at("tunnel", None)], "before": None}]
                self.state["choices"] = []

    def _return(self, kind: str) -> None:
        override = self.state["stack"].pop() if kind == "tunnel" else None
        frames = self._thread["frames"]
        if len(frames) < 2 or frames[-1]["type"] != kind:
            raise InkError(f"it returns {self._where()} from a {kind} that it did not enter")
        self._pop()
        if override is not None:
            self._diverted = self._find(override["->"])

    # --- choices ------------------------------------------------------------------------

    def _offer(self, item: dict[str, Any], here: Container) -> None:
        flags, stack = item.get("flg", 0), self.state["stack"]
        is_open = not flags & 1 or values.truth(stack.pop())
        tags: list[str] = []
        only = self._choice_text(tags) if flags & 4 else ""
        text = self._choice_text(tags) if flags & 2 else ""
        target = self._find(item["*"], here)[0]
        if not is_open or (flags & 16 and self._visits(target)):
            return
        self.state["choices"].append(
            {
                "text": output.clean(text + only),
                "tags": tags[::-1],
                "target": target.path,
                "silent": bool(flags & 8),
                "thread": copy.deepcopy(self._thread),
            }
        )

    def _choice_text(self, tags: list[str]) -> str:
        stack = self.state["stack"]
        text = str(stack.pop())
        while stack and isinstance(stack[-1], dict) and "tag" in stack[-1]:
            tags.append(stack.pop()["tag"])
        return text

    def _take_silent_choice(self) -> None:
        choices = self.state["choices"]
        if choices and all(choice["silent"] for choice in choices):
            self.state["threads"][-1] = choices[0]["thread"]
            self._go(choices[0]["target"])

    def _go(self, path: str) -> None:
        self.state["choices"] = []
        container, place = self._find(path)
        self._point((container, max(0, place)))
        if not container.content:
            self._point(None)
        self._enter_changed()

    def _shuffle(self, here: Container) -> int:
        """Which of the elements of a shuffle comes now: each once in every round."""
        count, visits = self.state["stack"].pop(), self.state["stack"].pop()
        round_, turn = divmod(visits, count)
        number = sum(map(ord, here.path)) + round_ + self.state["seed"]
        left = list(range(count))
        for _ in range(turn):
            number = values.draw(number)
            left.pop(number % len(left))
        return left[values.draw(number) % len(left)]


def _beyond(before: list[Any], after: list[Any]) -> str:
    """What became of the newline a line ended with: `gone` by glue, `more` came after it, or `same`."""
    first, first_tags = _raw_text(before)
    now, tags = _raw_text(after)
    if not first.endswith("\n") or len(now) < len(first) or now[len(first) - 1] != "\n":
        return "gone"
    return "more" if tags > first_tags or now[len(first) :].strip(" \t") else "same"


def _raw_text(out: list[Any]) -> tuple[str, int]:
    text, tags, inside = [], 0, False
    for item in out:
        if item == output.TAG:
            inside = True
            tags += 1
        elif item == output.TAG_END:
            inside = False
        elif isinstance(item, str) and not inside:
            text.append(item)
    return "".join(text), tags
