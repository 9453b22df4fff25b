"""What a board says of itself, on trees like those of real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_segface.board import clocks_locked, l4t_of, nvpmodel_output, power_mode, power_state
from tests.support.sysfs import write_files

CPU = "sys/devices/system/cpu/cpu0/cpufreq"
GPU = "sys/class/devfreq/17000000.gpu"


def test_the_state_of_a_board(tmp_path: Path) -> None:
    root = write_files(tmp_path, {
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64",
        f"{CPU}/scaling_governor": "schedutil", f"{CPU}/scaling_min_freq": 729600, f"{CPU}/scaling_max_freq": 1510400,
        f"{GPU}/min_freq": 306000000, f"{GPU}/max_freq": 624750000,
    })  # fmt: skip
    state = {
        "board": "NVIDIA Jetson Orin Nano",
        "l4t": "36.4.3",
        "clocks_locked": False,
        "governor": "schedutil",
    }
    assert power_state(root) == state
    write_files(root, {f"{CPU}/scaling_min_freq": 1510400})
    assert clocks_locked(root) is False  # the GPU's are not
    write_files(root, {f"{GPU}/min_freq": 624750000})
    assert clocks_locked(root) is True
    for name in ("scaling_governor", "scaling_min_freq", "scaling_max_freq"):  # a core that is switched off
        (root / "sys/devices/system/cpu/cpu1/cpufreq" / name).mkdir(parents=True)
    assert clocks_locked(root) is True
    assert power_state(root)["governor"] == "schedutil"
    assert power_state(tmp_path / "nothing") == {}


def test_the_power_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert power_mode("NV Power Mode: MAXN_SUPER\n2\n") == "MAXN_SUPER"
    assert power_mode("NVPM WARN: fan mode is not set!") is None
    assert l4t_of("no release") is None
    tool = tmp_path / "nvpmodel"
    tool.write_text("#!/bin/sh\necho 'NV Power Mode: 15W'\necho 0\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert power_mode(nvpmodel_output()) == "15W"
