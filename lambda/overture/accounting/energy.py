"""Energy, carbon and water of a machine's seconds, phase by phase, with bounds.

The method is that of the Software Carbon Intensity specification (ISO/IEC 21031): SCI = E x I + M for a functional
unit. E counts hardware that is reserved as well as busy, I is location-based (`grid`), M is the share of the
hardware's own making. No figure here is a meter's reading. docs/energy.md draws the boundary and argues each constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from overture.accounting.grid import Grid
from overture.accounting.ranges import Range

Phase = Literal["start", "prefill", "decode", "linger", "warm", "search"]
#: What is busy in a phase: cores and memory, or memory alone (a frozen environment, a waiting invocation).
BUSY: frozenset[Phase] = frozenset({"start", "prefill", "decode", "search"})


class Constant(NamedTuple):
    """A constant of the method, and where it comes from."""

    value: Range
    unit: str
    source: str


CONSTANTS = {
    "pue": Constant(
        Range(1.04, 1.14, 1.25),
        "facility energy over IT energy",
        "AWS: best site 2024, mean 2025 (sustainability.aboutamazon.com); high: mean of public clouds, IDC 2025",
    ),
    "busy_w": Constant(
        Range(1.084, 1.693, 2.34),
        "W a vCPU at work, whole server",
        "Cloud Carbon Footprint 2026-03 (Apache-2.0), row Graviton2, which copies AMD EPYC 2nd Gen: half load and full "
        "load; high: 150 W a 64-core Graviton2 as Boavizta has it, all of it at work",
    ),
    "idle_w": Constant(
        Range(0, 0.474, 0.474),
        "W a vCPU at rest",
        "Cloud Carbon Footprint 2026-03, minimum of the same row; low: the core works for others",
    ),
    "memory_w": Constant(
        Range(0.047, 0.392, 0.392),
        "W a GB of memory beyond what the processor's row has, or held while the cores rest",
        "Cloud Carbon Footprint: 0.392; low: CodeCarbon 3.3, 1.5 W a DIMM on Arm, of 32 GB",
    ),
    "wue": Constant(
        Range(0.12, 0.15, 1.0),
        "litres a kWh of IT energy, on site",
        "AWS: 0.15 in 2024; high: the most that EcoLogits 0.11.3 gives a cloud provider",
    ),
    "embodied_years": Constant(
        Range(4, 4, 6),
        "years a server is kept",
        "Cloud Carbon Footprint: 4; Amazon's annual report 2024: 6",
    ),
    "network_kwh_gb": Constant(
        Range(0, 0, 0.001),
        "kWh a GB moved",
        "Cloud Carbon Footprint: 0.001 between data centres, and nothing for what stays in a region",
    ),
    "ssd_wh_tbh": Constant(
        Range.exactly(1.2), "Wh for a TB and hour on SSD, each copy", "Cloud Carbon Footprint methodology"
    ),
}
#: Memory that the processor's row already carries, GB a vCPU (its column GB/Chip, 129.8, over 64 cores).
MEMORY_IN_ROW_GB = 129.8 / 64
#: Copies that are kept (Cloud Carbon Footprint's replication factors).
COPIES = {"ecr": 3, "dynamodb": 2, "s3": 3}
#: Memory that comes with one vCPU on Lambda, in MB (docs.aws.amazon.com/lambda, "Configuring memory").
MB_PER_VCPU = 1_769
SECONDS_A_YEAR = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Server:
    """A whole machine: what it costs to make and what it holds. Watts are those of `CONSTANTS` unless given."""

    name: str
    vcpus: int
    memory_gb: float
    #: kg CO2e to make it (low: over the longest life; high: the largest platform of the same table).
    made_kg: Range
    #: W a busy vCPU; None takes the table's.
    busy_w: Range | None = None
    source: str = "Cloud Carbon Footprint, aws-instances-latest-2026.csv (Apache-2.0)"


#: Lambda on arm64 is Graviton2. CCF gives 0.88 t for m6g and m7g, 1.1 t for m8g, up to 1.9 t for other platforms.
GRAVITON2 = Server("Graviton2 (m6g.metal)", 64, 256, Range(880, 880, 1_900))
GRAVITON3 = Server("Graviton3 (m7g.metal)", 64, 256, Range(880, 880, 1_900), Range(1.084, 1.693, 220 / 64))
#: Boavizta assumes 300 W for 96 cores; r8g has twice the memory of m8g, whose making the table lacks.
GRAVITON4 = Server("Graviton4 (r8g.metal-24xl)", 96, 768, Range(1_100, 1_100, 1_900), Range(1.084, 1.693, 300 / 96))


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a server that somebody has for a time."""

    server: Server
    vcpus: float
    memory_gb: float

    def watts(self, phase: Phase) -> Range:
        """IT power of this share in a phase, without the building."""
        memory = CONSTANTS["memory_w"].value
        if phase in BUSY:
            busy = self.server.busy_w or CONSTANTS["busy_w"].value
            cores = busy * self.vcpus
            # The rows are whole servers: only memory beyond theirs is added; a TDP has none in it.
            beyond = max(0.0, self.memory_gb - self.vcpus * MEMORY_IN_ROW_GB)
            added = Range(beyond * memory.low, beyond * memory.likely, self.memory_gb * memory.high)
            return cores + added
        held = memory * self.memory_gb
        if phase == "linger":
            return CONSTANTS["idle_w"].value * self.vcpus + held
        # Frozen: the cores are given to others; at the most they wait for this environment.
        return held + Range(0, 0, CONSTANTS["idle_w"].value.high * self.vcpus)

    def part(self, phase: Phase) -> Range:
        """The part of the server's making that is charged while it is had: by memory at least, by vCPUs at most."""
        by_memory, by_cores = self.memory_gb / self.server.memory_gb, self.vcpus / self.server.vcpus
        low, high = sorted((by_memory, by_cores))
        return Range(low, low if phase == "warm" else high, high)


def lambda_share(memory_mb: float) -> Share:
    """What a Lambda function of that memory has of its server."""
    return Share(GRAVITON2, memory_mb / MB_PER_VCPU, memory_mb / 1024)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Energy at the meter of the building, carbon and water. Adds up."""

    wh: Range = Range.ZERO
    operational_g: Range = Range.ZERO
    embodied_g: Range = Range.ZERO
    water_ml: Range = Range.ZERO

    @property
    def gco2e(self) -> Range:
        """Operational and embodied: the SCI of whatever unit this is the footprint of."""
        return self.operational_g + self.embodied_g

    def __add__(self, other: Footprint) -> Footprint:
        return Footprint(
            self.wh + other.wh,
            self.operational_g + other.operational_g,
            self.embodied_g + other.embodied_g,
            self.water_ml + other.water_ml,
        )

    def __mul__(self, by: float) -> Footprint:
        return Footprint(self.wh * by, self.operational_g * by, self.embodied_g * by, self.water_ml * by)


def footprint(share: Share, phase: Phase, seconds: float, grid: Grid) -> Footprint:
    """What a share of a server costs the world in the given seconds of a phase."""
    it_wh = share.watts(phase) * (seconds / 3600)
    made_g = share.server.made_kg * 1000
    years = CONSTANTS["embodied_years"].value
    part = share.part(phase)
    embodied = Range(
        made_g.low * part.low / years.high,
        made_g.likely * part.likely / years.likely,
        made_g.high * part.high / years.low,
    )
    return of_energy(it_wh, grid, embodied * (seconds / SECONDS_A_YEAR))


def of_energy(it_wh: Range, grid: Grid, embodied_g: Range = Range.ZERO) -> Footprint:
    """The footprint of IT energy on a grid: the building, the carbon and the water of it."""
    wh = it_wh * CONSTANTS["pue"].value
    water = it_wh * CONSTANTS["wue"].value + wh * grid.water
    return Footprint(wh, wh * grid.lifecycle / 1000, embodied_g, water)


def moved(gigabytes: float, grid: Grid) -> Footprint:
    """The footprint of data that is moved inside AWS; the last mile is outside the boundary."""
    return of_energy(CONSTANTS["network_kwh_gb"].value * (gigabytes * 1000), grid)


def stored(gigabytes: float, hours: float, where: Literal["ecr", "dynamodb", "s3"], grid: Grid) -> Footprint:
    """The footprint of data kept on SSD, with the copies that the service keeps."""
    return of_energy(CONSTANTS["ssd_wh_tbh"].value * (gigabytes / 1000 * hours * COPIES[where]), grid)


def hosted_api(parameters_b: float, tokens: float, grid: Grid) -> Footprint:
    """A reply of a hosted API on batched GPUs, as EcoLogits 0.11.3 models it (for 64 streams a server).

    Likely is EcoLogits' batch of 64. Its users measure 4-16 (genai-impact/ecologits issue 237): the high bound takes 4.
    """
    return (
        Footprint()
        if tokens == 0
        else of_energy(_ecologits_wh(parameters_b) * tokens, grid, _gpu_made(parameters_b) * tokens)
    )


def _ecologits_wh(parameters_b: float) -> Range:
    def wh(batch: int) -> float:
        gpus = _gpus(parameters_b)
        gpu = 1.1665e-6 * math.exp(-0.011206 * batch) * parameters_b + 4.0529e-5
        server = _token_s(parameters_b, batch) / 3600 * 1_200 * gpus / 8 / batch
        return server + gpus * gpu

    return Range(wh(64), wh(64), max(wh(4), wh(64)))


def _gpu_made(parameters_b: float) -> Range:
    """EcoLogits' embodied share of a token in g: 5,700 kg a server of 8, 273 kg a GPU, 3 years, a batch of 64."""

    def grams(batch: int) -> float:
        gpus = _gpus(parameters_b)
        kg = 5_700 * gpus / 8 + 273 * gpus
        return kg * 1000 * _token_s(parameters_b, batch) / (3 * SECONDS_A_YEAR) / batch

    return Range(grams(64), grams(64), grams(4))


def _gpus(parameters_b: float) -> int:
    return int(2 ** math.ceil(math.log2(max(1.0, 1.2 * parameters_b * 16 / 8 / 80))))


def _token_s(parameters_b: float, batch: int) -> float:
    return 6.785e-4 * parameters_b + 3.119e-4 * batch + 0.01947
