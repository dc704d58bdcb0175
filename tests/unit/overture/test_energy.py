from __future__ import annotations

import itertools
import math

import boto3
import pytest

from infra.deploy import prices as stack_prices
from overture.accounting import prices
from overture.accounting.energy import (
    CONSTANTS,
    GRAVITON4,
    Footprint,
    Phase,
    Share,
    footprint,
    hosted_api,
    lambda_share,
    of_energy,
)
from overture.accounting.grid import GRIDS, SOURCES, NoGrid, grid
from overture.accounting.ranges import Range, significant

VIRGINIA = grid("us-east-1")


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
def test_every_region_that_has_lambda_has_a_grid_factor(partition: str) -> None:
    regions = boto3.Session().get_available_regions("lambda", partition)
    assert regions
    assert [region for region in regions if region not in GRIDS] == []


def test_an_unknown_region_is_refused_by_name_and_gets_no_mean() -> None:
    with pytest.raises(NoGrid, match=r"^region 'mars-north-1' has no grid factor: choose one of .*us-east-1"):
        grid("mars-north-1")


@pytest.mark.parametrize("region", GRIDS)
def test_a_grid_has_a_source_and_life_cycle_is_not_below_direct(region: str) -> None:
    row = GRIDS[region]
    assert row.source in SOURCES
    assert 2022 <= row.year <= 2026
    assert row.direct <= row.lifecycle.likely
    assert row.water > 0


def test_the_clean_regions_are_as_clean_as_published() -> None:
    """Electricity Maps 2023, as printed in the thesis' table 12: within its bounds or a third of it."""
    for region, published in {"eu-central-2": 68, "ca-central-1": 31, "eu-north-1": 25, "ap-southeast-6": 97}.items():
        likely = GRIDS[region].lifecycle
        assert likely.low <= published * 1.34
        assert likely.high >= published / 1.34


def test_ten_gigabytes_at_work_take_what_the_constants_say() -> None:
    share = lambda_share(10_240)
    assert share.vcpus == pytest.approx(5.789, abs=0.001)
    watts = share.watts("decode")
    # 10 GB are less than the 11.7 that the processor's row carries for 5.8 vCPUs: nothing is added to the likely value.
    assert watts.likely == pytest.approx(5.789 * 1.693, rel=1e-3)
    assert watts.low == pytest.approx(5.789 * 1.084, rel=1e-3)
    assert watts.high == pytest.approx(5.789 * 2.34 + 10 * 0.392, rel=1e-3)


def test_memory_beyond_the_processors_own_is_counted_once() -> None:
    small, large = Share(GRAVITON4, 16, 32), Share(GRAVITON4, 16, 128)
    beyond = 128 - 16 * 129.8 / 64
    assert large.watts("decode").likely - small.watts("decode").likely == pytest.approx(beyond * 0.392)


def test_a_frozen_environment_takes_less_than_a_lingering_one_and_that_less_than_a_busy_one() -> None:
    share = lambda_share(10_240)
    order: list[Phase] = ["warm", "linger", "decode"]
    for less, more in itertools.pairwise(order):
        assert share.watts(less).likely < share.watts(more).likely


def test_a_reply_is_energy_times_grid_and_a_share_of_the_server() -> None:
    found = footprint(lambda_share(10_240), "decode", 370, VIRGINIA)
    wh = 5.789 * 1.693 * 370 / 3600 * 1.14
    assert found.wh.likely == pytest.approx(wh, rel=1e-3)
    assert found.operational_g.likely == pytest.approx(wh * 306 / 1000, rel=1e-3)
    embodied = 880_000 * (5.789 / 64) * 370 / (4 * 365 * 24 * 3600)
    assert found.embodied_g.likely == pytest.approx(embodied, rel=1e-3)
    assert found.gco2e.likely == pytest.approx(found.operational_g.likely + embodied, rel=1e-3)
    assert found.water_ml.likely == pytest.approx(wh / 1.14 * 0.15 + wh * 3.1, rel=1e-3)


def test_in_stockholm_the_hardware_outweighs_the_electricity() -> None:
    found = footprint(lambda_share(10_240), "decode", 370, grid("eu-north-1"))
    assert found.embodied_g.likely > 3 * found.operational_g.likely


def test_a_hosted_8b_takes_85_wh_for_a_million_tokens_as_ecologits_says() -> None:
    found = hosted_api(8, 1_000_000, VIRGINIA)
    it_wh = found.wh.likely / CONSTANTS["pue"].value.likely
    assert it_wh == pytest.approx(74, rel=0.02)  # 85 Wh with a building of 1.15


def test_footprints_add_up() -> None:
    one = of_energy(Range(1, 2, 3), VIRGINIA, Range.exactly(0.5))
    both = one + one
    assert both.wh.likely == pytest.approx(2 * one.wh.likely)
    assert (one * 2).gco2e.high == pytest.approx(both.gco2e.high)
    assert (Footprint() + one) == one


def test_a_range_must_be_in_order() -> None:
    with pytest.raises(ValueError, match="low <= likely <= high"):
        Range(2, 1, 3)
    assert str(Range(10.123, 12.345, 20.9)) == "12 (10-21)"
    assert str(Range.exactly(0.00123)) == "0.0012"


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1234, "1,200"), (0.0149, "0.015"), (99.6, "100"), (math.inf, "inf")]
)
def test_figures_have_two_significant_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_every_constant_has_a_source() -> None:
    assert all(constant.source and constant.unit for constant in CONSTANTS.values())


@pytest.mark.parametrize("name", prices.PRICES)
def test_run_time_prices_are_those_of_the_stack(name: str) -> None:
    assert prices.PRICES[name].usd == stack_prices.PRICES[name].usd
