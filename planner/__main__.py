"""The planner's command.

python -m planner SCENARIO.yaml                     money, energy, carbon and waiting
python -m planner SCENARIO.yaml --sweep [F=A,B …]   the choices worth having, and why the others are not
python -m planner SCENARIO.yaml --why               the assumptions that move the answer most
python -m planner SCENARIO.yaml --break-even        visits a day at which a machine that never sleeps is better
python -m planner SCENARIO.yaml --explain           the thesis' decision procedure with this scenario's answers
python -m planner SCENARIO.yaml --write             settings for `make deploy`
python -m planner SCENARIO.yaml --check FILE        how far the plan lies from what a running stack counted
python -m planner SCENARIO.yaml --days TABLE        what a running stack used on each of the last 35 days
python -m planner --defaults | --calibration        every default with its source; published points and errors
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from planner import explain, report
from planner.analysis import decisions, evaluation
from planner.deployment import check, days, hand_off
from planner.scenario import Scenario, ScenarioError, load


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; a refusal is one sentence on stderr and exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m planner", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenario", nargs="?", type=Path, help="a YAML file; without one, the defaults")
    parser.add_argument("--sweep", nargs="*", metavar="FIELD=A,B", help="for example model.shape=1B,8B place.cap=2,10")
    parser.add_argument("--why", action="store_true")
    parser.add_argument("--break-even", action="store_true")
    parser.add_argument("--instance", default="r8g.4xlarge", help="the machine of --break-even")
    parser.add_argument("--explain", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", metavar="FILE", help="a log, a folder of logs, `cloudwatch` or `cloudwatch:STACK`")
    parser.add_argument("--days", metavar="TABLE", help="the stack's table in DynamoDB")
    parser.add_argument("--defaults", action="store_true")
    parser.add_argument("--calibration", action="store_true")
    parser.add_argument("--visits", type=int, default=evaluation.VISITS, help="visits to simulate")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    if options.visits < 1:
        parser.error(f"--visits is {options.visits}: simulate at least one visit")
    try:
        print(_answer(options))
    except ScenarioError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _answer(options: argparse.Namespace) -> str:
    if options.defaults:
        return report.defaults_text()
    if options.calibration:
        return report.calibration_text()
    scenario = load(options.scenario) if options.scenario else Scenario()
    seed = options.seed
    if options.sweep is not None:
        axes = _axes(options.sweep) or decisions.AXES
        choices, refused = decisions.sweep(scenario, axes, seed=seed)
        return report.sweep_text(choices, refused)
    if options.why:
        return report.why_text(*decisions.why(scenario, seed=seed))
    if options.break_even:
        found = decisions.break_even(scenario, instance=options.instance, seed=seed)
        return report.break_even_text(found, options.instance)
    if options.write:
        return hand_off.write(scenario)
    if options.days:
        return days.text(days.read(options.days, scenario.place.region), scenario.place)
    answer = evaluation.evaluate(scenario, visits=options.visits, seed=seed)
    if options.explain:
        return explain.text(answer)
    if options.check:
        return check.text(answer, check.read(options.check, scenario.place.region))
    return report.text(answer)


def _axes(given: Sequence[str]) -> dict[str, list[object]]:
    axes: dict[str, list[object]] = {}
    for one in given:
        name, equals, values = one.partition("=")
        if not equals or not values:
            raise ScenarioError(f"--sweep {one!r} names no values: write FIELD=A,B, such as place.cap=2,10.")
        axes[name] = [value if name == "model.precision" else yaml.safe_load(value) for value in values.split(",")]
    return axes


if __name__ == "__main__":
    sys.exit(main())
