"""Writes the generated parts of `docs/` between their marks (`make docs`). A test finds what is out of date."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from infra.settings import ROOT, table

#: Each part's file, and the function that writes it.
PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "settings": ("docs/settings.md", table),
}


def replace(text: str, name: str, part: str) -> str:
    """Replaces what is between the marks of that name. Raises ValueError without the marks."""
    begin, end = f"<!-- {name}: written by make docs -->\n", f"<!-- end of {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(text) is None:
        raise ValueError(f"the marks of {name} are missing")
    return pattern.sub(lambda _: begin + part + end, text)


def main() -> int:
    for name, (path, write) in PARTS.items():
        file = ROOT / path
        old = file.read_text()
        new = replace(old, name, write())
        if new != old:
            file.write_text(new)
            print(f"{path} rewritten.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
