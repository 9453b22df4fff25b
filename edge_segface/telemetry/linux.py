"""Sensors of any Linux machine that are files in sysfs."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from edge_segface.telemetry.sensor import CONSTANT_ZONE, SENSOR_OFF_C, Sensor, Values, read_number


class ThermalZones(Sensor):
    """Temperatures of the thermal zones."""

    name = "thermal zones"

    def __init__(self, root: Path = Path("/")) -> None:
        self._zones = [
            (name, zone / "temp")
            for zone in sorted(root.glob("sys/class/thermal/thermal_zone*"))
            if (zone / "type").exists() and (zone / "temp").exists()
            if not (name := (zone / "type").read_text().strip()).startswith(CONSTANT_ZONE)
        ]
        if not self._zones:
            raise FileNotFoundError("no thermal zones")

    def read(self) -> Values:
        values = {}
        for name, path in self._zones:
            with suppress(OSError, ValueError):  # zones of units that are off cannot be read
                if (celsius := read_number(path, 1000)) > SENSOR_OFF_C:
                    values[f"temperature_c.{name}"] = celsius
        return values


class CpuClock(Sensor):
    """Clock of the fastest core."""

    name = "cpufreq"

    def __init__(self, root: Path = Path("/")) -> None:
        self._paths = sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"))
        if not self._paths:
            raise FileNotFoundError("no cpufreq")

    def read(self) -> Values:
        clocks_mhz = []
        for path in self._paths:
            with suppress(OSError, ValueError):  # cores that the power mode switches off cannot be read
                clocks_mhz.append(read_number(path, 1000))
        if not clocks_mhz:
            raise OSError("no core can be read")
        return {"clock_mhz.cpu": max(clocks_mhz)}


class Rapl(Sensor):
    """Mean power of x86 packages since the last reading, from their energy counters.

    On many systems only root may read these.
    """

    name = "RAPL"

    def __init__(self, root: Path = Path("/")) -> None:
        self._paths = [
            folder / "energy_uj"
            for folder in sorted(root.glob("sys/class/powercap/intel-rapl:[0-9]*"))
            if (folder / "name").read_text().startswith("package")  # not its parts, and not `psys`, which contains it
        ]
        if not self._paths:
            raise FileNotFoundError("no RAPL")
        self._before = self._time_and_energy()

    def read(self) -> Values:
        (before_s, before_j), self._before = self._before, self._time_and_energy()
        seconds, joules = self._before[0] - before_s, self._before[1] - before_j
        wrapped = joules < 0  # the counter restarts at zero now and then
        return {"power_w.package": joules / seconds} if seconds > 0 and not wrapped else {}

    def _time_and_energy(self) -> tuple[float, float]:
        return time.monotonic(), sum(read_number(path) for path in self._paths) / 1e6
