"""The ladder from 16 bits on a machine that never sleeps to a storyteller that scales to zero: a table and a chart.

    python -m bench.ladder [SCENARIO.yaml] [--chart build/bench/ladder.svg]

Time, money, energy and carbon of the same visit after each step. `planner/analysis/ladder.py` has the
steps and their sources.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model_build.plots import write_bars
from overture.accounting.ranges import significant
from planner.analysis.ladder import Rung, climb
from planner.report import dollars, heading, table
from planner.scenario import Scenario, ScenarioError, load


def text(rungs: Sequence[Rung]) -> str:
    """The table."""
    names = "step|a reply, s|p95 wait, s|$ a visit|mWh at work|mWh a visit|g CO2e a visit|rests on"
    rows = [
        [
            one.name,
            significant(one.reply_s),
            significant(one.answer.opening.p95),
            dollars(one.answer.usd_visit.likely),
            significant(one.at_work_wh * 1000),
            significant(one.answer.visit.wh.likely * 1000),
            significant(one.answer.visit.gco2e.likely),
            one.source,
        ]
        for one in rungs
    ]
    return "\n".join(table(names.split("|"), rows))


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the ladder and draws it."""
    parser = argparse.ArgumentParser(prog="python -m bench.ladder", description=__doc__)
    parser.add_argument("scenario", nargs="?", type=Path)
    parser.add_argument("--visits", type=int, default=1_500)
    parser.add_argument("--chart", type=Path, default=Path("build/bench/ladder.svg"))
    options = parser.parse_args(argv)
    try:
        scenario = load(options.scenario) if options.scenario else Scenario()
        rungs = climb(scenario, visits=options.visits)
    except ScenarioError as error:
        print(error, file=sys.stderr)
        return 2
    print(heading(scenario), text(rungs), sep="\n\n")
    groups = {
        "g CO2e a visit": {one.name: one.answer.visit.gco2e.likely for one in rungs},
        "$ a visit": {one.name: one.answer.usd_visit.likely for one in rungs},
        "seconds a reply": {one.name: one.reply_s for one in rungs},
    }
    write_bars(options.chart, "The same visit, step by step", groups, "")
    print(f"\ndrawn in {options.chart}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
