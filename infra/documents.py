"""Writes the parts of `docs/` that are made of the stack: the settings' table, the diagram, the costs.

`python -m infra.documents` (`make docs`) rewrites them between their marks; a test finds what is out of date.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from infra.settings import ROOT, table


def diagram_part() -> str:
    """The diagram, drawn from a synthesized stack."""
    from infra.diagram import draw, synthesize_bare

    with tempfile.TemporaryDirectory() as folder:
        return draw(synthesize_bare(Path(folder)))


#: Where each part stands, and who writes it.
PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "settings": ("docs/settings.md", table),
    "diagram": ("docs/architecture.md", diagram_part),
}


def replace(text: str, name: str, part: str) -> str:
    """The text with what stands between the marks of that name replaced. Raises ValueError without the marks."""
    begin, end = f"<!-- {name}: written by make docs -->\n", f"<!-- end of {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(text) is None:
        raise ValueError(f"the marks of {name} are missing")
    return pattern.sub(lambda _: begin + part + end, text)


def main() -> int:
    """Rewrites every part."""
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
