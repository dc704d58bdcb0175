"""A handler whose module starts a thread."""

from __future__ import annotations

import threading
from typing import Any

threading.Thread(target=threading.Event().wait, daemon=True).start()


def lambda_handler(event: Any, context: Any) -> int:
    return threading.active_count()
