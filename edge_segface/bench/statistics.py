"""Statistics of timed calls, and warnings about numbers that cannot be reproduced or compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edge_segface.bench.readings import CLOCK_TOLERANCE
from edge_segface.bench.results import Clock, EngineResult, Latency

BURST_GAIN = 1.1  # a larger speed-up without pauses causes a warning

Seconds = npt.NDArray[np.float64]  # of each timed call


def latency_ms(seconds: Seconds) -> Latency:
    """Summarise the timed calls of one engine."""
    milliseconds = 1e3 * seconds
    p50, p90, p95, p99 = np.percentile(milliseconds, [50, 90, 95, 99])
    mean = milliseconds.mean()
    values = {
        "min": milliseconds.min(),
        "mean": mean,
        "p50": p50,
        "p90": p90,
        "p95": p95,
        "p99": p99,
        "max": milliseconds.max(),
        "cv_percent": 100 * milliseconds.std() / mean,
    }
    return Latency(**{name: round(float(value), 4) for name, value in values.items()})


def speed_up(baseline: Seconds, seconds: Seconds) -> float:
    """Return how many times as fast as the baseline a call is: the median of the ratios round by round."""
    return round(float(np.median(baseline / seconds)), 3)


def report_warnings(results: Sequence[EngineResult], clocks: Mapping[str, Clock]) -> list[str]:
    """Return what keeps these numbers from being reproduced or compared."""
    warnings = []
    for unit in dict.fromkeys(result.unit for result in results):
        clock = clocks.get(unit)
        if clock is not None and clock.p5 < (1 - CLOCK_TOLERANCE) * clock.p95:
            warnings.append(
                f"during the rounds the {unit} clock varied from {clock.p5:g} to {clock.p95:g} MHz; "
                "lock it for reproducible numbers (on a Jetson board: sudo jetson_clocks)"
            )
    for result in results:
        if result.throughput_fps > BURST_GAIN * result.fps:
            warnings.append(
                f"{result.label}: {result.throughput_fps / result.fps:.2f} times as fast back to back as with pauses, "
                "in which clocks or caches cool down"
            )
        if result.sustain is not None and result.sustain.comparable is False:
            warnings.append(f"{result.label}: the sustained run is not comparable")
    return warnings
