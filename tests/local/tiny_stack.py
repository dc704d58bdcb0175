"""Stacks of tiny functions for the emulator's own tests, and waiting without a fixed time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from local.plan import Function, Plan
from local.stack import ROOT, RunningStack, running

T = TypeVar("T")
TINY = "tests.local.handlers.tiny"
SLOW_INIT = "tests.local.handlers.slow_init.lambda_handler"


def tiny(name: str, handler: str = "", **fields: Any) -> Function:
    """The function `name` whose handler is the one of that name in `handlers/tiny.py`, unless told another."""
    full = handler if "." in handler else f"{TINY}.{handler or name}"
    return Function(name, full, **{"timeout_s": 20.0, **fields})


class TinyStack(RunningStack):
    """A running stack with a folder of traces and a way to call it as the tests do."""

    def __init__(self, stack: RunningStack, traces_in: Path) -> None:
        super().__init__(stack.stack, stack.loop)
        self.traces_in = traces_in

    def ask(self, name: str, event: Any = None) -> Any:
        """Invokes and waits; gives the answer, or fails if the function did."""
        outcome = self.invoke(name, json.dumps(event).encode())
        assert not outcome.failed, outcome.payload
        return json.loads(outcome.payload)

    def error(self, name: str, event: Any = None) -> dict[str, Any]:
        """Invokes and waits; gives the error, or fails if there is none."""
        outcome = self.invoke(name, json.dumps(event).encode())
        assert outcome.failed, outcome.payload
        found: dict[str, Any] = json.loads(outcome.payload)
        return found

    def traces(self, name: str) -> list[Any]:
        """What the handlers left under this name. A line that is still being written does not count yet."""
        path = self.traces_in / name
        whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
        return [json.loads(line) for line in whole.splitlines()]

    def living(self, name: str) -> list[dict[str, Any]]:
        """The environments of a function that have not ended."""
        return [one for one in self.environments(name) if one["state"] != "ended"]


@contextmanager
def tiny_stack(
    folder: Path, *functions: Function, how: dict[str, Any] | None = None, **plan: Any
) -> Iterator[TinyStack]:
    """Runs these functions; `plan` are fields of the plan, `how` what `running` takes. Traces go to `folder`."""
    traces = folder / "traces"
    traces.mkdir(exist_ok=True)
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'lambda'}", "TRACES": str(traces)}
    with running(Plan(functions, environment=environment, **plan), logs=folder / "logs", **(how or {})) as stack:
        yield TinyStack(stack, traces)


def until(find: Callable[[], T], *, within_s: float = 30) -> T:
    """Waits for `find` to give something true, and gives that."""
    end = time.monotonic() + within_s
    while not (found := find()):
        assert time.monotonic() < end, f"still {found!r} after {within_s} s"
        time.sleep(0.01)
    return found


def is_frozen(pid: int) -> bool:
    """Whether a process has been stopped."""
    return _state(pid) == "T"


def is_dead(pid: int) -> bool:
    """Whether a process is no more, or only waits to be noted."""
    return _state(pid) in "XZ"


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def kill(pid: int) -> None:
    """Ends a process as the machine would, without a word."""
    os.kill(pid, 9)


def make_folders(parent: Path) -> dict[str, Path]:
    """A model, a world and an answer index that look right from afar, and are none."""
    model, world, index = (parent / name for name in ("model", "world", "index"))
    for folder in (model, world, index):
        folder.mkdir()
    (model / "config.json").write_text("{}")
    for name in ("world.yaml", "script.yaml", "storyteller.md"):
        (world / name).write_text("x")
    (index / "answers.json").write_text("{}")
    return {"model": model, "world": world, "index": index}
