"""A scenario: who comes, what they do, with which model and where. One YAML file, every field with a default.

Each field's `source` says where its default comes from; `defaults()` lists them all. Unknown fields and values that
cannot be are refused with one sentence that names the field and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
import yaml
from msgspec import Meta, Struct

from overture.accounting.grid import GRIDS

Kind = Literal["lambda", "snapstart", "provisioned", "managed_instances", "ec2", "api"]
Shape = Literal["135M", "1B", "3B", "8B"]
Precision = Literal["int4", "int8", "16"]
Engine = Literal["ours", "llama.cpp", "transformers"]

#: Patterns that need no trace.
PATTERNS = ("flat", "evening", "office", "launch")


class ScenarioError(ValueError):
    """A scenario that cannot be used; the message is one sentence naming field, value and remedy."""


class Traffic(Struct, forbid_unknown_fields=True, frozen=True):
    """Who comes, and when."""

    visits_per_day: Annotated[
        float, Meta(gt=0, description="Mean visits a day.", extra={"source": "an assumption; a small public demo"})
    ] = 20.0
    pattern: Annotated[
        str,
        Meta(
            description="flat, evening (80% in 16-24 h), office (80% on weekdays, 9-17 h), launch (a first day that "
            "fades), or a CSV file: a column `at` (seconds or ISO 8601), or `hour,visits`.",
            extra={"source": "an assumption; a trace of your own is better"},
        ),
    ] = "evening"
    growth: Annotated[
        float,
        Meta(gt=0, description="Multiplies the visits.", extra={"source": "1: as they are"}),
    ] = 1.0
    abandon_after_s: Annotated[
        float | None,
        Meta(
            description="Mean patience of a visitor who waits for a first word, exponential; null: nobody gives up.",
            extra={"source": "not measured anywhere; null shows the whole wait"},
        ),
    ] = None
    addresses: Annotated[
        int,
        Meta(
            ge=0,
            description="Network addresses that share the visits, for wakes_per_day; 0: each visit has its own.",
            extra={"source": "0: the cap never acts"},
        ),
    ] = 0


class Visit(Struct, forbid_unknown_fields=True, frozen=True):
    """What a visitor does."""

    turns: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="Lines of a visit, the opening too.",
            extra={"source": "infra/deploy/prices.py: VISIT"},
        ),
    ] = 10
    reply_tokens: Annotated[
        float, Meta(gt=0, description="Median tokens of a reply.", extra={"source": "infra/deploy/prices.py: VISIT"})
    ] = 120.0
    reply_tokens_p95: Annotated[
        float,
        Meta(
            gt=0,
            description="95th percentile of it; lengths are lognormal.",
            extra={"source": "an assumption, below the storyteller's limit of 320"},
        ),
    ] = 240.0
    prompt_tokens: Annotated[
        int,
        Meta(
            ge=1,
            description="Tokens of a line's prompt before any history.",
            extra={"source": "bench.engine.story: 190"},
        ),
    ] = 190
    reused: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of these that the shipped prefix has ready.",
            extra={"source": "bench.engine.story: 36 of 190 are left to compute"},
        ),
    ] = 0.81
    think_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Mean seconds from the end of a reply to the next line, exponential.",
            extra={"source": "an assumption: reading 120 tokens and typing a line"},
        ),
    ] = 20.0
    index_share: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of lines that the answer index replies to.",
            extra={"source": "0: no visitor has been counted; take it from a running stack (--check)"},
        ),
    ] = 0.0
    prologue_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds that the prologue lasts before the opening scene is asked for.",
            extra={"source": "an assumption: a quick visitor of emerald_city; a slow one waits less"},
        ),
    ] = 25.0
    steps: Annotated[
        int, Meta(ge=0, description="Frames of the prologue.", extra={"source": "infra/deploy/prices.py: VISIT"})
    ] = 20


class Model(Struct, forbid_unknown_fields=True, frozen=True):
    """Which model, in which form."""

    shape: Annotated[Shape, Meta(description="The Llama.", extra={"source": "the published references run an 8B"})] = (
        "8B"
    )
    precision: Annotated[
        Precision, Meta(description="Bits of a weight.", extra={"source": "what `model_build pack` makes"})
    ] = "int4"
    engine: Annotated[Engine, Meta(description="What runs it.", extra={"source": "this project's"})] = "ours"
    prefix_shipped: Annotated[
        bool, Meta(description="The world's prompt comes with the model.", extra={"source": "what `pack` does"})
    ] = True
    cache_slots: Annotated[
        int,
        Meta(
            ge=1,
            description="Stories whose cache an environment keeps; another one is computed again when it returns.",
            extra={"source": "the engine keeps 2 (storyteller/engine)"},
        ),
    ] = 2
    tokens_per_s: Annotated[
        float | None,
        Meta(description="Decode speed; null: from planner/costs/speeds.py.", extra={"source": "null: calibrated"}),
    ] = None
    start_s: Annotated[
        float | None,
        Meta(
            description="Seconds of a start; null: from planner/costs/speeds.py.", extra={"source": "null: calibrated"}
        ),
    ] = None


class Place(Struct, forbid_unknown_fields=True, frozen=True):
    """Where it runs."""

    kind: Annotated[
        Kind,
        Meta(
            description="lambda (cold starts), snapstart, provisioned, managed_instances, ec2 or api (hosted).",
            extra={"source": "the stack's default: start=cold"},
        ),
    ] = "lambda"
    region: Annotated[str, Meta(description="AWS region.", extra={"source": "infra/settings.py"})] = "us-east-1"
    memory_mb: Annotated[
        int, Meta(ge=512, le=10_240, description="Lambda's memory.", extra={"source": "infra/settings.py"})
    ] = 10_240
    cap: Annotated[
        int,
        Meta(ge=0, description="Storytellers at work at once; 0: no cap.", extra={"source": "infra/settings.py"}),
    ] = 2
    linger_s: Annotated[
        float,
        Meta(
            ge=0,
            le=600,
            description="Seconds a storyteller waits for the next line.",
            extra={"source": "infra/settings.py"},
        ),
    ] = 0.0
    keep_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds that Lambda keeps an idle environment.",
            extra={"source": "an assumption; AWS promises nothing, observers report 5 to 15 minutes"},
        ),
    ] = 600.0
    provisioned: Annotated[
        int, Meta(ge=1, description="Environments held ready (provisioned).", extra={"source": "the least"})
    ] = 1
    instance: Annotated[
        str, Meta(description="EC2 instance type.", extra={"source": "both references use r8g.4xlarge"})
    ] = "r8g.4xlarge"
    replicas: Annotated[
        int, Meta(ge=1, description="Instances (ec2, managed_instances).", extra={"source": "the least"})
    ] = 1
    streams: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="Replies at once on one instance.",
            extra={"source": "1: the engine tells one at a time"},
        ),
    ] = 1
    batch_cost: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="What each further stream costs the others: 0 a perfect batch, 1 none.",
            extra={"source": "1: streams of this engine share the memory's speed"},
        ),
    ] = 1.0
    ceiling_gb_s: Annotated[
        int,
        Meta(ge=0, description="Kill switch: GB-seconds in 24 hours; 0: none.", extra={"source": "infra/settings.py"}),
    ] = 150_000
    wakes_per_day: Annotated[
        int,
        Meta(ge=0, description="Wakes for one address in a day; 0: no cap.", extra={"source": "infra/settings.py"}),
    ] = 100
    price_factor: Annotated[
        float,
        Meta(
            gt=0,
            description="The region's prices over us-east-1's.",
            extra={"source": "1: list prices of us-east-1; look the region's up"},
        ),
    ] = 1.0


class Limits(Struct, forbid_unknown_fields=True, frozen=True):
    """What must hold; null: no limit."""

    p95_wait_s: Annotated[
        float | None, Meta(description="Seconds beyond the prologue.", extra={"source": "no limit"})
    ] = None
    usd_month: Annotated[float | None, Meta(description="US dollars a month.", extra={"source": "no limit"})] = None
    gco2e_visit: Annotated[float | None, Meta(description="g CO2e a visit (SCI).", extra={"source": "no limit"})] = None
    own_model: Annotated[
        bool,
        Meta(
            description="The model must be one's own: a hosted API is shown and not chosen.",
            extra={"source": "the storyteller is a model of one's own, with its prefix and its adapter"},
        ),
    ] = True
    quality: Annotated[
        float | None, Meta(description="Least quality (planner/costs/speeds.py).", extra={"source": "no limit"})
    ] = None


class Scenario(Struct, forbid_unknown_fields=True, frozen=True):
    """All of it."""

    name: Annotated[str, Meta(description="What it is called.", extra={"source": "-"})] = "a small demo"
    traffic: Traffic = Traffic()
    visit: Visit = Visit()
    model: Model = Model()
    place: Place = Place()
    limits: Limits = Limits()

    @property
    def visits_per_day(self) -> float:
        """Visits a day, grown."""
        return self.traffic.visits_per_day * self.traffic.growth


class Default(NamedTuple):
    """One field as `defaults` lists it."""

    name: str
    value: object
    description: str
    source: str


def load(path: Path) -> Scenario:
    """Reads a scenario from a YAML file. Raises `ScenarioError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"{path} cannot be read: {error.strerror}; name a YAML file.") from None
    return parse(text, folder=path.parent)


def parse(text: str, *, folder: Path = Path()) -> Scenario:
    """Reads a scenario from YAML. A trace's path is taken from `folder`. Raises `ScenarioError`."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError(f"the scenario is no YAML: {str(error).splitlines()[0]}; correct that line.") from None
    return convert({} if found is None else found, folder=folder)


def convert(found: Any, *, folder: Path = Path()) -> Scenario:
    """Makes a scenario of plain data. Raises `ScenarioError`."""
    if not isinstance(found, dict):
        raise ScenarioError("a scenario is a mapping such as `traffic: {visits_per_day: 20}`; write it as one.")
    if isinstance(bits := found.get("model"), dict) and bits.get("precision") == 16:
        found = {**found, "model": {**bits, "precision": "16"}}  # YAML reads a bare 16 as a number
    try:
        scenario = msgspec.convert(found, Scenario)
    except msgspec.ValidationError as error:
        raise ScenarioError(_sentence(str(error), found)) from None
    return checked(scenario, folder=folder)


def checked(scenario: Scenario, *, folder: Path = Path()) -> Scenario:
    """The scenario, if its fields go together. Raises `ScenarioError`."""
    region = scenario.place.region
    if region not in GRIDS:
        known = ", ".join(GRIDS)
        raise ScenarioError(f"place.region is {region!r}: no grid factor is known for it; take one of {known}.")
    visit = scenario.visit
    if visit.reply_tokens_p95 < visit.reply_tokens:
        raise ScenarioError(
            f"visit.reply_tokens_p95 is {visit.reply_tokens_p95:g}, below reply_tokens ({visit.reply_tokens:g}): "
            "raise it, or lower the median."
        )
    for name, value in (
        ("traffic.abandon_after_s", scenario.traffic.abandon_after_s),
        ("model.tokens_per_s", scenario.model.tokens_per_s),
    ):
        if value is not None and value <= 0:
            raise ScenarioError(f"{name} is {value:g}: expected a number above 0, or null.")
    if scenario.model.start_s is not None and scenario.model.start_s < 0:
        raise ScenarioError(f"model.start_s is {scenario.model.start_s:g}: expected 0 or more, or null.")
    pattern = scenario.traffic.pattern
    if pattern not in PATTERNS:
        path = folder / pattern
        if not pattern.endswith(".csv"):
            raise ScenarioError(
                f"traffic.pattern is {pattern!r}: expected one of {', '.join(PATTERNS)}, or a file that ends in .csv."
            )
        if not path.is_file():
            raise ScenarioError(f"traffic.pattern is {pattern!r}: there is no file {path}; correct the path.")
        traffic = msgspec.structs.replace(scenario.traffic, pattern=str(path))
        return msgspec.structs.replace(scenario, traffic=traffic)
    return scenario


def with_values(scenario: Scenario, values: Mapping[str, object]) -> Scenario:
    """The scenario with some fields changed: `{"place.cap": 4}`. Raises `ScenarioError`."""
    plain: dict[str, Any] = msgspec.to_builtins(scenario)
    for name, value in values.items():
        section, _, field = name.partition(".")
        if not field or section not in plain or field not in plain[section]:
            raise ScenarioError(f"{name} is not a field: write section.field, such as place.cap.")
        plain[section][field] = value
    return convert(plain)


def defaults() -> Iterator[Default]:
    """Every field with its default, what it means and where the default comes from."""
    for section, kind in get_type_hints(Scenario).items():
        if section == "name":
            continue
        instance = kind()
        for field, hint in get_type_hints(kind, include_extras=True).items():
            meta = get_args(hint)[1]
            assert get_origin(hint) is Annotated
            yield Default(f"{section}.{field}", getattr(instance, field), meta.description, meta.extra["source"])


def _sentence(problem: str, found: dict[str, Any]) -> str:
    """msgspec's message as a sentence: which field, what it is, what to do."""
    what, _, where = problem.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    if what.startswith("Object contains unknown field"):
        field = what.split("`")[1]
        section: Any = Scenario if not path else type(getattr(Scenario(), path))
        there_are = ", ".join(section.__struct_fields__)
        return f"{path + '.' if path else ''}{field} is not a field: there are {there_are}."
    value: Any = found
    for part in filter(None, path.split(".")):
        value = value.get(part) if isinstance(value, dict) else None
    what = what[0].lower() + what[1:]
    return f"{path or 'the scenario'} is {value!r}: {what}; correct it, or leave it out for its default."
