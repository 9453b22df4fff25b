"""The interface of a sensor."""

from __future__ import annotations

from pathlib import Path

Values = dict[str, float]

SENSOR_OFF_C = -200.0  # sensors of units that are off report -256
CONSTANT_ZONE = "PMIC"  # always reports 100 degrees on Nano and TX boards


class Sensor:
    """Something that is read again and again. Constructing one raises OSError or ValueError if this machine lacks it.

    `read` raises OSError or ValueError if the sensor fails; the sampler counts that as a gap.
    """

    name = "sensor"

    def read(self) -> Values:
        raise NotImplementedError

    def close(self) -> None:
        """Release what the sensor holds; most hold nothing."""


def read_number(path: Path, divisor: float = 1.0) -> float:
    """Read a file that contains one number, and divide it to convert its unit."""
    return float(path.read_text()) / divisor
