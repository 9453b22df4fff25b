"""Reads sensors at intervals."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from edge_segface.telemetry.sensor import Sensor, Values

INTERVAL_S = 0.1


@dataclass(frozen=True)
class Reading:
    """The values of all sensors at one moment."""

    at_s: float  # since the sampler started
    values: Values


class Sampler:
    """Reads sensors in a thread of its own, from construction until the `with` block ends, and then closes them.

    A sensor that fails leaves a gap, and does not affect the others. `keep` limits the readings to the latest ones.
    """

    def __init__(self, sensors: Sequence[Sensor], interval_s: float = INTERVAL_S, keep: int | None = None) -> None:
        self._readings: deque[Reading] = deque(maxlen=keep)
        self.gaps: dict[str, int] = {}  # name of a sensor -> number of readings that failed
        self._sensors, self._interval_s = list(sensors), interval_s
        self._start_s = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    @property
    def readings(self) -> list[Reading]:
        return list(self._readings)

    def means(self, quantity: str) -> dict[str, float]:
        """Return the mean of each value of a quantity, such as `power_w`: scope -> mean."""
        values: dict[str, list[float]] = {}
        for reading in self.readings:
            for name, value in reading.values.items():
                if name.startswith(f"{quantity}."):
                    values.setdefault(name.removeprefix(f"{quantity}."), []).append(value)
        return {scope: round(sum(found) / len(found), 2) for scope, found in values.items()}

    def __enter__(self) -> Sampler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        with ExitStack() as stack:
            for sensor in self._sensors:
                stack.callback(sensor.close)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            values, failed = read_all(self._sensors)
            self._readings.append(Reading(time.monotonic() - self._start_s, values))
            for name in failed:
                self.gaps[name] = self.gaps.get(name, 0) + 1


def read_all(sensors: Sequence[Sensor]) -> tuple[Values, list[str]]:
    """Return the values of all sensors, and the names of those that failed."""
    values: Values = {}
    failed = []
    for sensor in sensors:
        try:
            values = sensor.read() | values
        except Exception:  # noqa: BLE001 - one failing sensor must not stop the others
            failed.append(sensor.name)
    return values, failed
