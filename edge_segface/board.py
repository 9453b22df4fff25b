"""Board model, power mode and clock state, readable without root."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path("/")


def board_model(root: Path = ROOT) -> str | None:
    path = root / "proc/device-tree/model"
    return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ") if path.exists() else None


def tegra_release(root: Path = ROOT) -> str | None:
    """Return the release text of NVIDIA's boards."""
    path = root / "etc/nv_tegra_release"
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None


def l4t_of(release: str) -> str | None:
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", release)
    return f"{found[1]}.{found[2]}" if found else None


def nvpmodel_output() -> str | None:
    """Return the output of `nvpmodel -q`, or None without that tool."""
    if (tool := shutil.which("nvpmodel")) is None:
        return None
    try:
        done = subprocess.run([tool, "-q"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stdout or done.stderr).strip()


def power_mode(output: str | None) -> str | None:
    found = re.search(r"NV Power Mode:\s*(\S+)", output or "")
    return found[1] if found else None


def gpu_clocks(root: Path = ROOT) -> list[Path]:
    """Return the devfreq folders of a Jetson board's GPU, under the names of several releases."""
    return [folder for pattern in ("*gpu*", "*.g?1*") for folder in sorted(root.glob(f"sys/class/devfreq/{pattern}"))]


def clocks_locked(root: Path = ROOT) -> bool | None:
    """Return whether CPU and GPU are held at one clock, as after `jetson_clocks`; None if unreadable."""
    cores = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq")
    pairs = [(folder / "scaling_min_freq", folder / "scaling_max_freq") for folder in cores]
    pairs += [(folder / "min_freq", folder / "max_freq") for folder in gpu_clocks(root)]
    locked = []
    for least, most in pairs:
        with suppress(OSError):  # cores that the power mode switched off cannot be read
            locked.append(least.read_text() == most.read_text())
    return all(locked) if locked else None


def power_state(root: Path = ROOT) -> dict[str, Any]:
    """Return what is known of board, system, power mode, locked clocks and governor."""
    governors = set()
    for path in root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"):
        with suppress(OSError):
            governors.add(path.read_text().strip())
    state = {
        "board": board_model(root),
        "l4t": l4t_of(tegra_release(root) or ""),
        "nvpmodel": power_mode(nvpmodel_output()),
        "clocks_locked": clocks_locked(root),
        "governor": ", ".join(sorted(governors)) or None,
    }
    return {name: value for name, value in state.items() if value is not None}
