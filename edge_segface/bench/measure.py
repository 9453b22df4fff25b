"""Measuring engines side by side: interleaved latency, throughput, cold starts and sustained load."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
import numpy.typing as npt

from edge_segface.bench.cold_start import cold_start
from edge_segface.bench.interleave import PAUSE_S, WARM_UP, interleaved, noise_images
from edge_segface.bench.results import SCHEMA, BenchmarkReport, Clock, ColdStart, EngineRow, LatencyMs
from edge_segface.bench.sustain import MOVED, Idle, at_rest, clocks_of, sustain
from edge_segface.bench.telemetry import Sampler, sensors
from edge_segface.board import power_state
from edge_segface.engine import Engine, Runtime
from edge_segface.errors import EdgeSegfaceError, EngineError, first_line
from edge_segface.files import sha256_of
from edge_segface.machine import MachineInfo, machine_info
from edge_segface.models import load_engine
from edge_segface.paper import PAPER_FPS
from edge_segface.progress import NO_PROGRESS, Progress

MIN_WARM_UP_S = 0.2
BURST_S = 1.0  # of throughput
SPLIT_CALLS = 20
BURST_GAIN = 1.1  # speed-up without pauses from which on the report warns
PACKAGES = ("edge-segface", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx", "numpy")

Model = tuple[str, "Path | EdgeSegfaceError"]  # its name, and its file or why there is none
Seconds = Mapping["EngineCase", npt.NDArray[np.float64]]  # of each timed call


class Environment(TypedDict):
    """What numbers were measured on."""

    machine: MachineInfo
    power_state: dict[str, Any]
    versions: dict[str, str]


@dataclass(frozen=True)
class Settings:
    """What to measure, and how."""

    rounds: int = 100
    batches: tuple[int, ...] = (1,)
    threads: int | None = None
    runtime: Runtime | None = None
    provider: str | None = None
    sustain_s: float | None = None
    pause_ms: float = 1e3 * PAUSE_S  # before each untimed and timed pair of calls
    warm_up_rounds: int = WARM_UP

    def __post_init__(self) -> None:
        if self.rounds < 2 or not self.batches or min(self.batches) < 1:
            raise EdgeSegfaceError(
                "there is nothing to measure", found=f"{self.rounds} rounds of batches {self.batches}"
            )

    def engine_options(self) -> dict[str, Any]:
        named = {"threads": self.threads, "runtime": self.runtime, "provider": self.provider}
        return {name: value for name, value in named.items() if value is not None}

    def unit(self, path: Path) -> str:
        """Return what executes the file: gpu or cpu."""
        return "gpu" if path.suffix.lower() == ".engine" or self.provider not in (None, "cpu") else "cpu"


@contextmanager
def as_engine_error(message: str) -> Iterator[None]:
    """Turn any failure of a runtime into an EngineError, so that it ends one measurement and not all."""
    try:
        yield
    except EdgeSegfaceError:
        raise
    except Exception as error:
        raise EngineError(message, found=first_line(error)) from error


@dataclass(eq=False)
class EngineCase:
    """One engine with one batch of images."""

    name: str
    path: Path
    engine: Engine
    images: npt.NDArray[np.uint8]
    cold_start: ColdStart
    gpu_ms: list[float] = field(default_factory=list)  # of each call, where the engine measures it
    error: str | None = None

    @property
    def label(self) -> str:
        return f"{self.name}, batch {len(self.images)}"

    def run(self) -> None:
        with as_engine_error(f"{self.name} could not run"):
            self.engine.infer_all(self.images)
        if times := self.engine.gpu_ms:
            self.gpu_ms.append(sum(sum(batch) for batch in times))

    def __call__(self) -> None:
        """Run for the interleaving: after a failure do nothing, so that the others continue."""
        if self.error is None:
            try:
                self.run()
            except EdgeSegfaceError as error:
                self.error = str(error)


def measure(models: Sequence[Model], settings: Settings, *, progress: Progress = NO_PROGRESS) -> BenchmarkReport:
    """Measure every model. One that fails is named in `failures`, and the others are measured."""
    return _Measurement(models, settings, progress).run()


@dataclass
class _Measurement:
    models: Sequence[Model]
    settings: Settings
    progress: Progress
    failures: dict[str, str] = field(default_factory=dict)

    def run(self) -> BenchmarkReport:
        idle = at_rest() if self.settings.sustain_s is not None else None
        cold_starts = self.cold_starts()  # before engines take memory in this process
        with ExitStack() as engines:
            cases = self.open(cold_starts, engines)
            self.progress.stage("measuring")
            seconds, clocks = interleave(cases, self.settings)
            rows = self.rows(cases, seconds, idle)
        return {
            "schema": SCHEMA,
            "kind": "benchmark",
            "date": time.strftime("%Y-%m-%d %H:%M"),
            **environment(),
            "paper_fps": PAPER_FPS,
            "clocks_mhz": clocks,
            "models": rows,
            "failures": [{"model": name, "error": error} for name, error in self.failures.items()],
            "warnings": warnings(rows, clocks),
        }

    def cold_starts(self) -> dict[tuple[str, int], ColdStart]:
        """Load and run each model in a fresh process."""
        found: dict[tuple[str, int], ColdStart] = {}
        for name, path in self.models:
            self.progress.stage(f"starting {name}")
            for batch in self.settings.batches:
                try:
                    if isinstance(path, EdgeSegfaceError):
                        raise path
                    found[name, batch] = cold_start(path, batch, self.settings.engine_options())
                except EdgeSegfaceError as error:
                    if str(error) != self.failures.get(name):  # named once, unless it concerns one batch size
                        one_batch = (name, self.settings.batches[0]) in found
                        self.failures[f"{name}, batch {batch}" if one_batch else name] = str(error)
        return found

    def open(self, cold_starts: Mapping[tuple[str, int], ColdStart], engines: ExitStack) -> list[EngineCase]:
        """Load and warm up every model that ran in its own process."""
        cases = []
        for name, path in self.models:
            batches = [batch for batch in self.settings.batches if (name, batch) in cold_starts]
            if isinstance(path, EdgeSegfaceError) or not batches:
                continue
            self.progress.stage(f"loading {name}")
            try:
                with as_engine_error(f"{name} could not be loaded"):
                    engine = load_engine(path, **self.settings.engine_options())
            except EdgeSegfaceError as error:
                self.failures[name] = str(error)
                continue
            engines.callback(engine.close)
            for batch in batches:
                case = EngineCase(name, path, engine, noise_images(engine, batch), cold_starts[name, batch])
                until = time.monotonic() + MIN_WARM_UP_S
                while time.monotonic() < until:
                    case()
                cases.append(case)
        return cases

    def rows(self, cases: Sequence[EngineCase], seconds: Seconds, idle: Idle | None) -> list[EngineRow]:
        """Describe every case that ran; what cannot be is named in `failures`."""
        rows: list[EngineRow] = []
        first: EngineCase | None = None  # that can be measured
        for case in cases:
            try:
                if case.error is not None:
                    raise EngineError(case.error)
                self.progress.stage(f"throughput of {case.name}")
                with as_engine_error(f"{case.name} could not be measured"):
                    row = engine_row(case, first or case, seconds, self.settings)
                rows.append(row)
                first = first or case
                if idle is not None and self.settings.sustain_s is not None:
                    self.progress.stage(f"{case.name} for {self.settings.sustain_s:g} s")
                    row["sustain"] = sustain(case.run, len(case.images), self.settings.sustain_s, row["unit"], idle)
            except EdgeSegfaceError as error:
                self.failures[case.label] = str(error)
            except KeyboardInterrupt:  # keep what was measured
                self.failures[f"{case.label}, and what would follow"] = "interrupted"
                break
        return rows


def environment() -> Environment:
    return {"machine": machine_info(), "power_state": power_state(), "versions": versions()}


def interleave(cases: Sequence[EngineCase], settings: Settings) -> tuple[Seconds, dict[str, Clock]]:
    """Time the cases in interleaved rounds, and record the clocks meanwhile."""
    for case in cases:
        case.gpu_ms.clear()
    with Sampler(sensors()) as sampler:
        seconds = interleaved(
            {f"{index}": case for index, case in enumerate(cases)},
            settings.rounds,
            pause_s=settings.pause_ms / 1e3,
            warm_up=settings.warm_up_rounds,
        )
    clocks = clocks_of(sampler.readings, cold_s=float("inf"))
    return {case: np.array(seconds[f"{index}"]) for index, case in enumerate(cases)}, clocks


def engine_row(case: EngineCase, first: EngineCase, seconds: Seconds, settings: Settings) -> EngineRow:
    batch = len(case.images)
    fps = batch / float(seconds[case].mean())
    milliseconds = 1e3 * seconds[case]
    row = {
        "name": case.name,
        "model": case.engine.spec.name,
        "sha256": sha256_of(case.path),
        "engine": case.engine.description,
        "unit": settings.unit(case.path),
        "precision": case.engine.spec.precision,
        "input_size": case.engine.spec.input_size,
        "batch": batch,
        "file_mb": round(case.path.stat().st_size / 1e6, 2),
        "latency_ms": statistics(milliseconds),
        "fps": round(fps, 2),
        "of_paper": round(fps / PAPER_FPS, 3),
        "gpu_ms": gpu_times(case),
        "settings": {**asdict(settings), "batches": list(settings.batches)},
        "samples_ms": [round(float(value), 4) for value in milliseconds],
        **case.cold_start,
        **environment(),
        "times_as_fast": speed_up(first, case, seconds),
        "throughput_fps": round(throughput(case), 2),
    }
    return cast(EngineRow, row)


def speed_up(first: EngineCase, case: EngineCase, seconds: Seconds) -> float:
    """Return how many times as fast as the first an image is: the median over rounds."""
    per_image = (seconds[one] / len(one.images) for one in (first, case))
    return round(float(np.median(np.divide(*per_image))), 3)


def warnings(rows: Sequence[EngineRow], clocks: Mapping[str, Clock]) -> list[str]:
    """Return what keeps these numbers from being reproduced or compared."""
    found = []
    for unit in dict.fromkeys(row["unit"] for row in rows):
        clock = clocks.get(unit)
        if clock is not None and clock["p5"] < (1 - MOVED) * clock["p95"]:
            found.append(
                f"during the rounds the {unit} clock varied from {clock['p5']:g} to {clock['p95']:g} MHz; "
                "lock it for reproducible numbers (on a Jetson board: sudo jetson_clocks)"
            )
    for row in rows:
        label = f"{row['name']}, batch {row['batch']}"
        if row["throughput_fps"] > BURST_GAIN * row["fps"]:
            found.append(
                f"{label}: {row['throughput_fps'] / row['fps']:.2f} times as fast back to back as with pauses, "
                "in which clocks or caches cool down"
            )
        if "sustain" in row and row["sustain"]["comparable"] is False:
            found.append(f"{label}: the sustained run is not comparable")
    return found


def gpu_times(case: EngineCase) -> dict[str, float] | None:
    """Return medians: whole calls in the rounds, and their parts in calls without a CUDA graph, which hides them."""
    if not case.gpu_ms:
        return None
    parts = []
    with load_engine(case.path, graphs=False) as plain:
        for _ in range(SPLIT_CALLS):
            plain.infer_all(case.images)
            parts.append(np.sum(plain.gpu_ms or [(0.0, 0.0, 0.0)], axis=0))
    split = np.median(parts, axis=0)
    return {
        "all": round(float(np.median(case.gpu_ms)), 4),
        **{name: round(float(value), 4) for name, value in zip(("up", "compute", "down"), split, strict=True)},
    }


def statistics(milliseconds: npt.NDArray[np.float64]) -> LatencyMs:
    p50, p90, p95, p99 = (float(value) for value in np.percentile(milliseconds, [50, 90, 95, 99]))
    mean = float(milliseconds.mean())
    return {
        "min": round(float(milliseconds.min()), 4),
        "mean": round(mean, 4),
        "p50": round(p50, 4),
        "p90": round(p90, 4),
        "p95": round(p95, 4),
        "p99": round(p99, 4),
        "max": round(float(milliseconds.max()), 4),
        "cv_percent": round(100 * float(milliseconds.std()) / mean, 4),
    }


def throughput(case: EngineCase, seconds: float = BURST_S) -> float:
    """Return images per second with calls back to back."""
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        case.run()
        calls += 1
    return calls * len(case.images) / elapsed


def versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def parse_seconds(text: str) -> float:
    """Parse `90s`, `10m`, `1h` or a plain number of seconds."""
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    try:
        seconds = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        seconds = -1
    if not 0 < seconds < 1e6:
        raise EdgeSegfaceError(f"{text!r} is not a valid duration", remedy="give 90s, 10m or 1h")
    return seconds
