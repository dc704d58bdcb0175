"""Handlers that each do one thing, for the emulator's own tests."""

from __future__ import annotations

import os
from typing import Any


def echo(event: Any, context: Any) -> Any:
    return {"event": event, "pid": os.getpid(), "left_ms": context.get_remaining_time_in_millis()}
