"""Finds the sensors of this machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edge_segface.telemetry.jetson import Overcurrent, Rails, TegraGpu
from edge_segface.telemetry.jetson_stats import Jtop
from edge_segface.telemetry.linux import CpuClock, Rapl, ThermalZones
from edge_segface.telemetry.nvidia import Nvml
from edge_segface.telemetry.sensor import Sensor
from edge_segface.telemetry.tegrastats import Tegrastats


def sensors(root: Path = Path("/")) -> list[Sensor]:
    """Return the sensors of this machine. Of two that report the same value, the first one counts."""
    constructors: list[Callable[[], Sensor]] = [
        lambda: Rails(root),
        Tegrastats,
        Nvml,
        Jtop,
        lambda: TegraGpu(root),
        lambda: Rapl(root),
        lambda: CpuClock(root),
        lambda: ThermalZones(root),
        lambda: Overcurrent(root),
    ]
    found = []
    for construct in constructors:
        with suppress(OSError, ValueError):
            found.append(construct())
    return found
