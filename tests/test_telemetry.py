"""Sensors on copies of real boards' files, and real lines of tegrastats."""

from __future__ import annotations

import shutil
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from edge_segface.telemetry import Nvml, Sampler, Sensor, Values, sensors
from edge_segface.telemetry.jetson import Overcurrent, Rails, TegraGpu
from edge_segface.telemetry.jetson_stats import Jtop
from edge_segface.telemetry.linux import CpuClock, Rapl, ThermalZones
from edge_segface.telemetry.tegrastats import Tegrastats, tegrastats_values
from tests.support import print_line
from tests.support.sysfs import write_files

Found = TypeVar("Found")
CPU0_CLOCK = "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
CPU1_CLOCK = "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq"
HWMON = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
ORIN_NANO = (
    "11-15-2024 08:38:09 RAM 6185/7620MB (lfb 8x2MB) SWAP 851/3810MB (cached 1MB) CPU [15%@729,11%@729,14%@729,"
    "13%@729,11%@729,8%@729] EMC_FREQ 43%@2133 GR3D_FREQ 63%@[621] NVDEC off NVJPG off NVJPG1 off VIC off OFA off "
    "APE 200 cpu@53.968C soc2@52.437C soc0@50.75C gpu@53.343C tj@53.968C soc1@51.656C VDD_IN 12479mW/12479mW "
    "VDD_CPU_GPU_CV 4667mW/4667mW VDD_SOC 2817mW/2817mW"
)
TX2 = (
    "RAM 3276/7859MB (lfb 5x4MB) SWAP 1626/12122MB (cached 181MB) CPU [44%@1421,49%@2031,67%@2034,17%@1420,25%@1419,"
    "8%@1420] EMC_FREQ 1%@1866 GR3D_FREQ 0%@114 APE 150 MTS fg 1% bg 1% PLL@42.5C MCPU@42.5C PMIC@50C Tboard@38C "
    "GPU@39.5C BCPU@42.5C thermal@41.3C Tdiode@39.25C VDD_SYS_GPU 182/182 VDD_SYS_SOC 730/730 VDD_4V0_WIFI 0/0 "
    "VDD_IN 5297/5297 VDD_SYS_CPU 1917/1917 VDD_SYS_DDR 1241/1241"
)
NANO = (
    "RAM 331/3964MB (lfb 758x4MB) SWAP 0/1982MB (cached 0MB) IRAM 0/252kB(lfb 252kB) CPU [5%@102,3%@102,1%@102,2%@102] "
    "EMC_FREQ 3%@204 GR3D_FREQ 7%@76 APE 25 PLL@20.5C CPU@23.5C PMIC@100C GPU@22.5C AO@27.5C thermal@23C "
    "POM_5V_IN 933/933 POM_5V_GPU 0/0 POM_5V_CPU 84/105"
)
XAVIER = "RAM 5/9MB (lfb 1x4MB) CPU [2%@1190,off,off] GR3D_FREQ 12% GPU 1155/1155 CPU 385/385 SOC 770/770 CV 0/0"
AGX_ORIN = "GR3D_FREQ 0%@[1300,1300] tj@-256C VDD_GPU_SOC 2390mW/2390mW VDD_CPU_CV 796mW/796mW NC 0mW/0mW"
THOR = (
    "GR3D_FREQ @[1000,1001,1000] cpu@40C VDD_GPU 4000mW/4000mW VDD_CPU_SOC_MSS 7000mW/7000mW VIN_SYS_5V0 5000mW/5000mW "
    "VIN 25000mW/24000mW"
)


def wait_for(condition: Callable[[], Found], seconds: float = 20.0) -> Found:
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found
    return found


def test_tegrastats_of_orin_nano() -> None:
    values = tegrastats_values(ORIN_NANO)
    assert values["power_w.board"] == values["rail_w.VDD_IN"] == 12.479
    assert (values["load_percent.gpu"], values["clock_mhz.gpu"], values["clock_mhz.memory"]) == (63, 621, 2133)
    assert (values["load_percent.cpu"], values["clock_mhz.cpu"]) == (12, 729)
    assert (values["temperature_c.gpu"], values["memory_mb"]) == (53.343, 6185)


def test_tegrastats_of_tx2_has_no_unit_on_its_rails() -> None:
    values = tegrastats_values(TX2)
    assert (values["power_w.board"], values["rail_w.VDD_SYS_CPU"], values["clock_mhz.cpu"]) == (5.297, 1.917, 2034)


def test_tegrastats_of_nano_takes_neither_memory_for_a_rail_nor_pmic_for_a_zone() -> None:
    values = tegrastats_values(NANO)
    assert (values["power_w.board"], values["rail_w.POM_5V_CPU"], values["clock_mhz.gpu"]) == (0.933, 0.084, 76)
    assert not any("RAM" in name or "PMIC" in name for name in values)
    assert max(value for name, value in values.items() if name.startswith("temperature_c.")) == 27.5


def test_tegrastats_of_xavier_sums_rails_and_skips_cores_that_are_off() -> None:
    values = tegrastats_values(XAVIER)
    assert (values["power_w.rails"], values["load_percent.gpu"], values["load_percent.cpu"]) == (2.31, 12, 2)
    assert "clock_mhz.gpu" not in values


def test_tegrastats_of_agx_orin_skips_unused_rails_and_sensors_that_are_off() -> None:
    values = tegrastats_values(AGX_ORIN)
    assert values["power_w.rails"] == pytest.approx(3.186)
    assert "rail_w.NC" not in values
    assert "temperature_c.tj" not in values


def test_tegrastats_of_thor_has_several_gpu_clocks() -> None:
    values = tegrastats_values(THOR)
    assert values["clock_mhz.gpu"] == 1001
    assert "load_percent.gpu" not in values
    assert values["power_w.board"] == 25
    assert "power_w.rails" not in values


def test_tegrastats_line_without_values() -> None:
    assert tegrastats_values("") == tegrastats_values("nonsense 3 x") == {}


def test_rails_are_volts_times_amperes(tmp_path: Path) -> None:
    root = write_files(tmp_path, {
        f"{HWMON}/in1_label": "VDD_IN", f"{HWMON}/in1_input": 5000, f"{HWMON}/curr1_input": 1200,
        f"{HWMON}/in2_label": "VDD_SOC", f"{HWMON}/in2_input": 5000, f"{HWMON}/curr2_input": 400,
        f"{HWMON}/in3_label": "NC1", f"{HWMON}/in3_input": 5000, f"{HWMON}/curr3_input": 9,
        f"{HWMON}/in7_label": "sum of shunt voltages", f"{HWMON}/in7_input": 4, f"{HWMON}/curr7_input": 4,
    })  # fmt: skip
    assert Rails(root).read() == pytest.approx({"power_w.board": 6.0, "rail_w.VDD_IN": 6.0, "rail_w.VDD_SOC": 2.0})


def test_rails_of_older_kernels_are_milliwatts(tmp_path: Path) -> None:
    iio = "sys/bus/i2c/drivers/ina3221x/0-0041/iio:device0"
    root = write_files(tmp_path, {
        f"{iio}/rail_name_0": "POM_5V_GPU", f"{iio}/in_power0_input": 300,
        f"{iio}/rail_name_1": "POM_5V_CPU", f"{iio}/in_power1_input": 700,
    })  # fmt: skip
    assert Rails(root).read()["power_w.rails"] == 1.0


def test_rails_of_thor_include_the_board_input(tmp_path: Path) -> None:
    root = write_files(tmp_path, {
        f"{HWMON}/in1_label": "VDD_GPU", f"{HWMON}/in1_input": 5000, f"{HWMON}/curr1_input": 1200,
        "sys/class/hwmon/hwmon4/name": "ina238", "sys/class/hwmon/hwmon4/power1_input": 25000000,
        "sys/class/hwmon/hwmon5/name": "pwmfan",
    })  # fmt: skip
    assert Rails(root).read() == pytest.approx({"power_w.board": 25.0, "rail_w.VIN": 25.0, "rail_w.VDD_GPU": 6.0})


@pytest.mark.parametrize("kind", [Rails, ThermalZones, CpuClock, TegraGpu, Overcurrent, Rapl])
def test_sensor_that_a_machine_lacks_cannot_be_constructed(kind: Callable[[Path], Sensor], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        kind(tmp_path)


def test_thermal_zones_skip_what_is_off_unreadable_or_constant(tmp_path: Path) -> None:
    zones = "sys/class/thermal/thermal_zone"
    root = write_files(tmp_path, {
        f"{zones}0/type": "cpu-thermal", f"{zones}0/temp": 45500, f"{zones}1/type": "off", f"{zones}1/temp": -256000,
        f"{zones}2/type": "bad", f"{zones}2/temp": "", f"{zones}3/type": "PMIC-Die", f"{zones}3/temp": 100000,
    })  # fmt: skip
    assert ThermalZones(root).read() == {"temperature_c.cpu-thermal": 45.5}


def test_cpu_clock_is_that_of_the_fastest_core(tmp_path: Path) -> None:
    root = write_files(tmp_path, {CPU0_CLOCK: 729600, CPU1_CLOCK: 1510400})
    assert CpuClock(root).read() == {"clock_mhz.cpu": 1510.4}


def test_cpu_clock_skips_cores_that_are_off(tmp_path: Path) -> None:
    root = write_files(tmp_path, {CPU0_CLOCK: 1510400})
    (root / CPU1_CLOCK).mkdir(parents=True)  # reading a folder fails, as reading a core that is off does
    clock = CpuClock(root)
    assert clock.read() == {"clock_mhz.cpu": 1510.4}
    (root / CPU0_CLOCK).unlink()
    with pytest.raises(OSError, match="no core can be read"):
        clock.read()


def test_tegra_gpu_reports_load_and_clock(tmp_path: Path) -> None:
    files = {"sys/devices/platform/gpu.0/load": 634, "sys/class/devfreq/gpu-gpc-0/cur_freq": 624750000}
    root = write_files(tmp_path, files)
    assert TegraGpu(root).read() == {"load_percent.gpu": 63.4, "clock_mhz.gpu": 624.75}


def test_sensors_of_a_machine_are_found(tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone0"
    root = write_files(tmp_path, {
        "sys/devices/platform/gpu.0/load": 634, CPU0_CLOCK: 1510400, f"{zone}/type": "cpu", f"{zone}/temp": 45500,
    })  # fmt: skip
    found = sensors(root)
    assert {sensor.name for sensor in found} >= {"Tegra GPU", "cpufreq", "thermal zones"}
    for sensor in found:
        sensor.close()


def test_rapl_power_is_energy_over_time(tmp_path: Path) -> None:
    zones = "sys/class/powercap/intel-rapl:"
    write_files(tmp_path, {
        f"{zones}0/name": "package-0", f"{zones}0/energy_uj": 0, f"{zones}0:0/name": "core", f"{zones}0:0/energy_uj": 9,
        f"{zones}1/name": "psys", f"{zones}1/energy_uj": 0,
    })  # fmt: skip
    before_s = time.monotonic()
    rapl = Rapl(tmp_path)
    constructed_s = time.monotonic()
    time.sleep(0.02)
    write_files(tmp_path, {f"{zones}0/energy_uj": 1000000, f"{zones}1/energy_uj": 1000000})
    reading_s = time.monotonic()
    power_w = rapl.read()["power_w.package"]
    # One joule, not two: `psys` contains the package.
    assert 1 / (time.monotonic() - before_s) <= power_w <= 1 / (reading_s - constructed_s)


def test_rapl_reports_nothing_when_its_counter_restarts(tmp_path: Path) -> None:
    zone = "sys/class/powercap/intel-rapl:0"
    rapl = Rapl(write_files(tmp_path, {f"{zone}/name": "package-0", f"{zone}/energy_uj": 1000000}))
    write_files(tmp_path, {f"{zone}/energy_uj": 5})
    assert rapl.read() == {}


def test_overcurrent_events_count_from_construction(tmp_path: Path) -> None:
    events = "sys/class/hwmon/hwmon1/oc"
    root = write_files(tmp_path, {f"{events}1_event_cnt": 0, f"{events}3_event_cnt": 12})
    overcurrent = Overcurrent(root)
    write_files(root, {f"{events}3_event_cnt": 14})
    assert overcurrent.read() == {"throttled.oc1": 0, "throttled.oc3": 2}


@pytest.mark.gpu
def test_nvml_reports_an_nvidia_gpu() -> None:
    try:
        gpu = Nvml()
    except OSError as error:
        pytest.skip(f"no NVIDIA GPU: {error}")
    values = gpu.read()
    gpu.close()
    assert values["memory_mb.gpu"] > 0
    assert values["throttled.gpu"] in (0, 1)


class JtopClient:
    """The client that jetson-stats 7 documents; its service runs on Jetson boards only."""

    power = {"rail": {"VDD_IN": {"power": 5000}, "VDD_SOC": {"power": 1500}}, "tot": {"power": 5000}}  # noqa: RUF012
    temperature = {"cpu": {"temp": 50.5, "online": True}, "gpu": {"temp": -256, "online": False}}  # noqa: RUF012
    gpu = {"gpu": {"status": {"load": 63.0}, "freq": {"cur": 624750}}}  # noqa: RUF012
    active = True

    def __init__(self, interval: float) -> None:
        pass

    def start(self) -> None:
        if not self.active:
            raise JtopClientError("The jtop.service is not active")

    def ok(self, spin: bool) -> bool:
        self.start()
        return spin

    def close(self) -> None:
        pass


class JtopClientError(Exception):
    pass


@pytest.fixture
def jtop_client(monkeypatch: pytest.MonkeyPatch) -> type[JtopClient]:
    module = types.ModuleType("jtop")
    module.jtop, module.JtopException = JtopClient, JtopClientError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jtop", module)
    return JtopClient


def test_jtop_reports_rails_zones_and_gpu(jtop_client: type[JtopClient]) -> None:
    assert Jtop().read() == {
        "power_w.board": 5,
        "rail_w.VDD_IN": 5,
        "rail_w.VDD_SOC": 1.5,
        "temperature_c.cpu": 50.5,
        "load_percent.gpu": 63,
        "clock_mhz.gpu": 624.75,
    }


def test_jtop_without_its_service_is_an_error(jtop_client: type[JtopClient], monkeypatch: pytest.MonkeyPatch) -> None:
    running = Jtop()
    monkeypatch.setattr(jtop_client, "active", False)
    for use in (running.read, Jtop):
        with pytest.raises(OSError, match="not active"):
            use()


def test_jtop_that_is_not_installed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jtop", None)
    with pytest.raises(FileNotFoundError, match="not installed"):
        Jtop()


def tegrastats_printing(line: str, then: str, **options: float) -> Tegrastats:
    """Read a real process that prints a line and then exits, waits or repeats it."""
    return Tegrastats((sys.executable, print_line.__file__, line, then), **options)


def test_tegrastats_gives_the_newest_line_of_its_process() -> None:
    tegrastats = tegrastats_printing(ORIN_NANO, "repeat")
    assert wait_for(tegrastats.read)["power_w.board"] == 12.479
    tegrastats.close()


def test_tegrastats_that_is_not_installed_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        Tegrastats(("no-such-tegrastats",))


@pytest.mark.parametrize("line", ["", ORIN_NANO])
def test_tegrastats_whose_process_has_ended_is_an_error(line: str) -> None:
    tegrastats = tegrastats_printing(line, "exit")
    tegrastats._process.wait()
    with pytest.raises(OSError, match="has ended"):  # rather than the last line for ever
        tegrastats.read()
    tegrastats.close()


def test_tegrastats_that_stops_printing_is_an_error() -> None:
    tegrastats = tegrastats_printing(ORIN_NANO, "wait", stale_s=0.0)
    wait_for(lambda: tegrastats._newest[1])
    with pytest.raises(OSError, match="has stopped printing"):
        tegrastats.read()
    tegrastats.close()


class FailingSensor(Sensor):
    """Fails every second time, alternately with two kinds of errors."""

    name = "failing"
    count = 0

    def read(self) -> Values:
        self.count += 1
        if self.count % 2:
            raise (OSError if self.count % 4 == 1 else KeyError)("gone")
        return {"power_w.board": 5.0}


def test_sampler_counts_gaps_of_sensors_that_fail_or_vanish(tmp_path: Path) -> None:
    root = write_files(tmp_path, {CPU0_CLOCK: 1000000})
    with Sampler([FailingSensor(), CpuClock(root)], interval_s=0.01) as sampler:
        wait_for(lambda: len(sampler.readings) > 3)
        shutil.rmtree(root / "sys")
        wait_for(lambda: all(sampler.gaps.get(name, 0) > 3 for name in ("failing", "cpufreq")))
    assert {"power_w.board": 5.0, "clock_mhz.cpu": 1000.0} in [reading.values for reading in sampler.readings]
    times_s = [reading.at_s for reading in sampler.readings]
    assert times_s == sorted(times_s)


def test_sampler_closes_every_sensor_even_if_one_cannot_be_closed() -> None:
    class StuckSensor(Sensor):
        def close(self) -> None:
            raise OSError("stuck")

    class ClosableSensor(Sensor):
        closed = False

        def close(self) -> None:
            self.closed = True

    sensor = ClosableSensor()
    with pytest.raises(OSError, match="stuck"), Sampler([sensor, StuckSensor()]):
        raise RuntimeError
    assert sensor.closed
    assert "telemetry" not in [thread.name for thread in threading.enumerate()]
