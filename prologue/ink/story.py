"""Running compiled ink, a line at a time: the flow, the call stack, choices and variables.

A story's state is plain JSON, so it may be kept anywhere between two lines and played on by another process. What
it does with each piece of content follows inkle's runtime (inkjs), against whose output it is tested. Knows
nothing of beats or visitors (`script`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from prologue.ink import output, values
from prologue.ink.content import COMMANDS, FUNCTIONS, START_ONLY, TURNS, VISITS, Container, InkError

State = dict[str, Any]
Frame = dict[str, Any]
Pointer = tuple[Container, int]

#: A story that takes more steps than this for one line is thought to run in a circle.
STEPS = 20_000


class Ink:
    """One story being played. Change nothing in `state`, but keep it: it is where the story stands."""

    def __init__(self, root: Container, state: State | None = None, *, seed: int = 0) -> None:
        self._root = root
        self._named = {container.path: container for container in root.walk()}
        self.externals: dict[str, Callable[..., Any]] = {}
        #: The knots that were entered, for whoever checks a story.
        self.seen: set[str] = set()
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
        self.state["threads"] = [{"frames": [_frame("tunnel", None)], "before": None}]
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
            "threads": [{"frames": [_frame("tunnel", ["", 0])], "before": None}],
            "out": [], "stack": [], "choices": [], "globals": {}, "visits": {}, "turns": {},
            "turn": -1, "seed": seed, "drawn": 0,
        }  # fmt: skip
        if "global decl" in self._root.named:
            self._go("global decl")
            while self.can_go_on:
                self._step()
        state = self.state
        state.update(threads=[{"frames": [_frame("tunnel", ["", 0])], "before": None}], out=[], stack=[], visits={})
        return state

    @property
    def _thread(self) -> dict[str, Any]:
        thread: dict[str, Any] = self.state["threads"][-1]
        return thread

    @property
    def _frame(self) -> Frame:
        frame: Frame = self._thread["frames"][-1]
        return frame

    def _pointer(self, frame: Frame | None = None) -> Pointer | None:
        at = (frame or self._frame)["at"]
        return None if at is None else (self._named[at[0]], at[1])

    def _point(self, pointer: Pointer | None) -> None:
        self._frame["at"] = None if pointer is None else [pointer[0].path, pointer[1]]

    def _where(self) -> str:
        pointer = self._pointer()
        return f"at {pointer[0].path or 'its beginning'}" if pointer else "at its end"

    def _find(self, path: str, start: Container | None = None) -> Pointer:
        """The pointer to a path; one that begins with a dot leads on from `start`, which holds what names it."""
        found: Pointer | None
        if path.startswith("."):
            assert start is not None
            # The first step leads from the content itself to the container that holds it.
            found = start.find(path[1:].partition(".")[2]) if path.startswith(".^") else start.find(path)
        else:
            found = self._root.find(path)
        if found is None:
            raise InkError(f"it leads to {path!r} {self._where()}, and there is no such place")
        return found

    # --- steps --------------------------------------------------------------------------

    def _step(self) -> None:
        pointer = self._pointer()
        if pointer is None:
            return
        item = _resolve(pointer)
        while isinstance(item, Container):
            self._visit(item, at_start=True)
            if not item.content:
                break
            pointer = (item, 0)
            item = item.content[0]
        self._point(pointer)
        self._diverted: Pointer | None = None
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
            frame = _frame("function" if kind == "f()" else "tunnel", self._frame["at"])
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
                most, least = stack.pop(), stack.pop()
                self.state["drawn"] = drawn = values.draw(self.state["seed"] + self.state["drawn"])
                stack.append(drawn % (most - least + 1) + least)
            case "srnd":
                self.state["seed"], self.state["drawn"] = int(stack.pop()), 0
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
                self.state["threads"] = [{"frames": [_frame("tunnel", None)], "before": None}]
                self.state["choices"] = []

    def _return(self, kind: str) -> None:
        override = self.state["stack"].pop() if kind == "tunnel" else None
        frames = self._thread["frames"]
        if len(frames) < 2 or frames[-1]["type"] != kind:
            raise InkError(f"it returns {self._where()} from a {kind} that it did not enter")
        self._pop()
        if override is not None:
            self._diverted = self._find(override["->"])

    def _pop(self) -> None:
        if self._frame["type"] == "function":
            output.trim_function(self.state["out"], self._frame["out"])
        self._thread["frames"].pop()

    def _advance(self) -> None:
        """To what comes next: where a divert leads, else what follows, else back to who called."""
        self._thread["before"] = self._frame["at"]
        if self._diverted is not None:
            self._point(self._diverted)
            self._diverted = None
            self._enter_changed()
            if self._frame["at"] is not None:
                return
        if self._follow():
            return
        if len(self._thread["frames"]) > 1 and self._frame["type"] == "function":
            self._pop()
            if self._frame["ev"]:
                self.state["stack"].append(None)
        elif len(self.state["threads"]) > 1:
            self.state["threads"].pop()
        else:
            return
        if self._frame["at"] is not None:
            self._advance()

    def _follow(self) -> bool:
        pointer = self._pointer()
        if pointer is None:
            return False
        container, place = pointer[0], pointer[1] + 1
        while place >= len(container.content):
            parent = container.parent
            if parent is None or id(container) not in parent.index:
                self._point(None)
                return False
            container, place = parent, parent.index[id(container)] + 1
        self._point((container, place))
        return True

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

    # --- what is counted ----------------------------------------------------------------

    def _visit(self, container: Container, *, at_start: bool) -> None:
        self.seen.add(container.path.partition(".")[0])
        if container.flags & START_ONLY and not at_start:
            return
        if container.flags & VISITS:
            self.state["visits"][container.path] = self._visits(container) + 1
        if container.flags & TURNS:
            self.state["turns"][container.path] = self.state["turn"]

    def _visits(self, container: Container) -> int:
        return int(self.state["visits"].get(container.path, 0))

    def _enter_changed(self) -> None:
        """Counts the containers that a divert has led into and that were not around it before."""
        pointer = self._pointer()
        if pointer is None or pointer[1] < 0:
            return
        before: set[int] = set()
        if self._thread["before"] is not None:
            place: Pointer = (self._named[self._thread["before"][0]], self._thread["before"][1])
            item = _resolve(place)
            ancestor: Container | None = item if isinstance(item, Container) else place[0]
            while ancestor is not None:
                before.add(id(ancestor))
                ancestor = ancestor.parent
        child: Any = _resolve(pointer)
        ancestor = pointer[0]
        at_start = True
        while ancestor is not None and (id(ancestor) not in before or ancestor.flags & START_ONLY):
            at_start = at_start and bool(ancestor.content) and ancestor.content[0] is child
            self._visit(ancestor, at_start=at_start)
            child, ancestor = ancestor, ancestor.parent

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

    # --- variables ----------------------------------------------------------------------

    def _frame_of(self, name: str) -> int:
        return len(self._thread["frames"]) if name in self._frame["temp"] else 0

    def _read(self, name: str, at: int = -1) -> Any:
        value = self._raw(name, at)
        while isinstance(value, dict) and "ref" in value:
            value = self._raw(value["ref"], value["at"])
        return value

    def _raw(self, name: str, at: int = -1) -> Any:
        if at <= 0 and name in self.state["globals"]:
            return self.state["globals"][name]
        frames = self._thread["frames"]
        temp = frames[at - 1]["temp"] if at > 0 else self._frame["temp"]
        if name not in temp:
            raise InkError(f"it uses the variable {name} {self._where()} before it has a value")
        return temp[name]

    def _assign(self, name: str, value: Any, is_global: bool, again: bool) -> None:
        at = -1
        if again:
            is_global = name in self.state["globals"]
            while not is_global or at >= 0:
                held = self._thread["frames"][at - 1 if at > 0 else -1]["temp"].get(name)
                if not (isinstance(held, dict) and "ref" in held):
                    break
                name, at = held["ref"], held["at"]
                is_global = at == 0
                if is_global:
                    break
        elif isinstance(value, dict) and "ref" in value and value["at"] > 0:
            held = self._thread["frames"][value["at"] - 1]["temp"].get(value["ref"])
            value = held if isinstance(held, dict) and "ref" in held else value
        if is_global:
            self.state["globals"][name] = value
        else:
            self._thread["frames"][at - 1 if at > 0 else -1]["temp"][name] = value


def _frame(kind: str, at: list[Any] | None) -> Frame:
    return {"type": kind, "at": at, "ev": False, "temp": {}, "out": -1}


def _resolve(pointer: Pointer) -> Any:
    container, place = pointer
    if place < 0:
        return container
    return container.content[place] if place < len(container.content) else None


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
