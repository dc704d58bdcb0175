"""Handlers that each do one thing, for the emulator's own tests. They leave traces in the folder TRACES."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

TRACES = Path(os.environ["TRACES"])


def trace(name: str, value: Any) -> None:
    with (TRACES / name).open("a") as file:
        file.write(json.dumps(value) + "\n")


def echo(event: Any, context: Any) -> Any:
    return {
        "event": event,
        "pid": os.getpid(),
        "left_ms": context.get_remaining_time_in_millis(),
        "request_id": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "name": context.function_name,
        "memory": context.memory_limit_in_mb,
        "trace": os.environ["_X_AMZN_TRACE_ID"],
    }


def environment(event: Any, context: Any) -> Any:
    return dict(os.environ)


def nap(event: Any, context: Any) -> Any:
    trace("naps", event)
    time.sleep(event["s"])
    return os.getpid()


def die(event: Any, context: Any) -> Any:
    os.kill(os.getpid(), event.get("signal", signal.SIGKILL))
    time.sleep(60)


def leave(event: Any, context: Any) -> Any:
    os._exit(event["status"])


def fail(event: Any, context: Any) -> Any:
    trace("fails", event)
    raise ValueError("no such thing")


def keep(event: Any, context: Any) -> Any:
    """Remembers what it got: for destinations, and for the events of API Gateway."""
    trace(os.environ["AWS_LAMBDA_FUNCTION_NAME"], event)
    return {"statusCode": 200, "kept": True}


def long(event: Any, context: Any) -> Any:
    return "x" * int(event["bytes"])


def unfit(event: Any, context: Any) -> Any:
    return {1, 2}


def talk(event: Any, context: Any) -> Any:
    print("said on stdout")
    print("said on stderr", file=sys.stderr)
    return None


def parent(event: Any, context: Any) -> Any:
    """Starts a process that would outlive it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    return child.pid


ticks = 0


def _tick() -> None:
    global ticks
    while True:
        ticks += 1
        (TRACES / f"ticks-{os.getpid()}").write_text(str(ticks))
        time.sleep(0.002)


def ticker(event: Any, context: Any) -> Any:
    """Counts in a thread that goes on after the answer, as far as it is let."""
    if ticks == 0:
        threading.Thread(target=_tick, daemon=True).start()
    return os.getpid()
