"""Measures engines side by side: latency in turns, throughput, what a fresh process takes, and what lasts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_segface.bench.cold_start import in_a_fresh_process
from edge_segface.bench.interleave import PAUSE_S, WARM_UP, interleaved, pictures
from edge_segface.bench.sustain import MOVED, at_rest, clocks_of, sustain
from edge_segface.bench.telemetry import Sampler, sensors
from edge_segface.board import power_state
from edge_segface.engine import Engine, Runtime
from edge_segface.errors import EdgeSegfaceError, EngineError, first_line
from edge_segface.files import sha256_of
from edge_segface.machine import machine_info
from edge_segface.models import load_engine
from edge_segface.paper import PAPER_FPS

SCHEMA = 2
LEAST_WARM_UP_S = 0.2
BURST_S = 1.0  # for throughput
SPLIT_CALLS = 20
HURRIED = 1.1  # times as fast without pauses, from which on that is said
PACKAGES = ("edge-segface", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx", "numpy")

OnStep = Callable[[str], None]
Model = tuple[str, "Path | EdgeSegfaceError"]  # its name, and its file or why there is none


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

    def __post_init__(self) -> None:
        if self.rounds < 2 or not self.batches or min(self.batches) < 1:
            raise EdgeSegfaceError(
                "there is nothing to measure", found=f"{self.rounds} rounds of batches {self.batches}"
            )

    def engine_options(self) -> dict[str, Any]:
        named = {"threads": self.threads, "runtime": self.runtime, "provider": self.provider}
        return {name: value for name, value in named.items() if value is not None}

    def unit(self, path: Path) -> str:
        """What works when that file runs."""
        return "gpu" if path.suffix.lower() == ".engine" or self.provider not in (None, "cpu") else "cpu"


@contextmanager
def as_engine_error(words: str) -> Iterator[None]:
    """Runtimes fail in many ways, and none of them ends a measurement."""
    try:
        yield
    except EdgeSegfaceError:
        raise
    except Exception as error:
        raise EngineError(words, found=first_line(error)) from error


@dataclass(eq=False)
class EngineCase:
    """One engine with one batch of pictures."""

    name: str
    path: Path
    engine: Engine
    images: npt.NDArray[np.uint8]
    fresh: dict[str, float | None]
    gpu_ms: list[float] = field(default_factory=list)  # of each call, where the engine tells
    error: str | None = None

    @property
    def label(self) -> str:
        return f"{self.name}, batch {len(self.images)}"

    def run(self) -> None:
        with as_engine_error(f"{self.name} could not run"):
            self.engine.infer_all(self.images)
        if times := getattr(self.engine, "gpu_ms", None):
            self.gpu_ms.append(sum(sum(batch) for batch in times))

    def __call__(self) -> None:
        """For turns: once it has failed it does nothing, so that the others go on."""
        if self.error is None:
            try:
                self.run()
            except EdgeSegfaceError as error:
                self.error = str(error)


def measure(models: Sequence[Model], settings: Settings, on_step: OnStep = no_step) -> dict[str, Any]:
    """The report. A model that cannot be measured is named in `failures`, and the others are measured."""
    rest = at_rest() if settings.sustain_s is not None else None
    failures: dict[str, str] = {}
    fresh = in_fresh_processes(models, settings, on_step, failures)  # before engines take memory here
    with ExitStack() as engines:
        cases = opened(models, settings, fresh, engines, on_step, failures)
        on_step("measuring")
        seconds, clocks = in_turns(cases, settings)
        where = {"machine": machine_info(), "power_state": power_state(), "versions": versions()}
        rows: list[dict[str, Any]] = []
        compared: EngineCase | None = None  # the first of those that can be measured
        for case in cases:
            try:
                if case.error is not None:
                    raise EngineError(case.error)
                on_step(f"throughput of {case.name}")
                with as_engine_error(f"{case.name} could not be described"):
                    row = {**described(case, seconds[case], settings), **case.fresh, **where}
                row["times_as_fast"] = ratio(compared or case, case, seconds)
                row["throughput_fps"] = round(throughput(case), 2)
                rows.append(row)
                compared = compared or case
                if rest is not None and settings.sustain_s is not None:
                    on_step(f"{case.name} for {settings.sustain_s:g} s")
                    row["sustain"] = sustain(case.run, len(case.images), settings.sustain_s, row["unit"], rest)
            except EdgeSegfaceError as error:
                failures[case.label] = str(error)
            except KeyboardInterrupt:  # what was measured is worth keeping
                failures[f"{case.label}, and what would follow"] = "interrupted"
                break
    return {
        "schema": SCHEMA,
        "kind": "benchmark",
        "date": time.strftime("%Y-%m-%d %H:%M"),
        **where,
        "paper_fps": PAPER_FPS,
        "clocks_mhz": clocks,
        "models": rows,
        "failures": [{"model": name, "error": error} for name, error in failures.items()],
        "warnings": warnings(rows, clocks),
    }


def in_fresh_processes(
    models: Sequence[Model], settings: Settings, on_step: OnStep, failures: dict[str, str]
) -> dict[tuple[str, int], dict[str, float | None]]:
    found = {}
    for name, path in models:
        on_step(f"starting {name}")
        for batch in settings.batches:
            try:
                if isinstance(path, EdgeSegfaceError):
                    raise path
                found[name, batch] = in_a_fresh_process(path, batch, settings.engine_options())
            except EdgeSegfaceError as error:
                if str(error) != failures.get(name):  # for one batch alone
                    failures[f"{name}, batch {batch}" if found.get((name, settings.batches[0])) else name] = str(error)
    return found


def opened(
    models: Sequence[Model],
    settings: Settings,
    fresh: dict[tuple[str, int], dict[str, float | None]],
    engines: ExitStack,
    on_step: OnStep,
    failures: dict[str, str],
) -> list[EngineCase]:
    """What has run in a process of its own, loaded here and warm."""
    cases = []
    for name, path in models:
        batches = [batch for batch in settings.batches if (name, batch) in fresh]
        if isinstance(path, EdgeSegfaceError) or not batches:
            continue
        on_step(f"loading {name}")
        try:
            with as_engine_error(f"{name} could not be loaded"):
                engine = load_engine(path, **settings.engine_options())
        except EdgeSegfaceError as error:
            failures[name] = str(error)
            continue
        engines.callback(engine.close)
        for batch in batches:
            case = EngineCase(name, path, engine, pictures(engine, batch), fresh[name, batch])
            until = time.monotonic() + LEAST_WARM_UP_S
            while time.monotonic() < until:
                case()
            cases.append(case)
    return cases


def in_turns(
    cases: Sequence[EngineCase], settings: Settings
) -> tuple[dict[EngineCase, npt.NDArray[np.float64]], dict[str, dict[str, float]]]:
    """Seconds of each, and where the clocks were meanwhile."""
    for case in cases:
        case.gpu_ms.clear()
    with Sampler(sensors()) as sampler:
        seconds = interleaved(
            {f"{at}": case for at, case in enumerate(cases)},
            settings.rounds,
            pause_s=settings.pause_ms / 1e3,
            warm_up=settings.warm_up_rounds,
        )
    clocks = clocks_of(sampler.readings, cold_s=float("inf"))
    return {case: np.array(seconds[f"{at}"]) for at, case in enumerate(cases)}, clocks


def ratio(first: EngineCase, case: EngineCase, seconds: dict[EngineCase, npt.NDArray[np.float64]]) -> float:
    """How many times as fast as the first a picture is: the median over rounds."""
    a_picture = (seconds[one] / len(one.images) for one in (first, case))
    return round(float(np.median(np.divide(*a_picture))), 3)


def warnings(rows: Sequence[dict[str, Any]], clocks: dict[str, dict[str, float]]) -> list[str]:
    """What keeps these numbers from being reached again, or from being compared."""
    said = []
    for unit in dict.fromkeys(row["unit"] for row in rows):
        clock = clocks.get(unit)
        if clock is not None and clock["p5"] < (1 - MOVED) * clock["p95"]:
            said.append(
                f"while engines took turns the {unit} clock went from {clock['p5']:g} to {clock['p95']:g} MHz; "
                "lock it for numbers that can be reached again (on a Jetson board: sudo jetson_clocks)"
            )
    for row in rows:
        label = f"{row['name']}, batch {row['batch']}"
        if row["throughput_fps"] > HURRIED * row["fps"]:
            said.append(
                f"{label}: {row['throughput_fps'] / row['fps']:.2f} times as fast one call after the other as with "
                "pauses in between, in which clocks or caches get cold"
            )
        if row.get("sustain", {}).get("comparable") is False:
            said.append(f"{label}: the long run is not comparable")
    return said


def described(case: EngineCase, seconds: npt.NDArray[np.float64], settings: Settings) -> dict[str, Any]:
    batch = len(case.images)
    milliseconds = 1e3 * seconds
    return {
        "name": case.name,
        "model": case.engine.spec.name,
        "sha256": sha256_of(case.path),
        "engine": case.engine.description,
        "unit": settings.unit(case.path),
        "precision": case.engine.spec.precision,
        "input_size": case.engine.spec.input_size,
        "batch": batch,
        "file_mb": round(case.path.stat().st_size / 1e6, 2),
        "latency_ms": {name: round(value, 4) for name, value in statistics(milliseconds).items()},
        "fps": round(batch / float(seconds.mean()), 2),
        "of_paper": round(batch / float(seconds.mean()) / PAPER_FPS, 3),
        "gpu_ms": on_the_gpu(case),
        "settings": {**asdict(settings), "batches": list(settings.batches)},
        "samples_ms": [round(float(value), 4) for value in milliseconds],
    }


def on_the_gpu(case: EngineCase) -> dict[str, float] | None:
    """Medians: all of it in the rounds; up, compute and down by calls without a CUDA graph, which hides them."""
    if not case.gpu_ms:
        return None
    parts = []
    with load_engine(case.path, graphs=False) as plain:
        for _ in range(SPLIT_CALLS):
            plain.infer_all(case.images)
            parts.append(np.sum(getattr(plain, "gpu_ms"), axis=0))  # noqa: B009 - of some engines alone
    split = np.median(parts, axis=0)
    return {
        "all": round(float(np.median(case.gpu_ms)), 4),
        **{name: round(float(value), 4) for name, value in zip(("up", "compute", "down"), split, strict=True)},
    }


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


def throughput(case: EngineCase, seconds: float = BURST_S) -> float:
    """Pictures a second, one call right after the other."""
    calls, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        case.run()
        calls += 1
    return calls * len(case.images) / spent


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
