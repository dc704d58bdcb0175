"""A handler that cannot be imported."""

from __future__ import annotations

raise RuntimeError("the index is not there")
