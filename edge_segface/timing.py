"""Timers for loops and their stages, in constant memory."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

FINEST_S = 1e-7
STEP = math.log(1.005)
BINS = math.ceil(math.log(1e4 / FINEST_S) / STEP)  # up to hours
RECENT_S = 2.0


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


class Rate:
    """The rate of an event: n events have n - 1 intervals."""

    def __init__(self) -> None:
        self.count = 0
        self._first_s = self._last_s = 0.0
        self._recent: deque[float] = deque(maxlen=512)

    def tick(self) -> None:
        self._last_s = time.perf_counter()
        self._first_s = self._first_s if self.count else self._last_s
        self.count += 1
        self._recent.append(self._last_s)

    @property
    def seconds(self) -> float:
        return self._last_s - self._first_s

    def fps(self) -> float:
        """Return the rate from the first event to the last."""
        return (self.count - 1) / self.seconds if self.count > 1 else math.nan

    def recent_fps(self) -> float:
        """Return the rate over the last two seconds."""
        now = time.perf_counter()
        times = [when for when in tuple(self._recent) if when >= now - RECENT_S]
        if len(times) > 1 and now - times[-1] < 2 * (times[-1] - times[0]) / (len(times) - 1):
            return (len(times) - 1) / (times[-1] - times[0])
        return len(times) / RECENT_S


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
