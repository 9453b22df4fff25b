"""Measuring engines side by side: interleaved latency, throughput, cold starts and sustained load."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge_segface.bench.cold_start import cold_start
from edge_segface.bench.engine_case import EngineCase, as_engine_error
from edge_segface.bench.environment import environment
from edge_segface.bench.interleave import interleaved, noise_images
from edge_segface.bench.readings import clock_ranges
from edge_segface.bench.results import SCHEMA, BenchmarkReport, Clock, ColdStart, EngineResult, Failure
from edge_segface.bench.settings import BenchmarkSettings
from edge_segface.bench.statistics import Seconds, latency_ms, report_warnings, speed_up
from edge_segface.bench.sustain import IdleMachine, measure_idle, sustain
from edge_segface.errors import EdgeSegfaceError, EngineError
from edge_segface.files import sha256_of, size_mb
from edge_segface.models import load_engine
from edge_segface.paper import PAPER_FPS
from edge_segface.progress import NO_PROGRESS, Progress
from edge_segface.telemetry import Sampler, sensors

MIN_WARM_UP_S = 0.2


class BenchmarkModel(NamedTuple):
    """A model to measure: its name in the report, and its file or the error that prevented one."""

    name: str
    file: Path | EdgeSegfaceError


def measure(
    models: Sequence[BenchmarkModel], settings: BenchmarkSettings, *, progress: Progress = NO_PROGRESS
) -> BenchmarkReport:
    """Measure every model. A model that fails is listed in `failures`, and the others are measured."""
    return _Measurement(models, settings, progress).run()


@dataclass
class _Measurement:
    models: Sequence[BenchmarkModel]
    settings: BenchmarkSettings
    progress: Progress
    failures: dict[str, str] = field(default_factory=dict)  # model, or model and batch -> error

    def run(self) -> BenchmarkReport:
        idle = measure_idle() if self.settings.sustain_s is not None else None
        cold_starts = self.cold_starts()  # before engines take memory in this process
        with ExitStack() as engines:
            cases = self.open_cases(cold_starts, engines)
            self.progress.stage("measuring")
            seconds, clocks = time_cases(cases, self.settings)
            results = self.results(cases, seconds, idle)
        return BenchmarkReport(
            schema=SCHEMA,
            kind="benchmark",
            date=time.strftime("%Y-%m-%d %H:%M"),
            **environment(),
            paper_fps=PAPER_FPS,
            clocks_mhz=clocks,
            models=results,
            failures=[Failure(name, error) for name, error in self.failures.items()],
            warnings=report_warnings(results, clocks),
        )

    def cold_starts(self) -> dict[tuple[str, int], ColdStart]:
        """Load and run each model in a fresh process, once per batch size."""
        found: dict[tuple[str, int], ColdStart] = {}
        for name, file in self.models:
            self.progress.stage(f"starting {name}")
            if isinstance(file, EdgeSegfaceError):
                self.failures[name] = str(file)
                continue
            for batch in self.settings.batches:
                try:
                    found[name, batch] = cold_start(file, batch, self.settings.engine_options())
                except EdgeSegfaceError as error:
                    if str(error) != self.failures.get(name):  # reported once, unless it concerns one batch size
                        one_batch = (name, self.settings.batches[0]) in found
                        self.failures[f"{name}, batch {batch}" if one_batch else name] = str(error)
        return found

    def open_cases(self, cold_starts: dict[tuple[str, int], ColdStart], engines: ExitStack) -> list[EngineCase]:
        """Load and warm up every model that ran in its own process."""
        cases = []
        for name, file in self.models:
            batches = [batch for batch in self.settings.batches if (name, batch) in cold_starts]
            if isinstance(file, EdgeSegfaceError) or not batches:
                continue
            self.progress.stage(f"loading {name}")
            try:
                with as_engine_error(f"{name} could not be loaded"):
                    engine = load_engine(file, **self.settings.engine_options())
            except EdgeSegfaceError as error:
                self.failures[name] = str(error)
                continue
            engines.callback(engine.close)
            for batch in batches:
                images = noise_images(engine.spec.input_size, batch)
                case = EngineCase(name, file, engine, images, cold_starts[name, batch])
                case.warm_up(MIN_WARM_UP_S)
                cases.append(case)
        return cases

    def results(
        self, cases: Sequence[EngineCase], seconds: Sequence[Seconds], idle: IdleMachine | None
    ) -> list[EngineResult]:
        """Return the result of every case that ran; the others are listed in `failures`."""
        results: list[EngineResult] = []
        baseline: Seconds | None = None  # seconds per image of the first case that can be measured
        for case, case_seconds in zip(cases, seconds, strict=True):
            try:
                if case.error is not None:
                    raise EngineError(case.error)
                per_image = case_seconds / case.batch
                self.progress.stage(f"throughput of {case.name}")
                with as_engine_error(f"{case.name} could not be measured"):
                    first = per_image if baseline is None else baseline
                    results.append(engine_result(case, case_seconds, speed_up(first, per_image), self.settings))
                baseline = first
                if idle is not None and self.settings.sustain_s is not None:
                    self.progress.stage(f"{case.name} for {self.settings.sustain_s:g} s")
                    load = sustain(case.run, case.batch, self.settings.sustain_s, results[-1].unit, idle)
                    results[-1] = replace(results[-1], sustain=load)
            except EdgeSegfaceError as error:
                self.failures[case.label] = str(error)
            except KeyboardInterrupt:  # keep what was measured
                self.failures[f"{case.label} and the rest"] = "interrupted"
                break
        return results


def time_cases(cases: Sequence[EngineCase], settings: BenchmarkSettings) -> tuple[list[Seconds], dict[str, Clock]]:
    """Time the cases in interleaved rounds; return the seconds of each case, and the clocks meanwhile."""
    for case in cases:
        case.gpu_ms.clear()
    with Sampler(sensors()) as sampler:
        seconds = interleaved(
            {str(index): case.run_unless_failed for index, case in enumerate(cases)},
            settings.rounds,
            pause_s=settings.pause_ms / 1e3,
            warm_up_rounds=settings.warm_up_rounds,
        )
    return [np.array(values) for values in seconds.values()], clock_ranges(sampler.readings)


def engine_result(
    case: EngineCase, seconds: Seconds, times_as_fast: float, settings: BenchmarkSettings
) -> EngineResult:
    spec = case.engine.spec
    fps = case.batch / float(seconds.mean())
    return EngineResult(
        name=case.name,
        model=spec.name,
        sha256=sha256_of(case.path),
        engine=case.engine.description,
        unit=settings.unit(case.path),
        precision=spec.precision,
        input_size=spec.input_size,
        batch=case.batch,
        file_mb=round(size_mb(case.path), 2),
        latency_ms=latency_ms(seconds),
        fps=round(fps, 2),
        of_paper=round(fps / PAPER_FPS, 3),
        gpu_ms=case.gpu_medians_ms(),
        settings=settings,
        samples_ms=[round(1e3 * float(value), 4) for value in seconds],
        **asdict(case.cold_start),
        **environment(),
        times_as_fast=times_as_fast,
        throughput_fps=round(case.throughput_fps(), 2),
    )
