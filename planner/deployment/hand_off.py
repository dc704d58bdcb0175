"""Handing a plan to the deployment: the settings of `make deploy` that a scenario means."""

from __future__ import annotations

from pathlib import Path

from planner.costs.speeds import check_fit
from planner.scenario import Place, Scenario, ScenarioError

#: Kinds of place that the stack can deploy, and its `start` setting for each.
STARTS = {"lambda": "cold", "snapstart": "snapstart"}


def settings(scenario: Scenario) -> dict[str, str]:
    """The stack's settings. Raises `ScenarioError` for a place that it does not deploy to."""
    place = scenario.place
    if place.kind not in STARTS:
        raise ScenarioError(
            f"place.kind is {place.kind}: the stack deploys to {' or '.join(STARTS)} only; plan one of these."
        )
    check_fit(scenario.model, place)
    default = Place()
    found = {"region": place.region, "start": STARTS[place.kind], "memory": str(place.memory_mb)}
    found["concurrency"] = str(place.cap)
    if place.linger_s:
        found["linger"] = str(round(place.linger_s))
    if place.ceiling_gb_s != default.ceiling_gb_s:
        found["ceiling"] = str(place.ceiling_gb_s)
    if place.wakes_per_day != default.wakes_per_day:
        found["wakes_per_day"] = str(place.wakes_per_day)
    if scenario.limits.usd_month:
        found["budget"] = str(max(1, round(scenario.limits.usd_month)))
    return found


def write(scenario: Scenario, folder: Path = Path("build/plan")) -> str:
    """Keeps the settings in `build/plan/settings` and says how to deploy with them."""
    line = " ".join(f"{name}={value}" for name, value in settings(scenario).items())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings").write_text(line + "\n", encoding="utf-8")
    return f'make deploy SET="{line}"\n(kept in {folder / "settings"}; name your model with bundle=FOLDER)'
