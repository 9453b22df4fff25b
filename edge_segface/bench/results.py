"""Benchmark reports: the JSON that `edge-segface benchmark` writes and `--compare` reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge_segface.bench.settings import BenchmarkSettings
from edge_segface.documents import DocumentError, read_json
from edge_segface.errors import EdgeSegfaceError
from edge_segface.machine import MachineInfo
from edge_segface.typed import from_plain

SCHEMA = 2

Point = tuple[float, float]  # second, value


@dataclass(frozen=True)
class Latency:
    """Statistics of the timed calls, in ms, and their coefficient of variation."""

    min: float
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    cv_percent: float


@dataclass(frozen=True)
class Clock:
    """A clock in MHz: its initial value, its range, and the share of readings that deviate from the initial value."""

    first: float
    p5: float
    p95: float
    moved_share: float


@dataclass(frozen=True)
class ColdStart:
    """Times and memory of one model in a fresh process. None where the system does not report a value."""

    import_ms: float | None  # of the runtime
    load_ms: float | None
    first_ms: float | None  # inference
    peak_mb: float | None
    peak_mb_above_start: float | None
    gpu_mb: float | None


@dataclass(frozen=True)
class SustainedLoad:
    """What one engine delivered at full speed over a long time, and what the sensors showed meanwhile."""

    seconds: float
    cold_fps: float  # at the start of the run
    steady_fps: float  # in its last third
    fps: list[Point]
    slower_from_s: float | None
    power_scope: str | None
    power_w: float | None
    idle_power_w: float | None
    mj_per_frame: float | None
    mj_per_frame_above_idle: float | None
    power_over_time_w: dict[str, list[Point]]  # by scope
    temperature_c: dict[str, list[Point]]  # by zone
    clock_over_time_mhz: dict[str, list[Point]]  # by unit
    clocks_mhz: dict[str, Clock]
    throttled: dict[str, float]  # cause -> how often
    unit: str  # that executes the model: gpu or cpu
    comparable: bool | None  # None: unknown
    waited_s: float = 0.0  # to cool down before the run
    gaps: dict[str, int] = field(default_factory=dict)  # sensor -> failed readings
    error: str | None = None  # that ended the run early


@dataclass(frozen=True)
class EngineResult:
    """The measurements of one engine with one batch size."""

    name: str
    model: str
    sha256: str
    engine: str
    unit: str
    precision: str
    input_size: int
    batch: int
    file_mb: float
    latency_ms: Latency
    fps: float
    of_paper: float
    gpu_ms: dict[str, float] | None
    settings: BenchmarkSettings
    samples_ms: list[float]
    import_ms: float | None  # see ColdStart
    load_ms: float | None
    first_ms: float | None
    peak_mb: float | None
    peak_mb_above_start: float | None
    gpu_mb: float | None
    machine: MachineInfo
    power_state: dict[str, Any]
    versions: dict[str, str]
    times_as_fast: float  # as the first engine, per image
    throughput_fps: float
    sustain: SustainedLoad | None = None

    @property
    def label(self) -> str:
        return f"{self.name}, batch {self.batch}"


@dataclass(frozen=True)
class Failure:
    """A model that could not be measured."""

    model: str
    error: str


@dataclass(frozen=True)
class BenchmarkReport:
    """Everything that one benchmark measured, and the machine it ran on."""

    schema: int
    kind: str
    date: str
    machine: MachineInfo
    power_state: dict[str, Any]
    versions: dict[str, str]
    paper_fps: float
    clocks_mhz: dict[str, Clock]
    models: list[EngineResult]
    failures: list[Failure]
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        content = asdict(self)
        for row in content["models"]:
            if row["sustain"] is None:
                del row["sustain"]
        return content

    @classmethod
    def from_json(cls, content: object) -> BenchmarkReport:
        """Read a report from parsed JSON. Raises TypeError or ValueError that names the key."""
        report = from_plain(cls, content, ignore_unknown=True)
        if not all(row.samples_ms for row in report.models):
            raise ValueError("no samples_ms")
        return report


def load_report(path: Path) -> BenchmarkReport:
    """Read a report, or raise with what is missing or wrong in it."""
    try:
        content = read_json(path)
    except DocumentError as error:
        raise EdgeSegfaceError(f"{path} is not a readable report", found=error) from error
    if not isinstance(content, dict) or content.get("kind") != "benchmark":
        raise EdgeSegfaceError(
            f"{path} is not a benchmark report", remedy="make one with edge-segface benchmark --json"
        )
    if content.get("schema") != SCHEMA:
        raise EdgeSegfaceError(
            f"{path} has another schema",
            found=f"schema {content.get('schema')} instead of {SCHEMA}",
            remedy="measure again with this version",
        )
    try:
        return BenchmarkReport.from_json(content)
    except (TypeError, ValueError) as error:
        raise EdgeSegfaceError(f"{path} is not a complete report", found=error) from error
