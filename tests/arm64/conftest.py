"""These tests are for a real aarch64 Python (`scripts/arm64` runs them, emulated); elsewhere there is none."""

from __future__ import annotations

import platform

if platform.machine() not in ("aarch64", "arm64"):
    collect_ignore_glob = ["test_*.py"]
