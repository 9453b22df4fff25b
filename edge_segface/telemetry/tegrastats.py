"""NVIDIA's tegrastats, which prints one line of values per interval."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence

from edge_segface.telemetry.jetson import power_values
from edge_segface.telemetry.sampler import INTERVAL_S
from edge_segface.telemetry.sensor import CONSTANT_ZONE, SENSOR_OFF_C, Sensor, Values

COMMAND = ("tegrastats", "--interval", f"{1e3 * INTERVAL_S:.0f}")
STALE_S = 2.0


class Tegrastats(Sensor):
    """The newest line of a tegrastats process; older than `stale_s`, it is an error."""

    name = "tegrastats"

    def __init__(self, command: Sequence[str] = COMMAND, stale_s: float = STALE_S) -> None:
        if shutil.which(command[0]) is None:
            raise FileNotFoundError(command[0])
        self._stale_s = stale_s
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603
        self._newest = time.monotonic(), ""  # when it was printed, the line
        self._reader = threading.Thread(target=self._read_lines, daemon=True)
        self._reader.start()

    def read(self) -> Values:
        if self._process.poll() is not None:
            raise OSError("tegrastats has ended")
        printed_at_s, line = self._newest
        if time.monotonic() - printed_at_s > self._stale_s:
            raise OSError("tegrastats has stopped printing")
        return tegrastats_values(line)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join(2)

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._newest = time.monotonic(), line


def tegrastats_values(line: str) -> Values:
    """Parse one line, whose fields differ by board, release and user."""
    return {**memory_values(line), **cpu_values(line), **gpu_values(line), **zone_values(line), **rail_values(line)}


def memory_values(line: str) -> Values:
    values = {}
    if found := re.search(r"\bRAM (\d+)/(\d+)MB", line):
        values["memory_mb"] = float(found[1])
    if found := re.search(r"\bEMC_FREQ (?:\d+%)?@(\d+)", line):
        values["clock_mhz.memory"] = float(found[1])
    return values


def cpu_values(line: str) -> Values:
    """Mean load and highest clock of the cores that are on."""
    found = re.search(r"\bCPU \[([^\]]*)\]", line)
    cores = [re.fullmatch(r"(\d+)%@(\d+)", core) for core in found[1].split(",")] if found else []
    running = [core for core in cores if core]
    if not running:
        return {}
    return {
        "load_percent.cpu": sum(float(core[1]) for core in running) / len(running),
        "clock_mhz.cpu": max(float(core[2]) for core in running),
    }


def gpu_values(line: str) -> Values:
    values: Values = {}
    if found := re.search(r"\bGR3D_FREQ (?:(\d+)%)?(?:@\[?([\d,]+)\]?)?", line):
        if found[1]:
            values["load_percent.gpu"] = float(found[1])
        if found[2]:
            values["clock_mhz.gpu"] = max(float(clock) for clock in found[2].split(","))
    return values


def zone_values(line: str) -> Values:
    return {
        f"temperature_c.{name}": float(celsius)
        for name, celsius in re.findall(r"\b(\w+)@(-?[\d.]+)C\b", line)
        if float(celsius) > SENSOR_OFF_C and not name.startswith(CONSTANT_ZONE)
    }


def rail_values(line: str) -> Values:
    """Watts now, which stand before the mean: `VDD_IN 5297/5297`, with or without `mW`."""
    without_memory = re.sub(r"\b(?:RAM|SWAP|IRAM) \d+/\d+[kM]B ?\([^)]*\)", "", line)
    rails = re.findall(r"\b([A-Z]\w*) (\d+)(?:mW)?/\d+(?:mW)?(?!\w)", without_memory)
    return power_values({name: float(milliwatts) / 1000 for name, milliwatts in rails})
