"""The footprint of a simulated horizon: which machine was busy, held or idle for how long, and what lay around it."""

from __future__ import annotations

from infra.deploy.prices import CODE_GB, FRONT_GB, VISIT
from overture.accounting.energy import Footprint, Share, footprint, hosted_api, lambda_share, moved, stored
from overture.accounting.grid import grid
from overture.accounting.ledger import Ledger, by_phase
from overture.accounting.ranges import Range
from planner.costs.prices import INSTANCES, frames, machines, posts
from planner.costs.speeds import LLAMAS, weights_gb
from planner.scenario import Scenario
from planner.simulation.system import Outcome

#: Bytes of one message with its protocol, both ways: tokens of a tenth of a second in JSON.
MESSAGE_GB = 300e-9


def ledger(scenario: Scenario, outcome: Outcome) -> Ledger:
    """What a simulated horizon used, as the running stack would keep it."""
    return Ledger(
        start_s=outcome.start_s,
        prefill_s=outcome.prefill_s,
        decode_s=outcome.decode_s,
        linger_s=outcome.linger_s,
        warm_s=outcome.warm_s,
        search_s=outcome.index_lines * VISIT.front_s,
        starts=outcome.starts,
        replies=outcome.replies,
        tokens=round(outcome.tokens),
        answers=outcome.index_lines,
        messages=round(frames(scenario, outcome) + posts(outcome)),
    )


def by_part(scenario: Scenario, outcome: Outcome, days: float) -> dict[str, Footprint]:
    """The footprint of the whole horizon by part. Parts add up, and none is in two."""
    place = scenario.place
    here = grid(place.region)
    hours = days * 24
    parts: dict[str, Footprint] = {}
    if place.kind in ("lambda", "snapstart", "provisioned"):
        kept = by_phase(ledger(scenario, outcome), place.memory_mb, FRONT_GB * 1024, here)
        parts = {name: kept[name] for name in ("start", "prefill", "decode", "linger", "warm")}
        if place.kind == "provisioned":
            rest_s = max(0.0, hours * 3600 * place.provisioned - outcome.prepared_s)
            parts["held ready"] = footprint(lambda_share(place.memory_mb), "linger", rest_s, here)
        image_gb = weights_gb(scenario.model) + CODE_GB
        parts["storage"] = stored(image_gb, hours, "ecr", here)
        parts["network"] = moved(outcome.starts * image_gb, here)
    elif place.kind in ("ec2", "managed_instances"):
        parts = _machines(scenario, outcome, hours)
    else:
        parts["tokens"] = hosted_api(LLAMAS[scenario.model.shape].parameters_b, outcome.tokens, here)
    handled = frames(scenario, outcome)
    parts["Front"] = footprint(lambda_share(FRONT_GB * 1024), "search", handled * VISIT.front_s, here)
    messages = moved((2 * handled + posts(outcome)) * MESSAGE_GB, here)
    parts["network"] = parts.get("network", Footprint()) + messages
    return parts


def total(parts: dict[str, Footprint]) -> Footprint:
    """The sum of the parts."""
    found = Footprint()
    for part in parts.values():
        found = found + part
    return found


def widened(likely: Footprint, fast: Footprint, slow: Footprint) -> Footprint:
    """The likely footprint with the bounds that a faster and a slower model give."""

    def wide(a: Range, b: Range, c: Range) -> Range:
        return Range(min(a.low, b.low, c.low), a.likely, max(a.high, b.high, c.high))

    return Footprint(
        wide(likely.wh, fast.wh, slow.wh),
        wide(likely.operational_g, fast.operational_g, slow.operational_g),
        wide(likely.embodied_g, fast.embodied_g, slow.embodied_g),
        wide(likely.water_ml, fast.water_ml, slow.water_ml),
    )


def _machines(scenario: Scenario, outcome: Outcome, hours: float) -> dict[str, Footprint]:
    """Machines that are always on: busy while they tell, at rest and reserved for the remaining hours."""
    place, kind = scenario.place, INSTANCES[scenario.place.instance]
    here = grid(place.region)
    share = Share(kind.server, kind.vcpus, kind.memory_gb)
    busy_s = outcome.busy_s
    rest_s = max(0.0, hours * 3600 * machines(place) - busy_s)
    return {"decode": footprint(share, "decode", busy_s, here), "idle": footprint(share, "linger", rest_s, here)}
