"""Sustained load: the rate of a machine that has become hot, and whether its clocks were stable."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_segface.bench.readings import (
    PLOT_POINTS,
    Floats,
    all_series,
    clock_ranges,
    hottest_c,
    mean_of,
    names_of,
    power_scope,
    series,
    thinned,
    throttle_counts,
)
from edge_segface.bench.results import SustainedLoad
from edge_segface.errors import EdgeSegfaceError
from edge_segface.telemetry import Reading, Sampler, sensors

IDLE_S = 3.0
LONGEST_COOL_DOWN_S = 120.0
COOL_WITHIN_C = 3.0
COLD_S = 10.0  # the start of a run
UNSTABLE_SHARE = 0.05  # of the clock readings beyond CLOCK_TOLERANCE, from which on a run is not comparable
SLOWER_THAN = 0.95  # of the initial rate
SHORT_S = 5.0  # shorter runs heat nothing


@dataclass(frozen=True)
class IdleMachine:
    """Power and temperature before any work."""

    power_w: dict[str, float]  # by scope
    hottest_c: float | None


def measure_idle(seconds: float = IDLE_S) -> IdleMachine:
    with Sampler(sensors()) as sampler:
        time.sleep(seconds)
    scopes = [name.removeprefix("power_w.") for name in names_of(sampler.readings, "power_w.")]
    power_w = {scope: float(np.mean(series(sampler.readings, f"power_w.{scope}")[1])) for scope in scopes}
    return IdleMachine(power_w, hottest_c(sampler.readings))


def cool_down(idle: IdleMachine, longest_s: float = LONGEST_COOL_DOWN_S) -> float:
    """Wait until the machine is as cool as it was at idle; return the seconds waited."""
    if idle.hottest_c is None:
        return 0.0
    start = time.monotonic()
    with Sampler(sensors()) as sampler:
        while (waited := time.monotonic() - start) < longest_s:
            now = hottest_c(sampler.readings)
            if now is not None and now <= idle.hottest_c + COOL_WITHIN_C:
                break
            time.sleep(0.2)
    return waited


def sustain(run: Callable[[], None], batch: int, seconds: float, unit: str, idle: IdleMachine) -> SustainedLoad:
    """Run at full speed for a time and record the sensors. `unit` executes the work: gpu or cpu.

    On failure, return partial results with the error; raise if no call succeeded.
    """
    waited = cool_down(idle)
    ends: list[float] = []
    message = None
    with Sampler(sensors()) as sampler:
        start = time.monotonic()
        try:
            while not ends or ends[-1] < seconds:
                run()
                ends.append(time.monotonic() - start)
        except EdgeSegfaceError as error:
            if not ends:
                raise
            message = str(error)
    load = summarise(np.array(ends), batch, sampler.readings, unit, idle)
    return replace(load, waited_s=round(waited, 1), gaps=sampler.gaps, error=message)


def summarise(ends_s: Floats, batch: int, readings: Sequence[Reading], unit: str, idle: IdleMachine) -> SustainedLoad:
    """Summarise a run of back-to-back calls that ended at `ends_s`: its start, its end, and whether they compare."""
    seconds = float(ends_s[-1])
    times_s, rates = rates_over_time(ends_s, batch, max(1.0, seconds / PLOT_POINTS))
    cold_s = min(COLD_S, seconds / 3)
    cold_fps = batch * call_rate(ends_s, 0.0, cold_s)
    steady_fps = batch * call_rate(ends_s, seconds * 2 / 3, seconds)
    slower_from = slower_from_s(times_s, rates, cold_fps, seconds)
    clocks = clock_ranges(readings, cold_s)
    throttled = throttle_counts(readings, unit)
    clock_moved = unit in clocks and clocks[unit].moved_share > UNSTABLE_SHARE
    unstable = slower_from is not None or steady_fps < SLOWER_THAN * cold_fps or clock_moved or bool(throttled)
    unknown = unit not in clocks or seconds < SHORT_S
    scope = power_scope(readings, unit)
    late = [reading for reading in readings if reading.at_s >= seconds * 2 / 3]
    power_w = None if scope is None else mean_of(late, f"power_w.{scope}")
    idle_w = idle.power_w.get(scope or "")
    above_idle_w = None if power_w is None or idle_w is None else power_w - idle_w
    return SustainedLoad(
        seconds=round(seconds, 1),
        cold_fps=round(cold_fps, 2),
        steady_fps=round(steady_fps, 2),
        fps=thinned(times_s, rates),
        slower_from_s=slower_from,
        power_scope=scope,
        power_w=_rounded(power_w),
        idle_power_w=_rounded(idle_w),
        mj_per_frame=_rounded(power_w, 1e3 / steady_fps),
        mj_per_frame_above_idle=_rounded(above_idle_w, 1e3 / steady_fps),
        power_over_time_w={} if scope is None else {scope: thinned(*series(readings, f"power_w.{scope}"))},
        temperature_c=all_series(readings, "temperature_c."),
        clock_over_time_mhz=all_series(readings, "clock_mhz."),
        clocks_mhz=clocks,
        throttled=throttled,
        unit=unit,
        comparable=False if unstable else None if unknown else True,
    )


def _rounded(value: float | None, factor: float = 1.0) -> float | None:
    return None if value is None else round(factor * value, 3)


def rates_over_time(ends_s: Floats, batch: int, step_s: float) -> tuple[Floats, Floats]:
    """Return the start of each step in which a call ended, and the images per second since the step before."""
    steps = (ends_s / step_s).astype(int)
    last = np.flatnonzero(np.append(np.diff(steps), 1))  # the last call of each step
    ended = ends_s[last]
    calls = np.diff(np.concatenate([[-1], last]))
    return step_s * steps[last], batch * calls / np.diff(np.concatenate([[0.0], ended]))


def call_rate(ends_s: Floats, from_s: float, to_s: float) -> float:
    """Return calls per second of those that ended in an interval, or of the first one after it."""
    first = int(np.searchsorted(ends_s, from_s))
    last = max(int(np.searchsorted(ends_s, to_s, side="right")), first + 1)
    before = ends_s[first - 1] if first else 0.0
    return float((last - first) / (ends_s[last - 1] - before))


def slower_from_s(times_s: Floats, rates: Floats, cold_fps: float, seconds: float) -> float | None:
    """Return the second from which the rate stayed lower, for at least a tenth of the run."""
    for index in np.flatnonzero(rates < SLOWER_THAN * cold_fps):
        if times_s[index] > 0.9 * seconds:
            break
        if (rates[index:] < 0.5 * (1 + SLOWER_THAN) * cold_fps).mean() > 0.8:
            return round(float(times_s[index]), 1)
    return None
