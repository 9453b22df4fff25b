"""Timers for loops and their stages, in constant memory."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

FINEST_S = 1e-7
STEP = math.log(1.005)
BINS = math.ceil(math.log(1e4 / FINEST_S) / STEP)  # up to hours


class Durations:
    """Any number of durations in constant memory: their sum, and a histogram with bins 0.5 % wide."""

    def __init__(self) -> None:
        self.count = 0
        self.total_s = 0.0
        self._bins = [0] * BINS

    def add(self, seconds: float) -> None:
        self.count += 1
        self.total_s += seconds
        place = int(math.log(max(seconds, FINEST_S) / FINEST_S) / STEP)
        self._bins[min(place, BINS - 1)] += 1

    def percentile_s(self, percent: float) -> float:
        """Return a percentile, accurate to 0.5 %."""
        target = max(1, math.ceil(self.count * percent / 100))
        counted = 0
        for place, count in enumerate(self._bins):
            counted += count
            if counted >= target:
                return FINEST_S * math.exp((place + 0.5) * STEP)
        return math.nan

    def percentiles_ms(self) -> dict[str, float]:
        return {f"p{percent}": round(1e3 * self.percentile_s(percent), 3) for percent in (50, 90, 99)}


class Stopwatch:
    """Durations by stage. Each stage belongs to one thread; any thread may read."""

    def __init__(self) -> None:
        self.stages: dict[str, Durations] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        if name not in self.stages:
            self.stages[name] = Durations()
        self.stages[name].add(seconds)

    def total_s(self, *names: str) -> float:
        return sum(self.stages[name].total_s for name in names if name in self.stages)

    def stages_ms(self) -> dict[str, dict[str, float]]:
        return {name: durations.percentiles_ms() for name, durations in list(self.stages.items())}
