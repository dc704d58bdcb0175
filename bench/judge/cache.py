"""What models said, kept in a file: a JSON object a line, found again by a hash of all that was asked."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

from bench.judge import JudgeError


def key_of(*asked: Any) -> str:
    """The sha256 of what was asked."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class Cache:
    """The rows of a file by their keys. Each is written as soon as it is known, so a kill loses one at the most."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._rows: dict[str, dict[str, Any]] = {}
        content = b""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise JudgeError(f"{path} cannot be read ({error}): give another --cache.") from None
        whole = content.rfind(b"\n") + 1
        self._cut_at = whole if whole < len(content) else None  # where a row begins that a kill cut off
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                row = json.loads(line)
                self._rows[row["key"]] = row
            except (ValueError, KeyError, TypeError):
                raise JudgeError(f"{path}, line {number} is no row of a cache: remove it.") from None

    def get(self, key: str) -> dict[str, Any] | None:
        """The row of a key, if there is one."""
        return self._rows.get(key)

    def add(self, key: str, **row: Any) -> None:
        """Keeps a row, in the file first."""
        line = json.dumps({"key": key, **row}, ensure_ascii=True) + "\n"
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                if self._cut_at is not None:
                    file.truncate(self._cut_at)
                    self._cut_at = None
                file.write(line.encode())
            self._rows[key] = {"key": key, **row}
