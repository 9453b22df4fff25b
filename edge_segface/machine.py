"""The machine on which a number was measured."""

from __future__ import annotations

import ctypes
import os
import platform
from typing import TypedDict

M_ARENA_MAX = -8  # in malloc.h
MALLOC_ARENAS = 2


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


def cpu_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share_malloc_arenas() -> None:
    """Let all threads of this process allocate from two arenas, before they start.

    By default glibc gives threads up to eight arenas a core. Threads that come and go, such as those of an encoder,
    leave free memory in each, and a process that runs for days holds tens of megabytes more than it uses.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, MALLOC_ARENAS)


def cpu_features() -> frozenset[str]:
    """Return the instruction sets of the processor as Linux names them; empty elsewhere."""
    return frozenset(word for line in _cpu_info("flags", "features") for word in line.split())


def _cpu_name() -> str:
    names = _cpu_info("model name", "hardware")
    return (names[0] if names else "") or platform.processor() or platform.machine()


def _cpu_info(*keys: str) -> list[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return [line.partition(":")[2].strip() for line in file if line.lower().startswith(keys)]
    except OSError:
        return []
