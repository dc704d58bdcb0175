"""The grid of every AWS region: grams of CO2e and litres of water for a kWh of electricity.

All factors are location-based (the grid's mix where the machine stands), as ISO/IEC 21031 wants them: what a provider
buys elsewhere does not count. `direct` is what power plants emit; `lifecycle` adds fuel supply and construction and is
what scores are computed with. `SOURCES` says how each row came to be, and under which licence.

A region that is not in the table has no factor: `grid` raises, and no mean takes its place.
"""

from __future__ import annotations

from typing import NamedTuple

from overture.accounting.ranges import Range


class Source(NamedTuple):
    """Where factors come from."""

    name: str
    method: str
    licence: str


SOURCES = {
    "owid": Source(
        "Our World in Data / Ember, in CodeCarbon 3.3.2",
        "life-cycle: the country's published intensity; direct: its generation by fuel times the medians of IPCC AR5 "
        "WG3 Annex III (coal 760, gas 370 g/kWh) and 720 g/kWh for oil; bounds: the least and the most of this, "
        "EcoLogits 0.11.3 and, where it has the zone, Electricity Maps 2023",
        "CC BY 4.0 (data), MIT (CodeCarbon)",
    ),
    "egrid": Source(
        "US EPA eGRID2023, state output emission rate",
        "direct: the state's rate, also the low bound; life-cycle: 1.25 times that (the ratio of AR5's life-cycle and "
        "direct medians for the US mix); high: what Cloud Carbon Footprint gives for the region's interconnection, "
        "or 1.2 times the likely value where that is less",
        "public domain",
    ),
    "canada": Source(
        "Statistics Canada's generation by province, in CodeCarbon 3.3.2",
        "the province's mix times AR5's direct and life-cycle medians; low: direct for Alberta; high: 1.2 times",
        "Open Government Licence - Canada",
    ),
    "nga": Source(
        "Australian National Greenhouse Accounts Factors 2024",
        "direct: scope 2; life-cycle: scopes 2 and 3; high: 1.2 times the likely value",
        "CC BY 4.0",
    ),
}
#: Water of generation, litres a kWh, by country: EcoLogits 0.11.3 (World Resources Institute's method, MPL-2.0).
WATER_SOURCE = "EcoLogits 0.11.3, electricity_mixes.json (MPL-2.0); 3.9 is its mean of the world"


class Grid(NamedTuple):
    """The grid of one region. Factors in g CO2e a kWh, water in litres a kWh."""

    place: str
    zone: str
    year: int
    direct: float
    lifecycle: Range
    water: float
    source: str


_TABLE: dict[str, tuple[str, str, int, float, tuple[float, float, float], float, str]] = {
    "af-south-1": ("Cape Town", "ZAF", 2023, 633, (699, 708, 708), 3.9, "owid"),
    "ap-east-1": ("Hong Kong", "HKG", 2022, 522, (675, 699, 699), 3.9, "owid"),
    "ap-east-2": ("Taipei", "TWN", 2023, 485, (633, 642, 642), 1.5, "owid"),
    "ap-northeast-1": ("Tokyo", "JPN", 2023, 391, (460, 485, 485), 2.3, "owid"),
    "ap-northeast-2": ("Seoul", "KOR", 2023, 361, (417, 431, 431), 1.9, "owid"),
    "ap-northeast-3": ("Osaka", "JPN", 2023, 391, (460, 485, 485), 2.3, "owid"),
    "ap-south-1": ("Mumbai", "IND", 2023, 583, (660, 713, 713), 3.4, "owid"),
    "ap-south-2": ("Hyderabad", "IND", 2023, 583, (660, 713, 713), 3.4, "owid"),
    "ap-southeast-1": ("Singapore", "SGP", 2023, 364, (471, 471, 497), 3.9, "owid"),
    "ap-southeast-2": ("Sydney", "AUS-NSW", 2024, 660, (660, 700, 840), 4.7, "nga"),
    "ap-southeast-3": ("Jakarta", "IDN", 2022, 544, (676, 676, 680), 2.3, "owid"),
    "ap-southeast-4": ("Melbourne", "AUS-VIC", 2024, 770, (770, 860, 1032), 4.7, "nga"),
    "ap-southeast-5": ("Malaysia", "MYS", 2022, 467, (602, 606, 606), 1.7, "owid"),
    "ap-southeast-6": ("New Zealand", "NZL", 2023, 67, (93, 113, 113), 15.0, "owid"),
    "ap-southeast-7": ("Thailand", "THA", 2023, 376, (546, 550, 550), 2.9, "owid"),
    "ca-central-1": ("Montreal", "CAN-QC", 2023, 3, (28, 28, 34), 8.2, "canada"),
    "ca-west-1": ("Calgary", "CAN-AB", 2023, 333, (333, 434, 521), 8.2, "canada"),
    "cn-north-1": ("Beijing", "CHN", 2023, 479, (525, 582, 582), 6.0, "owid"),
    "cn-northwest-1": ("Ningxia", "CHN", 2023, 479, (525, 582, 582), 6.0, "owid"),
    "eu-central-1": ("Frankfurt", "DEU", 2023, 288, (330, 381, 400), 1.9, "owid"),
    "eu-central-2": ("Zurich", "CHE", 2023, 15, (35, 35, 68), 5.7, "owid"),
    "eu-north-1": ("Stockholm", "SWE", 2023, 12, (25, 41, 41), 6.0, "owid"),
    "eu-south-1": ("Milan", "ITA", 2023, 250, (285, 331, 331), 4.8, "owid"),
    "eu-south-2": ("Spain", "ESP", 2023, 126, (154, 174, 174), 6.2, "owid"),
    "eu-west-1": ("Ireland", "IRL", 2023, 232, (257, 291, 291), 1.5, "owid"),
    "eu-west-2": ("London", "GBR", 2023, 168, (217, 238, 238), 2.3, "owid"),
    "eu-west-3": ("Paris", "FRA", 2023, 39, (41, 56, 56), 3.7, "owid"),
    "il-central-1": ("Tel Aviv", "ISR", 2022, 421, (493, 583, 583), 3.9, "owid"),
    "me-central-1": ("UAE", "ARE", 2022, 305, (468, 561, 561), 3.9, "owid"),
    "me-south-1": ("Bahrain", "BHR", 2022, 370, (902, 905, 905), 3.9, "owid"),
    "mx-central-1": ("Mexico", "MEX", 2023, 354, (474, 507, 507), 5.3, "owid"),
    "sa-east-1": ("São Paulo", "BRA", 2023, 49, (82, 98, 110), 18.6, "owid"),
    "us-east-1": ("Northern Virginia", "USA-VA", 2023, 245, (245, 306, 420), 3.1, "egrid"),
    "us-east-2": ("Ohio", "USA-OH", 2023, 485, (485, 606, 727), 3.1, "egrid"),
    "us-gov-east-1": ("Ohio", "USA-OH", 2023, 485, (485, 606, 727), 3.1, "egrid"),
    "us-gov-west-1": ("Oregon", "USA-OR", 2023, 166, (166, 207, 322), 3.1, "egrid"),
    "us-west-1": ("Northern California", "USA-CA", 2023, 179, (179, 224, 322), 3.1, "egrid"),
    "us-west-2": ("Oregon", "USA-OR", 2023, 166, (166, 207, 322), 3.1, "egrid"),
}
GRIDS: dict[str, Grid] = {
    region: Grid(place, zone, year, direct, Range(*lifecycle), water, source)
    for region, (place, zone, year, direct, lifecycle, water, source) in _TABLE.items()
}


class NoGrid(ValueError):
    """A region without a factor; the message is one sentence with the remedy."""


def grid(region: str) -> Grid:
    """The grid of a region. Raises `NoGrid`."""
    try:
        return GRIDS[region]
    except KeyError:
        known = ", ".join(GRIDS)
        raise NoGrid(
            f"region {region!r} has no grid factor: choose one of {known}, or add its row to "
            "overture/accounting/grid.py."
        ) from None
