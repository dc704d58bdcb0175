"""What in docs/energy.md and docs/planner.md is made of the code: `python -m planner.documents` rewrites it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from overture.accounting.energy import (
    CONSTANTS,
    GRAVITON2,
    GRAVITON3,
    GRAVITON4,
    Phase,
    footprint,
    hosted_api,
    lambda_share,
)
from overture.accounting.grid import GRIDS, SOURCES, grid
from overture.accounting.ranges import Range, significant
from planner.costs.speeds import LLAMAS, speeds
from planner.report import calibration_text, defaults_text, table
from planner.scenario import Model, Scenario

DOCS = Path(__file__).resolve().parent.parent / "docs"


def constants() -> str:
    """The constants of the method."""
    rows = [[name, _three(one.value), one.unit, one.source] for name, one in CONSTANTS.items()]
    for server in (GRAVITON2, GRAVITON3, GRAVITON4):
        unit = f"kg CO2e to make it, {server.vcpus} vCPUs and {server.memory_gb:g} GB"
        rows.append([server.name, str(server.made_kg), unit, server.source])
    return "\n".join(table(["constant", "likely (low-high)", "unit", "source"], rows))


def grids() -> str:
    """The grid of every region, cleanest first."""
    ordered = sorted(GRIDS.items(), key=lambda item: (item[1].lifecycle.likely, item[0]))
    rows = [
        [region, f"{one.place} ({one.zone})", str(one.lifecycle), significant(one.direct), f"{one.water:g}",
         str(one.year), one.source]
        for region, one in ordered
    ]  # fmt: skip
    head = ["region", "where", "g/kWh life-cycle", "direct", "water, l/kWh", "year", "source"]
    sources = [f"- `{key}`: {one.name} ({one.licence}). {one.method}." for key, one in SOURCES.items()]
    return "\n".join([*table(head, rows), "", *sources])


def phases() -> str:
    """A second of each phase, and a thousand tokens here and on a hosted API."""
    here, share = grid("us-east-1"), lambda_share(10_240)
    rows = []
    for phase in get_args(Phase)[:5]:
        minute = footprint(share, phase, 60, here)
        rows.append([phase, str(share.watts(phase)), str(minute.wh * 1000), str(minute.gco2e * 1000)])
    head = ["phase", "W of IT power", "mWh a minute, with the building", "mg CO2e a minute, us-east-1"]
    return "\n".join(table(head, rows))


def tokens() -> str:
    """The honest line: energy of a million tokens at work here and on a batched GPU."""
    here = grid("us-east-1")
    rows = []
    for shape, llama in LLAMAS.items():
        rate = speeds(Scenario(model=Model(shape=shape))).tokens_per_s
        slow = footprint(lambda_share(10_240), "decode", 1e6 / rate.low, here).wh
        likely = footprint(lambda_share(10_240), "decode", 1e6 / rate.likely, here).wh.likely
        fast = footprint(lambda_share(10_240), "decode", 1e6 / rate.high, here).wh
        ours = Range(fast.low, likely, slow.high)
        api = hosted_api(llama.parameters_b, 1e6, here).wh
        rows.append([shape, str(rate), str(ours), str(api), significant(ours.likely / api.likely)])
    head = ["shape, INT4", "tokens/s on Lambda", "Wh a million tokens, Lambda", "the same on batched GPUs", "times"]
    return "\n".join(table(head, rows))


def _three(value: Range) -> str:
    """A constant as it is published: three digits."""
    low, likely, high = (significant(one, 3) for one in (value.low, value.likely, value.high))
    return likely if low == high else f"{likely} ({low}-{high})"


#: Page, the name of its mark, and what stands there.
PARTS: list[tuple[str, str, Callable[[], str]]] = [
    ("energy.md", "constants", constants),
    ("energy.md", "grids", grids),
    ("energy.md", "phases", phases),
    ("energy.md", "tokens", tokens),
    ("planner.md", "defaults", defaults_text),
    ("planner.md", "calibration", calibration_text),
]


def rewritten(page: str, text: str) -> str:
    """A page with its tables as they are now."""
    for name, mark, made in PARTS:
        if name != page:
            continue
        begin, end = f"<!-- {mark}: python -m planner.documents -->\n", f"<!-- end of {mark} -->"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"docs/{page} has lost its mark {mark}")
        text = f"{head}{begin}\n{made()}\n\n{end}{tail}"
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Rewrites the pages, or says which one is out of date."""
    parser = argparse.ArgumentParser(prog="python -m planner.documents", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a page is out of date")
    options = parser.parse_args(argv)
    for page in dict.fromkeys(name for name, _, _ in PARTS):
        path = DOCS / page
        text = path.read_text(encoding="utf-8")
        new = rewritten(page, text)
        if options.check and new != text:
            print(f"docs/{page} is out of date: run python -m planner.documents.", file=sys.stderr)
            return 1
        path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
