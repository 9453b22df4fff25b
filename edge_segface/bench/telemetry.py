"""Power, temperature, clocks and load of the machine while something runs on it, without a service and without root.

Each sensor reads one thing and is tried once when it is made: what a machine does not have is not there. A sensor that
fails later leaves a gap. Names are `power_w`, `power_w.RAIL`, `temperature_c.ZONE`, `clock_mhz.UNIT` and
`load_percent.UNIT`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Values = dict[str, float]

SENSOR_OFF_C = -200.0  # tegrastats says -256 for a sensor that is off
UNUSED_RAILS = ("NC", "sum of shunt voltages")
# What a board draws in all, where one rail says so; on others rails are added up.
BOARD_RAILS = ("VDD_IN", "POM_5V_IN")


class Sensor:
    """Something that can be read again and again. It raises OSError or ValueError where it cannot."""

    name = "sensor"

    def read(self) -> Values:
        raise NotImplementedError

    def close(self) -> None:
        """Most have nothing to close."""


def tegrastats_values(line: str) -> Values:
    """One line of NVIDIA's tegrastats, whose fields differ by board, release and user."""
    values: Values = {}
    if found := re.search(r"\bRAM (\d+)/(\d+)MB", line):
        values["memory_mb"] = float(found[1])
    if found := re.search(r"\bCPU \[([^\]]*)\]", line):
        cores = [re.fullmatch(r"(\d+)%@(\d+)", core) for core in found[1].split(",")]
        running = [core for core in cores if core]
        if running:
            values["load_percent.cpu"] = sum(float(core[1]) for core in running) / len(running)
            values["clock_mhz.cpu"] = max(float(core[2]) for core in running)
    if found := re.search(r"\bGR3D_FREQ (?:(\d+)%)?(?:@\[?([\d,]+)\]?)?", line):
        if found[1]:
            values["load_percent.gpu"] = float(found[1])
        if found[2]:
            values["clock_mhz.gpu"] = max(float(clock) for clock in found[2].split(","))
    if found := re.search(r"\bEMC_FREQ (?:\d+%)?@(\d+)", line):
        values["clock_mhz.memory"] = float(found[1])
    for name, celsius in re.findall(r"\b(\w+)@(-?[\d.]+)C\b", line):
        if float(celsius) > SENSOR_OFF_C:
            values[f"temperature_c.{name}"] = float(celsius)
    rest = re.sub(r"\b(?:RAM|SWAP|IRAM) \d+/\d+[kM]B ?\([^)]*\)", "", line)
    rails = {name: float(now) / 1000 for name, now in re.findall(r"\b([A-Z]\w*) (\d+)(?:mW)?/\d+(?:mW)?(?!\w)", rest)}
    return values | with_total(rails)


def with_total(rails: dict[str, float]) -> Values:
    """Watts by rail, and what the board draws in all."""
    rails = {name: watts for name, watts in rails.items() if name not in UNUSED_RAILS}
    if not rails:
        return {}
    total = next((rails[name] for name in BOARD_RAILS if name in rails), sum(rails.values()))
    return {"power_w": total, **{f"power_w.{name}": watts for name, watts in rails.items()}}


class Tegrastats(Sensor):
    """The newest line of a tegrastats that runs beside."""

    name = "tegrastats"

    def __init__(self, command: Sequence[str] = ("tegrastats", "--interval", "500")) -> None:
        if shutil.which(command[0]) is None:
            raise FileNotFoundError(command[0])
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603
        self._lines: deque[str] = deque(maxlen=1)
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def read(self) -> Values:
        if not self._lines:
            if self._process.poll() is not None:
                raise OSError("tegrastats has ended")
            return {}
        return tegrastats_values(self._lines[-1])

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join(2)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            self._lines.extend(lines)


class Ina3221(Sensor):
    """Rails of Jetson boards by sysfs: millivolts times milliamperes, or milliwatts of older kernels."""

    name = "INA3221"

    def __init__(self, root: Path = Path("/")) -> None:
        self._rails: list[tuple[str, Callable[[], float]]] = []
        for folder in sorted(root.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*")):
            for label in sorted(folder.glob("in?_label")):
                number = label.name[2]
                if (folder / f"curr{number}_input").exists():
                    self._rails.append((label.read_text().strip(), _product(folder, number)))
        for label in sorted(root.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_?")):
            power = label.with_name(f"in_power{label.name[-1]}_input")
            self._rails.append((label.read_text().strip(), lambda power=power: number_in(power) / 1000))  # type: ignore[misc]
        if not self._rails:
            raise FileNotFoundError("no INA3221")

    def read(self) -> Values:
        return with_total({name: watts() for name, watts in self._rails})


def _product(folder: Path, number: str) -> Callable[[], float]:
    return lambda: number_in(folder / f"in{number}_input") * number_in(folder / f"curr{number}_input") / 1e6


class ThermalZones(Sensor):
    name = "thermal zones"

    def __init__(self, root: Path = Path("/")) -> None:
        self._zones = [
            ((zone / "type").read_text().strip(), zone / "temp")
            for zone in sorted(root.glob("sys/class/thermal/thermal_zone*"))
            if (zone / "type").exists() and (zone / "temp").exists()
        ]
        if not self._zones:
            raise FileNotFoundError("no thermal zones")

    def read(self) -> Values:
        values = {}
        for name, path in self._zones:
            try:
                celsius = number_in(path) / 1000
            except (OSError, ValueError):  # zones of units that are off cannot be read
                continue
            if celsius > SENSOR_OFF_C:
                values[f"temperature_c.{name}"] = celsius
        return values


class CpuClock(Sensor):
    """The fastest of the cores now."""

    name = "cpufreq"

    def __init__(self, root: Path = Path("/")) -> None:
        self._paths = sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"))
        if not self._paths:
            raise FileNotFoundError("no cpufreq")

    def read(self) -> Values:
        return {"clock_mhz.cpu": max(number_in(path) for path in self._paths) / 1000}


class TegraGpu(Sensor):
    """Load and clock of the GPU of Jetson boards."""

    name = "Tegra GPU"

    def __init__(self, root: Path = Path("/")) -> None:
        loads = ("sys/devices/gpu.0/load", "sys/devices/platform/gpu.0/load")
        self._loads = [root / path for path in loads if (root / path).exists()]
        self._clocks = sorted(root.glob("sys/class/devfreq/*gpu*/cur_freq")) + sorted(
            root.glob("sys/class/devfreq/*.g?1*/cur_freq")
        )
        if not self._loads and not self._clocks:
            raise FileNotFoundError("no Tegra GPU")

    def read(self) -> Values:
        values = {}
        if self._loads:
            values["load_percent.gpu"] = number_in(self._loads[0]) / 10
        if self._clocks:
            values["clock_mhz.gpu"] = number_in(self._clocks[0]) / 1e6
        return values


class Rapl(Sensor):
    """Power of x86 packages, from the energy that they count."""

    name = "RAPL"

    def __init__(self, root: Path = Path("/")) -> None:
        self._paths = sorted(root.glob("sys/class/powercap/intel-rapl:[0-9]*/energy_uj"))
        self._paths = [path for path in self._paths if path.parent.name.count(":") == 1]
        if not self._paths:
            raise FileNotFoundError("no RAPL")
        self._before = self._energy()  # which only root may read on many systems

    def read(self) -> Values:
        (then_s, then_j), self._before = self._before, self._energy()
        seconds, joules = self._before[0] - then_s, self._before[1] - then_j
        return {"power_w": joules / seconds} if seconds > 0 and joules >= 0 else {}  # the counter begins anew at times

    def _energy(self) -> tuple[float, float]:
        return time.monotonic(), sum(number_in(path) for path in self._paths) / 1e6


class Nvml(Sensor):
    """NVIDIA's GPUs in computers, and Jetson Thor."""

    name = "NVML"

    def __init__(self) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise FileNotFoundError("nvidia-ml-py is not installed") from error
        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            self._gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
        except pynvml.NVMLError as error:
            raise OSError(str(error)) from error

    def read(self) -> Values:
        nvml, gpu = self._nvml, self._gpu
        asks: dict[str, Callable[[], float]] = {
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
            "temperature_c.gpu": lambda: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
            "clock_mhz.gpu": lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
            "load_percent.gpu": lambda: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
        }
        values = {}
        for name, ask in asks.items():
            try:
                values[name] = float(ask())
            except nvml.NVMLError:  # boards lack this or that
                continue
        return values

    def close(self) -> None:
        self._nvml.nvmlShutdown()


def sensors(root: Path = Path("/")) -> list[Sensor]:
    """All that this machine has. Of two that say the same the first counts."""
    makers: list[Callable[[], Sensor]] = [
        lambda: Ina3221(root),
        Tegrastats,
        Nvml,
        lambda: TegraGpu(root),
        lambda: Rapl(root),
        lambda: CpuClock(root),
        lambda: ThermalZones(root),
    ]
    found = []
    for make in makers:
        try:
            found.append(make())
        except (OSError, ValueError):
            continue
    return found


@dataclass(frozen=True)
class Reading:
    at_s: float  # since the sampler began
    values: Values


class Sampler:
    """Reads sensors in a thread until it is closed."""

    def __init__(self, of: Sequence[Sensor], interval_s: float = 0.2) -> None:
        self.readings: list[Reading] = []
        self.gaps: dict[str, int] = {}  # sensor -> readings that failed
        self._sensors, self._interval_s = list(of), interval_s
        self._start_s = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def close(self) -> list[Reading]:
        self._stop.set()
        self._thread.join()
        for sensor in self._sensors:
            sensor.close()
        return self.readings

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            values: Values = {}
            for sensor in self._sensors:
                try:
                    values = sensor.read() | values
                except (OSError, ValueError):
                    self.gaps[sensor.name] = self.gaps.get(sensor.name, 0) + 1
            self.readings.append(Reading(time.monotonic() - self._start_s, values))


def power_state(root: Path = Path("/")) -> dict[str, Any]:
    """What decides how fast a board may run: its power mode and whether clocks are locked; governors elsewhere."""
    state: dict[str, Any] = {}
    if (found := _said("nvpmodel", "-q")) and (mode := re.search(r"NV Power Mode: *(\S+)", found)):
        state["nvpmodel"] = mode[1]
    if found := _said("jetson_clocks", "--show"):
        clocks = re.findall(r"^(?:cpu\d+|GPU).*?MinFreq=(\d+) MaxFreq=(\d+)", found, re.MULTILINE)
        state["jetson_clocks"] = bool(clocks) and all(least == most for least, most in clocks)
    governors = {
        path.read_text().strip()
        for path in root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    }  # fmt: skip
    if governors:
        state["governor"] = ", ".join(sorted(governors))
    model = root / "proc/device-tree/model"
    if model.exists():
        state["board"] = model.read_text(errors="replace").strip("\0\n ")
    return state


def number_in(path: Path) -> float:
    return float(path.read_text())


def _said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
