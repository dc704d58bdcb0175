"""Remembering sessions between visits: a small file that only its owner can read.

A session id lets whoever has it go on with the story, so it is kept like a key.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path


def state_file() -> Path:
    """Where sessions are kept: `$XDG_STATE_HOME/overture`, else `~/.local/state/overture`."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "overture" / "sessions.json"


def recall(address: str, file: Path | None = None) -> str | None:
    """The session last visited at this address. A file that cannot be read remembers nothing."""
    session = _read(file or state_file()).get(address)
    return session if isinstance(session, str) else None


def remember(address: str, session: str | None, file: Path | None = None) -> bool:
    """Keeps the session of this address, or forgets it with None. False where nothing can be kept."""
    file = file or state_file()
    kept = _read(file)
    if session is None:
        kept.pop(address, None)
    else:
        kept[address] = session
    new = file.with_suffix(".new")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            json.dump(kept, out, indent=1)
        new.replace(file)
    except OSError:
        return False
    return True


def _read(file: Path) -> dict[str, object]:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
