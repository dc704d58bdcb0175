"""Figures that stand in more than one place are the same in all of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.deploy.prices import SWEEP_WAIT_S
from local.play import SWEEP_S, overture
from overture import leases, protocol
from overture.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def test_every_part_speaks_the_same_protocol() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): int(version)
        for folder in ("client", "infra", "local", "lambda/overture")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".js")
        for version in re.findall(r"\bPROTOCOL\s*=\s*(\d+)", path.read_text())
    }
    assert "lambda/overture/protocol.py" in found
    assert len(found) > 2, "the clients and the page's config say it, too"
    assert set(found.values()) == {protocol.PROTOCOL}, found


@pytest.fixture(scope="module")
def deployed() -> list[dict[str, Any]]:
    """The functions of the synthesized stack."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    template = yaml.load((ROOT / "tests/infra/template.yaml").read_text(), Loader)
    found = template.get("Resources", template).values()
    return [one["Properties"] for one in found if one.get("Type") == "AWS::Lambda::Function"]


@pytest.mark.parametrize("name", ["front", "ticket", "authorizer", "storyteller"])
def test_a_function_is_the_same_here_and_on_aws(deployed: list[dict[str, Any]], name: str) -> None:
    (local,) = [function for function in overture().functions if function.name == name]
    (on_aws,) = [
        one
        for one in deployed
        if one.get("Handler") == local.handler or (name == "storyteller" and one.get("PackageType") == "Image")
    ]
    assert (on_aws["Timeout"], on_aws["MemorySize"]) == (local.timeout_s, local.memory_mb)


def test_a_reservation_outlives_the_wait_for_a_start() -> None:
    (storyteller,) = [function for function in overture().functions if function.name == "storyteller"]
    assert Settings().reservation_s > storyteller.event_age_s
    assert storyteller.retries == 0, "Front decides what is tried again"
    assert SWEEP_S <= 60


def test_a_sweep_that_waits_for_a_renewal_is_priced_so() -> None:
    assert Settings().lease_s * leases.LATE_RENEWALS / leases.RENEWALS == SWEEP_WAIT_S
