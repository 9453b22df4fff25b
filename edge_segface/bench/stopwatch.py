"""Times of the stages of a loop and of the whole of it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

PAPER_FPS = 95.96  # SegFace MobileNetV3 at 512, as published; hardware, precision and batch are not stated


class Stopwatch:
    """Collects seconds per stage. A lap is one round of the loop; n laps have n starts and so n - 1 intervals."""

    def __init__(self) -> None:
        self.stages: dict[str, list[float]] = {}
        self._lap_starts: list[float] = []

    def lap(self) -> None:
        self._lap_starts.append(time.perf_counter())

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.stages.setdefault(name, []).append(time.perf_counter() - start)

    def fps(self) -> float:
        """Laps per second, over the whole time from the first start to the last."""
        intervals = len(self._lap_starts) - 1
        return intervals / (self._lap_starts[-1] - self._lap_starts[0]) if intervals > 0 else float("nan")

    def stage_fps(self, name: str) -> float:
        """How often per second a stage could run alone: from its mean, as `fps` is."""
        return float(1 / np.mean(self.stages[name]))

    def stages_ms(self) -> dict[str, dict[str, float]]:
        return {name: percentiles_ms(seconds) for name, seconds in self.stages.items()}


def percentiles_ms(seconds: list[float]) -> dict[str, float]:
    values = np.percentile(np.array(seconds) * 1000, [50, 90, 99])
    return {name: round(float(value), 3) for name, value in zip(("p50", "p90", "p99"), values, strict=True)}


def machine() -> dict[str, str | int]:
    """What a number was measured on."""
    return {
        "system": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 0,
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [
                line.partition(":")[2].strip() for line in file if line.lower().startswith(("model name", "hardware"))
            ]
    except OSError:
        names = []
    return (names[0] if names else "") or platform.processor() or platform.machine()
