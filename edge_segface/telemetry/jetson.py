"""Sensors of Jetson boards that are files in sysfs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from edge_segface.board import gpu_clocks
from edge_segface.telemetry.sensor import Sensor, Values, read_number

UNUSED_RAILS = re.compile(r"NC\d*|sum of shunt voltages")
BOARD_RAILS = ("VDD_IN", "POM_5V_IN", "VIN")  # the rails that carry the input of a whole board

Rail = tuple[str, Callable[[], float]]  # name, watts


def power_values(rails: dict[str, float]) -> Values:
    """Name watts by rail, and add the total: the board's input if one rail measures it, otherwise the sum of rails."""
    rails = {name: watts for name, watts in rails.items() if not UNUSED_RAILS.fullmatch(name)}
    if not rails:
        return {}
    board = next((rails[name] for name in BOARD_RAILS if name in rails), None)
    total = {"power_w.rails": sum(rails.values())} if board is None else {"power_w.board": board}
    return total | {f"rail_w.{name}": watts for name, watts in rails.items()}


class Rails(Sensor):
    """Power of the rails of a Jetson board."""

    name = "rails"

    def __init__(self, root: Path = Path("/")) -> None:
        self._rails = [*ina3221_rails(root), *ina3221x_rails(root), *ina238_rails(root)]
        if not self._rails:
            raise FileNotFoundError("no INA3221")

    def read(self) -> Values:
        return power_values({name: watts() for name, watts in self._rails})


def ina3221_rails(root: Path) -> Iterator[Rail]:
    """Millivolts times milliamperes."""
    for folder in sorted(root.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*")):
        for label in sorted(folder.glob("in?_label")):
            volts, amperes = folder / f"in{label.name[2]}_input", folder / f"curr{label.name[2]}_input"
            if amperes.exists():
                yield label.read_text().strip(), partial(product, volts, amperes)


def product(millivolts: Path, milliamperes: Path) -> float:
    return read_number(millivolts) * read_number(milliamperes) / 1e6


def ina3221x_rails(root: Path) -> Iterator[Rail]:
    """Milliwatts, from the driver of older kernels."""
    for label in sorted(root.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_?")):
        power = label.with_name(f"in_power{label.name[-1]}_input")
        yield label.read_text().strip(), partial(read_number, power, 1000)


def ina238_rails(root: Path) -> Iterator[Rail]:
    """Microwatts of the input of Jetson Thor."""
    for name in root.glob("sys/class/hwmon/hwmon*/name"):
        power = name.with_name("power1_input")
        if name.read_text().strip() == "ina238" and power.exists():
            yield "VIN", partial(read_number, power, 1e6)


class TegraGpu(Sensor):
    """Load and clock of a Jetson board's GPU."""

    name = "Tegra GPU"

    def __init__(self, root: Path = Path("/")) -> None:
        loads = (root / "sys/devices/gpu.0/load", root / "sys/devices/platform/gpu.0/load")
        self._load = next((path for path in loads if path.exists()), None)
        self._clock = next((path for folder in gpu_clocks(root) if (path := folder / "cur_freq").exists()), None)
        if self._load is None and self._clock is None:
            raise FileNotFoundError("no Tegra GPU")

    def read(self) -> Values:
        values = {}
        if self._load is not None:
            values["load_percent.gpu"] = read_number(self._load, 10)
        if self._clock is not None:
            values["clock_mhz.gpu"] = read_number(self._clock, 1e6)
        return values


class Overcurrent(Sensor):
    """How often a Jetson board has reduced its clocks for lack of power since the sensor was constructed."""

    name = "overcurrent events"

    def __init__(self, root: Path = Path("/")) -> None:
        self._paths = sorted(root.glob("sys/class/hwmon/hwmon*/oc*_event_cnt"))
        if not self._paths:
            raise FileNotFoundError("no overcurrent counters")
        self._before = [read_number(path) for path in self._paths]

    def read(self) -> Values:
        return {
            f"throttled.{path.name.removesuffix('_event_cnt')}": read_number(path) - before
            for path, before in zip(self._paths, self._before, strict=True)
        }
