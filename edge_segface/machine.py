"""The machine on which a number was measured."""

from __future__ import annotations

import os
import platform
from typing import TypedDict


class MachineInfo(TypedDict):
    system: str
    cpu: str
    cores: int
    python: str


def machine_info() -> MachineInfo:
    """Operating system, processor, cores and Python version, as reports state them."""
    return {
        "system": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 0,
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [
                line.partition(":")[2].strip() for line in file if line.lower().startswith(("model name", "hardware"))
            ]
    except OSError:
        names = []
    return (names[0] if names else "") or platform.processor() or platform.machine()
