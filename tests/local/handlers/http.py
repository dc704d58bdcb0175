"""A handler behind an HTTP API, for the emulator's own tests: answers with what the body says, or shows the event."""

from __future__ import annotations

import json
from typing import Any


def lambda_handler(event: Any, context: Any) -> Any:
    asked = json.loads(event.get("body") or "{}")
    if asked.get("fail"):
        raise ValueError("broken")
    return asked.get("answer", {"seen": event})
