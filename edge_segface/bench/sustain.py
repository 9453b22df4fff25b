"""Sustained load: what a machine delivers when it is hot, and whether its clocks held."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from edge_segface.bench.results import Clock, Sustained
from edge_segface.bench.telemetry import Reading, Sampler, sensors
from edge_segface.errors import EdgeSegfaceError

REST_S = 3.0
COOL_S = 120.0  # longest wait between two runs
COOL_WITHIN_C = 3.0
COLD_S = 10.0
MOVED = 0.03  # share of a clock, and
OFTEN = 0.05  # share of the readings, from which on a run is not comparable
SLOWER = 0.95  # share of the initial rate
SHORT_S = 5.0  # shorter runs heat nothing


@dataclass(frozen=True)
class Idle:
    """The machine before any work."""

    power_w: dict[str, float]  # by scope
    hottest_c: float | None


def at_rest(seconds: float = REST_S) -> Idle:
    with Sampler(sensors()) as sampler:
        time.sleep(seconds)
    scopes = {name for reading in sampler.readings for name in reading.values if name.startswith("power_w.")}
    watts = {scope.removeprefix("power_w."): float(np.mean(series(sampler.readings, scope)[1])) for scope in scopes}
    return Idle(watts, hottest(sampler.readings[-1].values) if sampler.readings else None)


def cool_down(rest: Idle, most_s: float = COOL_S) -> float:
    """Wait until the machine is as cool as it was at idle; return the seconds waited."""
    if rest.hottest_c is None:
        return 0.0
    start = time.monotonic()
    with Sampler(sensors()) as sampler:
        while (waited := time.monotonic() - start) < most_s:
            now = hottest(sampler.readings[-1].values) if sampler.readings else None
            if now is not None and now <= rest.hottest_c + COOL_WITHIN_C:
                break
            time.sleep(0.2)
    return waited


def sustain(work: Callable[[], None], batch: int, seconds: float, unit: str, idle: Idle) -> Sustained:
    """Run at full speed for a time and record the sensors. `unit` executes the work: gpu or cpu.

    On failure, return partial results with the error; raise if no call succeeded.
    """
    waited = cool_down(idle)
    ends: list[float] = []
    error = None
    with Sampler(sensors()) as sampler:
        start = time.monotonic()
        try:
            while not ends or ends[-1] < seconds:
                work()
                ends.append(time.monotonic() - start)
        except EdgeSegfaceError as broke:
            if not ends:
                raise
            error = str(broke)
    found = sustained(np.array(ends), batch, sampler.readings, unit, idle)
    return cast(Sustained, {**found, "waited_s": round(waited, 1), "gaps": sampler.gaps, "error": error})


def sustained(
    ends_s: npt.NDArray[np.float64], batch: int, readings: Sequence[Reading], unit: str, idle_machine: Idle
) -> dict[str, Any]:
    """Summarise a run of back-to-back calls: start, end, and whether both were the same machine."""
    seconds = float(ends_s[-1])
    times_s, rates = rates_over_time(ends_s, batch, max(1.0, seconds / 300))
    cold_s = min(COLD_S, seconds / 3)
    cold_fps = batch * rate(ends_s, 0.0, cold_s)
    steady_fps = batch * rate(ends_s, seconds * 2 / 3, seconds)
    slower = slower_from(times_s, rates, cold_fps, seconds)
    late = [reading for reading in readings if reading.at_s >= seconds * 2 / 3]
    scope = scope_of(readings, unit)
    watts = None if scope is None else mean_of(late, f"power_w.{scope}")
    idle = idle_machine.power_w.get(scope or "")
    clocks = clocks_of(readings, cold_s)
    moved = unit in clocks and clocks[unit]["moved_share"] > OFTEN
    throttled = {
        name.removeprefix("throttled."): float(count)
        for name in names_of(readings, "throttled.")
        if (count := series(readings, name)[1].max()) > 0 and (unit == "gpu" or name != "throttled.gpu")
    }
    other = slower is not None or steady_fps < SLOWER * cold_fps or moved or bool(throttled)
    return {
        "seconds": round(seconds, 1),
        "cold_fps": round(cold_fps, 2),
        "steady_fps": round(steady_fps, 2),
        "fps": points(times_s, rates),
        "slower_from_s": slower,
        "power_scope": scope,
        "power_w": None if watts is None else round(watts, 3),
        "idle_power_w": None if idle is None else round(idle, 3),
        "mj_per_frame": None if watts is None else round(1e3 * watts / steady_fps, 3),
        "mj_per_frame_above_idle": (
            None if watts is None or idle is None else round(1e3 * (watts - idle) / steady_fps, 3)
        ),
        "power_over_time_w": {} if scope is None else {scope: points(*series(readings, f"power_w.{scope}"))},
        "temperature_c": by_name(readings, "temperature_c."),
        "clock_over_time_mhz": by_name(readings, "clock_mhz."),
        "clocks_mhz": clocks,
        "throttled": throttled,
        "unit": unit,
        # None: no evidence against it, but no readable clock, or the run was too short
        "comparable": False if other else None if unit not in clocks or seconds < SHORT_S else True,
    }


def rates_over_time(
    ends_s: npt.NDArray[np.float64], batch: int, step_s: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the start of each step in which a call ended, and the images per second since the step before."""
    steps = (ends_s / step_s).astype(int)
    last = np.flatnonzero(np.append(np.diff(steps), 1))  # the last call of each step
    ended = ends_s[last]
    calls = np.diff(np.concatenate([[-1], last]))
    return step_s * steps[last], batch * calls / np.diff(np.concatenate([[0.0], ended]))


def rate(ends_s: npt.NDArray[np.float64], first_s: float, last_s: float) -> float:
    """Return calls per second of those that ended in an interval, or of the first one after it."""
    first = int(np.searchsorted(ends_s, first_s))
    last = max(int(np.searchsorted(ends_s, last_s, side="right")), first + 1)
    before = ends_s[first - 1] if first else 0.0
    return float((last - first) / (ends_s[last - 1] - before))


def slower_from(
    times_s: npt.NDArray[np.float64], rates: npt.NDArray[np.float64], cold: float, seconds: float
) -> float | None:
    """Return the second from which the rate stayed lower, for at least a tenth of the run."""
    for at in np.flatnonzero(rates < SLOWER * cold):
        if times_s[at] > 0.9 * seconds:
            break
        if (rates[at:] < 0.5 * (1 + SLOWER) * cold).mean() > 0.8:
            return round(float(times_s[at]), 1)
    return None


def clocks_of(readings: Sequence[Reading], cold_s: float) -> dict[str, Clock]:
    """Return for each unit the initial clock, its range, and the share of readings elsewhere."""
    clocks: dict[str, Clock] = {}
    for name in names_of(readings, "clock_mhz."):
        times_s, values = series(readings, name)
        times_s, values = times_s[values > 0], values[values > 0]  # a unit that is off reports nothing
        if not len(values):
            continue
        first = float(np.median(values[times_s < cold_s])) if (times_s < cold_s).any() else float(values[0])
        clocks[name.removeprefix("clock_mhz.")] = {
            "first": round(first, 1),
            "p5": round(float(np.percentile(values, 5)), 1),
            "p95": round(float(np.percentile(values, 95)), 1),
            "moved_share": round(float((np.abs(values - first) > MOVED * first).mean()), 3),
        }
    return clocks


def scope_of(readings: Sequence[Reading], unit: str) -> str | None:
    """Return the widest measure of power that includes the unit."""
    there = {name.removeprefix("power_w.") for name in names_of(readings, "power_w.")}
    return next((one for one in ("board", "rails", "gpu" if unit == "gpu" else "package") if one in there), None)


def names_of(readings: Sequence[Reading], beginning: str) -> list[str]:
    return sorted({name for reading in readings for name in reading.values if name.startswith(beginning)})


def series(readings: Sequence[Reading], name: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    pairs = [(reading.at_s, reading.values[name]) for reading in readings if name in reading.values]
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def by_name(readings: Sequence[Reading], beginning: str) -> dict[str, list[list[float]]]:
    return {name.removeprefix(beginning): points(*series(readings, name)) for name in names_of(readings, beginning)}


def points(times_s: npt.NDArray[np.float64], values: npt.NDArray[np.float64], most: int = 300) -> list[list[float]]:
    step = -(-len(values) // most) or 1
    return [
        [round(float(at), 1), round(float(value), 2)] for at, value in zip(times_s[::step], values[::step], strict=True)
    ]


def mean_of(readings: Sequence[Reading], name: str) -> float | None:
    _, values = series(readings, name)
    return float(values.mean()) if len(values) else None


def hottest(values: dict[str, float]) -> float | None:
    return max((value for name, value in values.items() if name.startswith("temperature_c.")), default=None)
