"""Sensors on trees like those of real boards, and real lines of tegrastats."""

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

from edge_segface.bench import telemetry
from edge_segface.bench.telemetry import (
    CpuClock,
    Jtop,
    Rails,
    Rapl,
    Sampler,
    Sensor,
    TegraGpu,
    Tegrastats,
    ThermalZones,
    Throttling,
    Values,
    sensors,
    tegrastats_values,
)

Found = TypeVar("Found")
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


def test_lines_of_tegrastats() -> None:
    orin = tegrastats_values(ORIN_NANO)
    assert orin["power_w.board"] == orin["rail_w.VDD_IN"] == 12.479
    assert (orin["load_percent.gpu"], orin["clock_mhz.gpu"], orin["clock_mhz.memory"]) == (63, 621, 2133)
    assert (orin["load_percent.cpu"], orin["clock_mhz.cpu"]) == (12, 729)
    assert (orin["temperature_c.gpu"], orin["memory_mb"]) == (53.343, 6185)
    tx2 = tegrastats_values(TX2)
    assert (tx2["power_w.board"], tx2["rail_w.VDD_SYS_CPU"], tx2["clock_mhz.cpu"]) == (5.297, 1.917, 2034)
    nano = tegrastats_values(NANO)
    assert (nano["power_w.board"], nano["rail_w.POM_5V_CPU"], nano["clock_mhz.gpu"]) == (0.933, 0.084, 76)
    assert not any("RAM" in name or "PMIC" in name for name in nano)
    assert max(value for name, value in nano.items() if name.startswith("temperature_c.")) == 27.5
    xavier = tegrastats_values(XAVIER)
    assert (xavier["power_w.rails"], xavier["load_percent.gpu"], xavier["load_percent.cpu"]) == (2.31, 12, 2)
    assert "clock_mhz.gpu" not in xavier
    agx = tegrastats_values(AGX_ORIN)
    assert agx["power_w.rails"] == pytest.approx(3.186)
    assert "rail_w.NC" not in agx
    assert "temperature_c.tj" not in agx  # a sensor that is off
    thor = tegrastats_values(THOR)
    assert thor["clock_mhz.gpu"] == 1001
    assert "load_percent.gpu" not in thor
    assert thor["power_w.board"] == 25
    assert "power_w.rails" not in thor
    assert tegrastats_values("") == tegrastats_values("nonsense 3 x") == {}


def write(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def test_rails_of_new_and_old_kernels(tmp_path: Path) -> None:
    hwmon = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    new = write(tmp_path / "new", {
        f"{hwmon}/in1_label": "VDD_IN", f"{hwmon}/in1_input": 5000, f"{hwmon}/curr1_input": 1200,
        f"{hwmon}/in2_label": "VDD_SOC", f"{hwmon}/in2_input": 5000, f"{hwmon}/curr2_input": 400,
        f"{hwmon}/in3_label": "NC1", f"{hwmon}/in3_input": 5000, f"{hwmon}/curr3_input": 9,
        f"{hwmon}/in7_label": "sum of shunt voltages", f"{hwmon}/in7_input": 4, f"{hwmon}/curr7_input": 4,
    })  # fmt: skip
    assert Rails(new).read() == pytest.approx({"power_w.board": 6.0, "rail_w.VDD_IN": 6.0, "rail_w.VDD_SOC": 2.0})
    iio = "sys/bus/i2c/drivers/ina3221x/0-0041/iio:device0"
    old = write(tmp_path / "old", {
        f"{iio}/rail_name_0": "POM_5V_GPU", f"{iio}/in_power0_input": 300,
        f"{iio}/rail_name_1": "POM_5V_CPU", f"{iio}/in_power1_input": 700,
    })  # fmt: skip
    assert Rails(old).read()["power_w.rails"] == 1.0
    thor = write(tmp_path / "thor", {
        f"{hwmon}/in1_label": "VDD_GPU", f"{hwmon}/in1_input": 5000, f"{hwmon}/curr1_input": 1200,
        "sys/class/hwmon/hwmon4/name": "ina238", "sys/class/hwmon/hwmon4/power1_input": 25000000,
        "sys/class/hwmon/hwmon5/name": "pwmfan",
    })  # fmt: skip
    assert Rails(thor).read() == pytest.approx({"power_w.board": 25.0, "rail_w.VIN": 25.0, "rail_w.VDD_GPU": 6.0})
    with pytest.raises(FileNotFoundError):
        Rails(tmp_path)


def test_zones_clocks_and_gpu(tmp_path: Path) -> None:
    root = write(tmp_path, {
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal", "sys/class/thermal/thermal_zone0/temp": 45500,
        "sys/class/thermal/thermal_zone1/type": "off", "sys/class/thermal/thermal_zone1/temp": -256000,
        "sys/class/thermal/thermal_zone2/type": "bad", "sys/class/thermal/thermal_zone2/temp": "",
        "sys/class/thermal/thermal_zone3/type": "PMIC-Die", "sys/class/thermal/thermal_zone3/temp": 100000,
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": 1510400,
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": 729600,
        "sys/devices/platform/gpu.0/load": 634, "sys/class/devfreq/gpu-gpc-0/cur_freq": 624750000,
    })  # fmt: skip
    assert ThermalZones(root).read() == {"temperature_c.cpu-thermal": 45.5}
    assert CpuClock(root).read() == {"clock_mhz.cpu": 1510.4}
    assert TegraGpu(root).read() == {"load_percent.gpu": 63.4, "clock_mhz.gpu": 624.75}
    assert {sensor.name for sensor in sensors(root)} >= {"Tegra GPU", "cpufreq", "thermal zones"}


def test_power_from_energy(tmp_path: Path) -> None:
    zones = "sys/class/powercap/intel-rapl:"
    write(tmp_path, {
        f"{zones}0/name": "package-0", f"{zones}0/energy_uj": 0, f"{zones}0:0/name": "core", f"{zones}0:0/energy_uj": 9,
        f"{zones}1/name": "psys", f"{zones}1/energy_uj": 0,
    })  # fmt: skip
    before = time.monotonic()
    rapl = Rapl(tmp_path)
    begun = time.monotonic()
    time.sleep(0.1)
    for zone in (0, 1):
        write(tmp_path, {f"{zones}{zone}/energy_uj": 1000000})
    reading = time.monotonic()
    power_w = rapl.read()["power_w.package"]
    assert 1 / (time.monotonic() - before) <= power_w <= 1 / (reading - begun)  # of one joule, not of two
    write(tmp_path, {f"{zones}0/energy_uj": 5})  # it began anew
    assert rapl.read() == {}


def test_clocks_that_are_held_down(tmp_path: Path) -> None:
    root = write(tmp_path, {
        "sys/class/hwmon/hwmon1/oc1_event_cnt": 0, "sys/class/hwmon/hwmon1/oc3_event_cnt": 12,
    })  # fmt: skip
    board = Throttling(root)
    write(root, {"sys/class/hwmon/hwmon1/oc3_event_cnt": 14})
    assert board.read() == {"throttled.oc1": 0, "throttled.oc3": 2}  # since then


class Service:
    """As jetson-stats 7 documents its client; the service itself runs on boards alone."""

    power = {"rail": {"VDD_IN": {"power": 5000}, "VDD_SOC": {"power": 1500}}, "tot": {"power": 5000}}  # noqa: RUF012
    temperature = {"cpu": {"temp": 50.5, "online": True}, "gpu": {"temp": -256, "online": False}}  # noqa: RUF012
    gpu = {"gpu": {"status": {"load": 63.0}, "freq": {"cur": 624750}}}  # noqa: RUF012
    running = True

    def __init__(self, interval: float) -> None:
        pass

    def start(self) -> None:
        if not self.running:
            raise ServiceError("The jtop.service is not active")

    def ok(self, spin: bool) -> bool:
        self.start()
        return spin

    def close(self) -> None:
        pass


class ServiceError(Exception):
    pass


def test_jtop_for_who_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="not installed"):
        Jtop()
    module = types.ModuleType("jtop")
    module.jtop, module.JtopException = Service, ServiceError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jtop", module)
    board = Jtop()
    assert board.read() == {
        "power_w.board": 5,
        "rail_w.VDD_IN": 5,
        "rail_w.VDD_SOC": 1.5,
        "temperature_c.cpu": 50.5,
        "load_percent.gpu": 63,
        "clock_mhz.gpu": 624.75,
    }
    monkeypatch.setattr(Service, "running", False)
    for ask in (board.read, Jtop):
        with pytest.raises(OSError, match="not active"):
            ask()


def test_cores_that_are_switched_off(tmp_path: Path) -> None:
    """Reading them fails, as reading a folder does."""
    root = write(tmp_path, {"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": 1510400})
    (root / "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq").mkdir(parents=True)
    board = CpuClock(root)
    assert board.read() == {"clock_mhz.cpu": 1510.4}
    (root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").unlink()
    with pytest.raises(OSError, match="no core can be read"):
        board.read()


class Wobbly(Sensor):
    name = "wobbly"
    count = 0

    def read(self) -> Values:
        self.count += 1
        if self.count % 2:
            raise (OSError if self.count % 4 == 1 else KeyError)("gone")
        return {"power_w.board": 5.0}


def wait_for(what: Callable[[], Found]) -> Found:
    until = time.monotonic() + 20
    while not (found := what()) and time.monotonic() < until:
        time.sleep(0.02)
    return found


def test_a_sensor_that_vanishes_is_a_gap(tmp_path: Path) -> None:
    root = write(tmp_path, {"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": 1000000})
    with Sampler([Wobbly(), CpuClock(root)], interval_s=0.01) as sampler:
        wait_for(lambda: len(sampler.readings) > 3)
        shutil.rmtree(root / "sys")
        wait_for(lambda: all(sampler.gaps.get(name, 0) > 3 for name in ("wobbly", "cpufreq")))
    readings = sampler.readings
    assert sampler.gaps["wobbly"] > 3
    assert sampler.gaps["cpufreq"] > 3
    assert {"power_w.board": 5.0, "clock_mhz.cpu": 1000.0} in [reading.values for reading in readings]
    assert [reading.at_s for reading in readings] == sorted(reading.at_s for reading in readings)


def test_a_sampler_ends_with_what_it_watches() -> None:
    class Stuck(Sensor):
        def close(self) -> None:
            raise OSError("stuck")

    closed = []
    last = Wobbly()
    last.close = lambda: closed.append(True)  # type: ignore[method-assign]
    with pytest.raises(OSError, match="stuck"), Sampler([last, Stuck()]):
        raise RuntimeError
    assert closed
    assert "telemetry" not in [thread.name for thread in threading.enumerate()]


def beside(code: str) -> Tegrastats:
    return Tegrastats((sys.executable, "-c", f"import time\n{code}"))


def test_a_real_process_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    speaking = beside(f"while True:\n    print({ORIN_NANO!r}, flush=True)\n    time.sleep(0.01)")
    assert wait_for(speaking.read)["power_w.board"] == 12.479
    speaking.close()
    with pytest.raises(FileNotFoundError):
        Tegrastats(("no-such-tegrastats",))
    for code in ("", f"print({ORIN_NANO!r}, flush=True)"):  # of which the last line would be told for ever
        ended = beside(code)
        ended._process.wait()
        with pytest.raises(OSError, match="has ended"):
            ended.read()
        ended.close()
    silent = beside(f"print({ORIN_NANO!r}, flush=True)\ntime.sleep(60)")
    wait_for(silent.read)
    monkeypatch.setattr(telemetry, "STALE_S", 0.0)
    with pytest.raises(OSError, match="says nothing any more"):
        silent.read()
    silent.close()
