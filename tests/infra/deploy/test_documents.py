"""What is made of the stack: its description, the diagram, the costs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import costs
from infra.deploy import prices
from infra.deploy.description import describe
from infra.settings import Settings
from overture.accounting import prices as run_time
from tests.infra.templates import Synthesized

ROOT = Path(__file__).resolve().parents[3]


def test_what_is_shown_before_has_what_it_will_cost(synth: Callable[..., Synthesized]) -> None:
    made = synth()
    said = describe(made.folder, Settings())
    assert f"Overture in us-east-1: {len(made.resources)} resources." in said
    parts = dict(
        line.strip().split(":", 1) for line in said.splitlines() if line.startswith("  ") and "start=" not in line
    )
    assert list(parts) == ["Storyteller", "Front", "Connecting", "Page", "Table", "Alarms and limits"]
    assert parts["Table"].strip() == "DynamoDB GlobalTable"
    assert "CloudFront Distribution" in parts["Page"]
    assert "CloudWatch Dashboard" in parts["Alarms and limits"]
    assert "Idle: about $" in said
    assert "150000 GB-seconds" in said


def test_every_construct_of_the_stack_is_a_box_of_the_diagram_and_the_other_way_round(
    synth: Callable[..., Synthesized],
) -> None:
    tree = json.loads((synth().folder / "tree.json").read_text())["tree"]["children"]["Overture"]["children"]
    ours = {
        name
        for name, construct in tree.items()
        if construct.get("children") and not re.match(r"Custom::|.*Output$|CDK|BootstrapVersion|CheckBootstrap", name)
    }
    page = (ROOT / "docs" / "architecture.md").read_text()
    diagram = page.partition("```mermaid")[2].partition("```")[0]
    boxes = set(re.findall(r"^    ([A-Z]\w+)[\[(]", diagram, re.MULTILINE))
    assert boxes == ours
    arrows = re.findall(r"^    (\w+) -->(?:\|.*\|)? (\w+)$", diagram, re.MULTILINE)
    assert {end for arrow in arrows for end in arrow} == boxes | {"visitor"}


def test_the_costs_are_computed_from_one_table_of_prices(synth: Callable[..., Synthesized]) -> None:
    assert costs.main(["--check"]) == 0, "docs/costs.md is out of date: run make docs."
    assert prices.PRICES["lambda"].usd == run_time.PRICES["lambda"].usd
    made = synth()
    alarms = [one["Properties"] for one in made.of("AWS::CloudWatch::Alarm").values()]
    assert len(alarms) == prices.ALARMS
    # AWS charges for each metric that an alarm reads.
    read = [sum("MetricStat" in metric for metric in one["Metrics"]) if "Metrics" in one else 1 for one in alarms]
    assert sum(read) == prices.ALARM_METRICS
    assert made.one("AWS::Lambda::Function", "Front")["MemorySize"] == prices.FRONT_GB * 1024


def test_the_readmes_sums_are_those_of_the_costs_page() -> None:
    page = (ROOT / "docs" / "costs.md").read_text().splitlines()
    rows = [line for line in page if line.startswith(("| Llama 3.1 8B", "| one provisioned", "| an r8g.4xlarge"))]
    sums = re.findall(r"\$([\d.]+)", " ".join(rows))
    readme = (ROOT / "README.md").read_text()
    told = re.search(r"it costs about\s+\$(\S+) a month while nobody comes and \$(\S+) for a visit", readme)
    table = re.search(r"^\| Overture, an 8B on Lambda \| \$(\S+) \| \$(\S+) \|", readme, re.MULTILINE)
    held = re.search(r"provisioned concurrency \| \$(\S+) \|", readme)
    machine = re.search(r"\(r8g.4xlarge\) \| \$(\S+) \|", readme)
    assert told and table and held and machine, "README has lost a sum"  # noqa: PT018
    assert told.groups() == table.groups()
    for said in (*table.groups(), held[1], machine[1]):
        places = len(said.partition(".")[2])
        assert said in {f"{float(one):.{places}f}" for one in sums}, f"README says ${said}; docs/costs.md does not"


def test_costs_add_up() -> None:
    # By hand: 10 GB for 8 + 39.5 s; 39 dollars of snapshot a month; 688 of a machine.
    assert costs.BIG.memory_mb == 10_240
    assert costs.start(costs.BIG) == pytest.approx(10 * 47.48 * 0.0000133334, rel=1e-3)
    assert prices.idle(5.0, snapshot_gb=10)["the storyteller's snapshot"] == pytest.approx(39.0, rel=0.001)
    assert costs.break_even(costs.BIG, 688) == pytest.approx(688 / 30 / costs.session(costs.BIG))
    # Three instances, one in each zone, with a fee of 15%.
    assert costs.managed("r8g.4xlarge") == pytest.approx(3 * 0.94256 * 730 * 1.15)
    assert "Lambda Managed Instances, 3 r8g.4xlarge (priced, not deployable yet) | $2,374 |" in costs.tables()
    assert costs.session(costs.BIG) == pytest.approx(
        costs.start(costs.BIG) + costs.telling(costs.BIG) + costs.sweeps(costs.BIG) + sum(prices.around().values())
    )
