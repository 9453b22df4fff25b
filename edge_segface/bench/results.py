"""The shape of a benchmark report: the JSON that `edge-segface benchmark` writes and `--compare` reads."""

from __future__ import annotations

from typing import Any, TypedDict

from edge_segface.machine import MachineInfo

SCHEMA = 2


class LatencyMs(TypedDict):
    min: float
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    cv_percent: float


class Clock(TypedDict):
    """A clock in MHz: at first, its range, and the share of readings elsewhere."""

    first: float
    p5: float
    p95: float
    moved_share: float


class Failure(TypedDict):
    model: str
    error: str


class ColdStart(TypedDict):
    """A fresh process: import, load, first inference, memory. None where the system does not tell."""

    import_ms: float | None
    load_ms: float | None
    first_ms: float | None
    peak_mb: float | None
    peak_mb_above_start: float | None
    gpu_mb: float | None


class Sustained(TypedDict):
    """Sustained load on one engine."""

    seconds: float
    cold_fps: float
    steady_fps: float
    fps: list[Any]  # (second, rate)
    slower_from_s: float | None
    power_scope: str | None
    power_w: float | None
    idle_power_w: float | None
    mj_per_frame: float | None
    mj_per_frame_above_idle: float | None
    power_over_time_w: dict[str, Any]
    temperature_c: dict[str, Any]
    clock_over_time_mhz: dict[str, Any]
    clocks_mhz: dict[str, Clock]
    throttled: dict[str, float]
    unit: str
    comparable: bool | None
    waited_s: float
    gaps: int
    error: str | None


class _EngineRow(ColdStart):
    name: str
    model: str
    sha256: str
    engine: str
    unit: str
    precision: str
    input_size: int
    batch: int
    file_mb: float
    latency_ms: LatencyMs
    fps: float
    of_paper: float
    gpu_ms: dict[str, float] | None
    settings: dict[str, Any]
    samples_ms: list[float]
    machine: MachineInfo
    power_state: dict[str, Any]
    versions: dict[str, str]
    times_as_fast: float
    throughput_fps: float


class EngineRow(_EngineRow, total=False):
    """What was measured of one engine with one batch size."""

    sustain: Sustained


class BenchmarkReport(TypedDict):
    """Everything that one run measured, and on what."""

    schema: int
    kind: str
    date: str
    machine: MachineInfo
    power_state: dict[str, Any]
    versions: dict[str, str]
    paper_fps: float
    clocks_mhz: dict[str, Clock]
    models: list[EngineRow]
    failures: list[Failure]
    warnings: list[str]
