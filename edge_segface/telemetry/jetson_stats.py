"""jetson-stats, a third-party service: inside a container it may be the only source of values."""

from __future__ import annotations

from edge_segface.telemetry.jetson import power_values
from edge_segface.telemetry.sensor import SENSOR_OFF_C, Sensor, Values


class Jtop(Sensor):
    """A client of the jtop service."""

    name = "jtop"

    def __init__(self) -> None:
        try:
            from jtop import JtopException, jtop
        except ImportError as error:
            raise FileNotFoundError("jetson-stats is not installed") from error
        self._exception = JtopException
        self._jtop = jtop(interval=0.5)
        try:
            self._jtop.start()
        except JtopException as error:
            raise OSError(str(error)) from error

    def read(self) -> Values:
        try:
            if not self._jtop.ok(spin=True):
                raise OSError("jtop has ended")
        except self._exception as error:
            raise OSError(str(error)) from error
        values = power_values({name: rail["power"] / 1000 for name, rail in self._jtop.power["rail"].items()})
        for name, zone in self._jtop.temperature.items():
            if zone.get("online", True) and zone["temp"] > SENSOR_OFF_C:
                values[f"temperature_c.{name}"] = float(zone["temp"])
        for gpu in self._jtop.gpu.values():
            values["load_percent.gpu"] = float(gpu["status"]["load"])
            values["clock_mhz.gpu"] = gpu["freq"]["cur"] / 1000
        return values

    def close(self) -> None:
        self._jtop.close()
