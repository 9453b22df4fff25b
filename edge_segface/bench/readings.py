"""Time series of sensors, and what they say about clocks, power and temperature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge_segface.bench.results import Clock, Point
from edge_segface.telemetry import Reading

CLOCK_TOLERANCE = 0.03  # relative deviation beyond which a clock counts as moved
PLOT_POINTS = 300

Floats = npt.NDArray[np.float64]


def clock_ranges(readings: Sequence[Reading], cold_s: float = float("inf")) -> dict[str, Clock]:
    """Return for each unit its initial clock (the median of the first `cold_s`), its range, and how often it moved."""
    clocks = {}
    for name in names_of(readings, "clock_mhz."):
        times_s, values = series(readings, name)
        times_s, values = times_s[values > 0], values[values > 0]  # a unit that is off reports nothing
        if not len(values):
            continue
        first = float(np.median(values[times_s < cold_s])) if (times_s < cold_s).any() else float(values[0])
        clocks[name.removeprefix("clock_mhz.")] = Clock(
            first=round(first, 1),
            p5=round(float(np.percentile(values, 5)), 1),
            p95=round(float(np.percentile(values, 95)), 1),
            moved_share=round(float((np.abs(values - first) > CLOCK_TOLERANCE * first).mean()), 3),
        )
    return clocks


def throttle_counts(readings: Sequence[Reading], unit: str) -> dict[str, float]:
    """Return how often each cause reduced the clocks; a GPU's own limit does not concern the CPU."""
    names = [name for name in names_of(readings, "throttled.") if unit == "gpu" or name != "throttled.gpu"]
    counts = {name.removeprefix("throttled."): float(series(readings, name)[1].max()) for name in names}
    return {cause: count for cause, count in counts.items() if count > 0}


def power_scope(readings: Sequence[Reading], unit: str) -> str | None:
    """Return the widest measure of power that includes the unit."""
    names = names_of(readings, "power_w.")
    scopes = ("board", "rails", "gpu" if unit == "gpu" else "package")
    return next((scope for scope in scopes if f"power_w.{scope}" in names), None)


def names_of(readings: Sequence[Reading], prefix: str) -> list[str]:
    return sorted({name for reading in readings for name in reading.values if name.startswith(prefix)})


def series(readings: Sequence[Reading], name: str) -> tuple[Floats, Floats]:
    """Return the times and the values of one sensor."""
    pairs = [(reading.at_s, reading.values[name]) for reading in readings if name in reading.values]
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def all_series(readings: Sequence[Reading], prefix: str) -> dict[str, list[Point]]:
    return {name.removeprefix(prefix): thinned(*series(readings, name)) for name in names_of(readings, prefix)}


def thinned(times_s: Floats, values: Floats, most: int = PLOT_POINTS) -> list[Point]:
    step = -(-len(values) // most) or 1
    pairs = zip(times_s[::step], values[::step], strict=True)
    return [(round(float(at), 1), round(float(value), 2)) for at, value in pairs]


def mean_of(readings: Sequence[Reading], name: str) -> float | None:
    _, values = series(readings, name)
    return float(values.mean()) if len(values) else None


def hottest_c(readings: Sequence[Reading]) -> float | None:
    """Return the highest temperature in the last reading."""
    values = readings[-1].values if readings else {}
    return max((value for name, value in values.items() if name.startswith("temperature_c.")), default=None)
