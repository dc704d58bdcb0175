"""A handler whose import takes SLOW_S seconds, and leaves a trace."""

from __future__ import annotations

import os
import time
from typing import Any

from tests.local.handlers.tiny import trace

trace("inits", os.getpid())
time.sleep(float(os.environ["SLOW_S"]))


def lambda_handler(event: Any, context: Any) -> Any:
    return {"pid": os.getpid(), "left_ms": context.get_remaining_time_in_millis()}
