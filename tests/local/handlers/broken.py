"""A handler that cannot be imported."""

from __future__ import annotations

raise RuntimeError("the book is not there")
