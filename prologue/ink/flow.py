"""The flow of a compiled ink story: where it stands, what it passes, what it counts, its variables.

Threads, each a stack of frames, each at a place in a container; all of it plain JSON. What is done there is `story`.
"""

from __future__ import annotations

from typing import Any

from prologue.ink import output
from prologue.ink.content import START_ONLY, TURNS, VISITS, Container, InkError

State = dict[str, Any]
Frame = dict[str, Any]
Pointer = tuple[Container, int]


class Flow:
    """Where a story stands, and how it gets on from there."""

    def __init__(self, root: Container) -> None:
        self.state: State = {}
        #: The knots that were entered, for whoever checks a story.
        self.seen: set[str] = set()
        self._root = root
        self._named = {container.path: container for container in root.walk()}
        self._diverted: Pointer | None = None

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

    # --- getting on ---------------------------------------------------------------------

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
            item = resolve(place)
            ancestor: Container | None = item if isinstance(item, Container) else place[0]
            while ancestor is not None:
                before.add(id(ancestor))
                ancestor = ancestor.parent
        child: Any = resolve(pointer)
        ancestor = pointer[0]
        at_start = True
        while ancestor is not None and (id(ancestor) not in before or ancestor.flags & START_ONLY):
            at_start = at_start and bool(ancestor.content) and ancestor.content[0] is child
            self._visit(ancestor, at_start=at_start)
            child, ancestor = ancestor, ancestor.parent

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


def frame_at(kind: str, at: list[Any] | None) -> Frame:
    """A frame of the call stack, `function` or `tunnel`, that begins there."""
    return {"type": kind, "at": at, "ev": False, "temp": {}, "out": -1}


def resolve(pointer: Pointer) -> Any:
    """The content at a pointer; None behind the last."""
    container, place = pointer
    if place < 0:
        return container
    return container.content[place] if place < len(container.content) else None
