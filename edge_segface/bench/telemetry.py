"""Power, temperature, clocks and load of the machine while something runs on it, without a service and without root.

Each sensor reads one thing and is tried once when it is made: what a machine does not have is not there. A sensor that
fails later leaves a gap. Names are `power_w.SCOPE`, `rail_w.RAIL`, `temperature_c.ZONE`, `clock_mhz.UNIT`,
`load_percent.UNIT`, `memory_mb` and `throttled.CAUSE`, which counts how often clocks were held down.

Scopes of power: `board` is all that a board draws, `rails` the sum of those rails that it measures, `gpu` one graphics
card, `package` the processor alone.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edge_segface.board import gpu_clocks

Values = dict[str, float]

SENSOR_OFF_C = -200.0  # tegrastats says -256 for a sensor that is off
UNUSED_RAILS = re.compile(r"NC\d*|sum of shunt voltages")
BOARD_RAILS = ("VDD_IN", "POM_5V_IN", "VIN")  # what a board draws in all, where one rail says so
NO_ZONE = "PMIC"  # says 100 degrees on Nano and TX boards, always
INTERVAL_S = 0.1
STALE_S = 2.0


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
        if float(celsius) > SENSOR_OFF_C and not name.startswith(NO_ZONE):
            values[f"temperature_c.{name}"] = float(celsius)
    rest = re.sub(r"\b(?:RAM|SWAP|IRAM) \d+/\d+[kM]B ?\([^)]*\)", "", line)
    rails = {name: float(now) / 1000 for name, now in re.findall(r"\b([A-Z]\w*) (\d+)(?:mW)?/\d+(?:mW)?(?!\w)", rest)}
    return values | with_total(rails)


def with_total(rails: dict[str, float]) -> Values:
    """Watts by rail, and what the board draws in all, or at least what its rails do."""
    rails = {name: watts for name, watts in rails.items() if not UNUSED_RAILS.fullmatch(name)}
    if not rails:
        return {}
    whole = next((rails[name] for name in BOARD_RAILS if name in rails), None)
    total = {"power_w.rails": sum(rails.values())} if whole is None else {"power_w.board": whole}
    return total | {f"rail_w.{name}": watts for name, watts in rails.items()}


class Tegrastats(Sensor):
    """The newest line of a tegrastats that runs beside."""

    name = "tegrastats"

    def __init__(self, command: Sequence[str] = ("tegrastats", "--interval", f"{1e3 * INTERVAL_S:.0f}")) -> None:
        if shutil.which(command[0]) is None:
            raise FileNotFoundError(command[0])
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603
        self._last: tuple[float, str] | None = None
        self._start_s = time.monotonic()
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def read(self) -> Values:
        if self._process.poll() is not None:
            raise OSError("tegrastats has ended")
        at_s, line = self._last or (self._start_s, "")
        if time.monotonic() - at_s > STALE_S:
            raise OSError("tegrastats says nothing any more")
        return tegrastats_values(line)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join(2)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._last = time.monotonic(), line


class Rails(Sensor):
    """Rails of Jetson boards by sysfs.

    INA3221: millivolts times milliamperes, or milliwatts of older kernels. INA238, on Thor: microwatts of all of it.
    """

    name = "rails"

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
        for name in root.glob("sys/class/hwmon/hwmon*/name"):
            power = name.with_name("power1_input")
            if name.read_text().strip() == "ina238" and power.exists():
                self._rails.append(("VIN", lambda power=power: number_in(power) / 1e6))  # type: ignore[misc]
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
            (name, zone / "temp")
            for zone in sorted(root.glob("sys/class/thermal/thermal_zone*"))
            if (zone / "type").exists() and (zone / "temp").exists()
            if not (name := (zone / "type").read_text().strip()).startswith(NO_ZONE)
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
        clocks = []
        for path in self._paths:
            try:
                clocks.append(number_in(path) / 1000)
            except (OSError, ValueError):  # cores that a power mode switches off cannot be read
                continue
        if not clocks:
            raise OSError("no core can be read")
        return {"clock_mhz.cpu": max(clocks)}


class TegraGpu(Sensor):
    """Load and clock of the GPU of Jetson boards."""

    name = "Tegra GPU"

    def __init__(self, root: Path = Path("/")) -> None:
        loads = ("sys/devices/gpu.0/load", "sys/devices/platform/gpu.0/load")
        self._loads = [root / path for path in loads if (root / path).exists()]
        self._clocks = [path for folder in gpu_clocks(root) if (path := folder / "cur_freq").exists()]
        if not self._loads and not self._clocks:
            raise FileNotFoundError("no Tegra GPU")

    def read(self) -> Values:
        values = {}
        if self._loads:
            values["load_percent.gpu"] = number_in(self._loads[0]) / 10
        if self._clocks:
            values["clock_mhz.gpu"] = number_in(self._clocks[0]) / 1e6
        return values


class Throttling(Sensor):
    """How often a Jetson board has held its clocks down for want of power since the first look."""

    name = "overcurrent events"

    def __init__(self, root: Path = Path("/")) -> None:
        self._paths = sorted(root.glob("sys/class/hwmon/hwmon*/oc*_event_cnt"))
        if not self._paths:
            raise FileNotFoundError("no counters of overcurrent")
        self._before = [number_in(path) for path in self._paths]

    def read(self) -> Values:
        return {
            f"throttled.{path.name.removesuffix('_event_cnt')}": number_in(path) - before
            for path, before in zip(self._paths, self._before, strict=True)
        }


class Rapl(Sensor):
    """Power of x86 packages, from the energy that they count."""

    name = "RAPL"

    def __init__(self, root: Path = Path("/")) -> None:
        self._paths = [
            folder / "energy_uj"
            for folder in sorted(root.glob("sys/class/powercap/intel-rapl:[0-9]*"))
            if (folder / "name").read_text().startswith("package")  # not their parts, and not `psys`, which holds them
        ]
        if not self._paths:
            raise FileNotFoundError("no RAPL")
        self._before = self._energy()  # which only root may read on many systems

    def read(self) -> Values:
        (then_s, then_j), self._before = self._before, self._energy()
        seconds, joules = self._before[0] - then_s, self._before[1] - then_j
        # The counter begins anew at times.
        return {"power_w.package": joules / seconds} if seconds > 0 and joules >= 0 else {}

    def _energy(self) -> tuple[float, float]:
        return time.monotonic(), sum(number_in(path) for path in self._paths) / 1e6


class Nvml(Sensor):
    """The first of NVIDIA's GPUs in computers, and that of Jetson Thor."""

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
        self._held_down = 0  # readings in which clocks were

    def read(self) -> Values:
        nvml, gpu = self._nvml, self._gpu
        held_down = nvml.nvmlClocksThrottleReasonSwThermalSlowdown | nvml.nvmlClocksThrottleReasonHwSlowdown
        held_down |= nvml.nvmlClocksThrottleReasonSwPowerCap
        asks: dict[str, Callable[[], float]] = {
            "power_w.gpu": lambda: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
            "temperature_c.gpu": lambda: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
            "clock_mhz.gpu": lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
            "load_percent.gpu": lambda: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
            "memory_mb.gpu": lambda: nvml.nvmlDeviceGetMemoryInfo(gpu).used / 1e6,
            "throttled.gpu": lambda: bool(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu) & held_down),
        }
        values = {}
        for name, ask in asks.items():
            try:
                values[name] = float(ask())
            except nvml.NVMLError:  # boards lack this or that
                continue
        if "throttled.gpu" in values:
            self._held_down += int(values["throttled.gpu"])
            values["throttled.gpu"] = float(self._held_down)
        return values

    def close(self) -> None:
        self._nvml.nvmlShutdown()


class Jtop(Sensor):
    """jetson-stats, for who has it and its service: in containers nothing else may be there."""

    name = "jtop"

    def __init__(self) -> None:
        try:
            from jtop import JtopException, jtop
        except ImportError as error:
            raise FileNotFoundError("jetson-stats is not installed") from error
        self._failure = JtopException
        self._jtop = jtop(interval=0.5)
        try:
            self._jtop.start()
        except JtopException as error:
            raise OSError(str(error)) from error

    def read(self) -> Values:
        try:
            if not self._jtop.ok(spin=True):
                raise OSError("jtop has ended")
        except self._failure as error:
            raise OSError(str(error)) from error
        values = with_total({name: rail["power"] / 1000 for name, rail in self._jtop.power["rail"].items()})
        for name, zone in self._jtop.temperature.items():
            if zone.get("online", True) and zone["temp"] > SENSOR_OFF_C:
                values[f"temperature_c.{name}"] = float(zone["temp"])
        for gpu in self._jtop.gpu.values():
            values["load_percent.gpu"] = float(gpu["status"]["load"])
            values["clock_mhz.gpu"] = gpu["freq"]["cur"] / 1000
        return values

    def close(self) -> None:
        self._jtop.close()


def sensors(root: Path = Path("/")) -> list[Sensor]:
    """All that this machine has. Of two that say the same the first counts."""
    makers: list[Callable[[], Sensor]] = [
        lambda: Rails(root),
        Tegrastats,
        Nvml,
        Jtop,
        lambda: TegraGpu(root),
        lambda: Rapl(root),
        lambda: CpuClock(root),
        lambda: ThermalZones(root),
        lambda: Throttling(root),
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

    def __init__(self, of: Sequence[Sensor], interval_s: float = INTERVAL_S) -> None:
        self.readings: list[Reading] = []
        self.gaps: dict[str, int] = {}  # sensor -> readings that failed
        self._sensors, self._interval_s = list(of), interval_s
        self._start_s = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def __enter__(self) -> Sampler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        with ExitStack() as closed:
            for sensor in self._sensors:
                closed.callback(sensor.close)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            values: Values = {}
            for sensor in self._sensors:
                try:
                    values = sensor.read() | values
                except Exception:  # noqa: BLE001 - what a sensor lacks must not end the others
                    self.gaps[sensor.name] = self.gaps.get(sensor.name, 0) + 1
            self.readings.append(Reading(time.monotonic() - self._start_s, values))


def number_in(path: Path) -> float:
    return float(path.read_text())
