"""Measures engines side by side: latency in turns, throughput, what a fresh process takes, and what lasts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_segface.bench.rounds import PAUSE_S, WARM_UP, interleaved
from edge_segface.bench.stopwatch import PAPER_FPS, machine
from edge_segface.bench.telemetry import Reading, Sampler, power_state, sensors
from edge_segface.engine import Engine, Runtime, load_engine
from edge_segface.errors import EdgeSegfaceError, ModelError

SCHEMA = 1
LEAST_WARM_UP_S = 0.2
BURST_S = 1.0  # for throughput
IDLE_S = 3.0
COLD_S = 10.0
MOVED = 0.03  # of a clock, from which on a run is not comparable
PACKAGES = ("edge-segface", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx", "numpy")

OnStep = Callable[[str], None]


def no_step(words: str) -> None:
    """For whom no progress is shown."""


@dataclass(frozen=True)
class Settings:
    rounds: int = 100
    batches: tuple[int, ...] = (1,)
    threads: int | None = None
    runtime: Runtime | None = None
    provider: str | None = None
    sustain_s: float | None = None
    pause_ms: float = 1e3 * PAUSE_S  # before each call of a round, which follows one that is not timed
    warm_up_rounds: int = WARM_UP

    def engine_options(self) -> dict[str, Any]:
        named = {"threads": self.threads, "runtime": self.runtime, "provider": self.provider}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(eq=False)
class Case:
    """One engine with one batch of pictures."""

    name: str
    path: Path
    engine: Engine
    images: npt.NDArray[np.uint8]
    gpu_ms: list[tuple[float, float, float]]  # up, compute, down, where the engine tells

    def __call__(self) -> None:
        self.engine.infer_all(self.images)
        times = getattr(self.engine, "gpu_ms", None)
        if times:
            up, compute, down = (sum(part) for part in zip(*times, strict=True))
            self.gpu_ms.append((up, compute, down))


def measure(models: Sequence[tuple[str, Path]], settings: Settings, on_step: OnStep = no_step) -> dict[str, Any]:
    """The report. A model that cannot be measured is named in `failures`, and the others are measured."""
    cases: list[Case] = []
    failures = []
    alone: dict[str, dict[str, float]] = {}
    for name, path in models:
        on_step(f"loading {name}")
        try:
            alone[name] = in_a_fresh_process(path, settings)
            engine = load_engine(path, **settings.engine_options())
            for batch in settings.batches:
                case = Case(name, path, engine, pictures(engine, batch), [])
                warm_up(case)
                cases.append(case)
        except EdgeSegfaceError as error:
            failures.append({"model": name, "error": str(error)})
    on_step("measuring")
    for case in cases:
        case.gpu_ms.clear()
    seconds = interleaved({f"{at}": case for at, case in enumerate(cases)}, settings.rounds)
    where = {"machine": machine(), "power_state": power_state(), "versions": versions()}
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "benchmark",
        "date": time.strftime("%Y-%m-%d %H:%M"),
        **where,
        "paper_fps": PAPER_FPS,
        "models": [],
        "failures": failures,
    }
    for at, case in enumerate(cases):
        on_step(f"throughput of {case.name}")
        each = [np.array(seconds[f"{number}"]) / len(cases[number].images) for number in (0, at)]
        report["models"].append(
            {
                **described(case, np.array(seconds[f"{at}"]), settings),
                "times_as_fast": round(float(np.median(each[0] / each[1])), 3),  # as the first, a picture
                "throughput_fps": round(throughput(case), 2),
                **alone[case.name],
                **where,
            }
        )
    if settings.sustain_s is not None:
        for row, case in zip(report["models"], cases, strict=True):
            on_step(f"{case.name} for {settings.sustain_s:g} s")
            row["sustain"] = sustain(case, settings.sustain_s)
    for engine in {id(case.engine): case.engine for case in cases}.values():
        engine.close()
    return report


def pictures(engine: Engine, batch: int) -> npt.NDArray[np.uint8]:
    side = engine.spec.input_size
    return np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), dtype=np.uint8)


def warm_up(case: Case) -> None:
    until = time.monotonic() + LEAST_WARM_UP_S
    while time.monotonic() < until:
        case()


def described(case: Case, seconds: npt.NDArray[np.float64], settings: Settings) -> dict[str, Any]:
    batch = len(case.images)
    milliseconds = 1e3 * seconds
    row: dict[str, Any] = {
        "name": case.name,
        "model": case.engine.spec.name,
        "engine": case.engine.description,
        "precision": case.engine.spec.precision,
        "input_size": case.engine.spec.input_size,
        "batch": batch,
        "file_mb": round(case.path.stat().st_size / 1e6, 2),
        "latency_ms": {name: round(value, 4) for name, value in statistics(milliseconds).items()},
        "fps": round(batch / float(seconds.mean()), 2),
        "of_paper": round(batch / float(seconds.mean()) / PAPER_FPS, 3),
        "gpu_ms": None,
        "settings": {**asdict(settings), "batches": list(settings.batches)},
        "samples_ms": [round(float(value), 4) for value in milliseconds],
    }
    if case.gpu_ms:
        medians = np.median(np.array(case.gpu_ms), axis=0)
        row["gpu_ms"] = dict(zip(("up", "compute", "down"), (round(float(m), 4) for m in medians), strict=True))
    return row


def statistics(milliseconds: npt.NDArray[np.float64]) -> dict[str, float]:
    p50, p90, p95, p99 = (float(value) for value in np.percentile(milliseconds, [50, 90, 95, 99]))
    mean = float(milliseconds.mean())
    return {
        "min": float(milliseconds.min()),
        "mean": mean,
        "p50": p50,
        "p90": p90,
        "p95": p95,
        "p99": p99,
        "max": float(milliseconds.max()),
        "cv_percent": 100 * float(milliseconds.std()) / mean,
    }


def throughput(case: Case, seconds: float = BURST_S) -> float:
    """Pictures a second, one call right after the other."""
    calls, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        case()
        calls += 1
    return calls * len(case.images) / spent


def in_a_fresh_process(path: Path, settings: Settings) -> dict[str, float]:
    """Loading, the first inference and the most memory, by a process that does nothing else."""
    asked = json.dumps({"path": str(path), **settings.engine_options()})
    command = [sys.executable, "-m", "edge_segface.bench.fresh", asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ModelError(lines[-1].removeprefix("error: ") if lines else f"{path} ended its process")
    values: dict[str, float] = json.loads(done.stdout)
    return values


def sustain(case: Case, seconds: float) -> dict[str, Any]:
    """As fast as it can for that long, with whatever sensors there are."""
    idle = Sampler(sensors())
    time.sleep(min(IDLE_S, seconds))
    idle_w = mean_of([reading.values.get("power_w") for reading in idle.close()])
    sampler = Sampler(sensors())
    ends: list[float] = []
    start = time.monotonic()
    while (now := time.monotonic() - start) < seconds:
        case()
        ends.append(now)
    readings = sampler.close()
    return sustained(np.array(ends), len(case.images), seconds, readings, sampler.gaps, idle_w)


def sustained(
    starts_s: npt.NDArray[np.float64],
    batch: int,
    seconds: float,
    readings: Sequence[Reading],
    gaps: dict[str, int],
    idle_w: float | None,
) -> dict[str, Any]:
    """What a long run says: at first, at last, and whether both were the same machine."""
    step = max(1.0, seconds / 300)
    edges = np.arange(0, seconds + 1e-9, step)
    counts, _ = np.histogram(starts_s, edges)
    rates = counts * batch / step
    cold = min(COLD_S, seconds / 3)
    cold_fps = float((starts_s < cold).sum() * batch / cold)
    steady_fps = float((starts_s >= seconds * 2 / 3).sum() * batch / (seconds / 3))
    late = [reading for reading in readings if reading.at_s >= seconds * 2 / 3]
    watts = mean_of([reading.values.get("power_w") for reading in late])
    names = sorted({name for reading in readings for name in reading.values})
    moved = {}
    clocks = {}
    for name in names:
        if not name.startswith("clock_mhz."):
            continue
        first, last = (
            median_of([reading.values.get(name) for reading in part])
            for part in ([reading for reading in readings if reading.at_s < cold], late)
        )
        if first is not None and last is not None:
            clocks[name.removeprefix("clock_mhz.")] = {"first": first, "last": last}
            if abs(last - first) > MOVED * first:
                moved[name.removeprefix("clock_mhz.")] = round(100 * (last / first - 1), 1)
    slow = np.flatnonzero(rates < 0.95 * cold_fps)
    lasting = next((int(at) for at in slow if (rates[at:] < 0.97 * cold_fps).mean() > 0.8), None)
    return {
        "seconds": seconds,
        "cold_fps": round(cold_fps, 2),
        "steady_fps": round(steady_fps, 2),
        "fps": [[round(float(at), 1), round(float(rate), 2)] for at, rate in zip(edges[:-1], rates, strict=True)],
        "slower_from_s": None if lasting is None else round(float(edges[lasting]), 1),
        "power_w": watts,
        "idle_power_w": idle_w,
        "mj_per_frame": None if watts is None else round(1e3 * watts / steady_fps, 3),
        "mj_per_frame_above_idle": (
            None if watts is None or idle_w is None else round(1e3 * (watts - idle_w) / steady_fps, 3)
        ),
        "temperature_c": {
            name.removeprefix("temperature_c."): series(readings, name)
            for name in names
            if name.startswith("temperature_c.")
        },
        "clocks_mhz": clocks,
        "moved_percent": moved,
        "comparable": None if not clocks else not moved,  # None: no clock could be read
        "sensors": names,
        "gaps": gaps,
    }


def series(readings: Sequence[Reading], name: str, most: int = 300) -> list[list[float]]:
    points = [[round(reading.at_s, 1), reading.values[name]] for reading in readings if name in reading.values]
    return points[:: max(1, len(points) // most)]


def mean_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 3) if known else None


def median_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.median(known)), 1) if known else None


def versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def seconds_from(text: str) -> float:
    """`90s`, `10m`, `1h` or a plain number of seconds."""
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    try:
        seconds = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        seconds = -1
    if not 0 < seconds < 1e6:
        raise EdgeSegfaceError(f"{text!r} is no length of time", remedy="say 90s, 10m or 1h")
    return seconds


def most_memory_mb() -> float | None:
    """Of this process so far, where the system tells. On Linux, getrusage counts the process that started it too."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    try:
        import resource
    except ImportError:
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1)
