"""Signs of life for systemd, received by a socket like its own."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from edge_segface.camera.systemd import INTERVAL_VARIABLE, SOCKET_VARIABLE, SystemdWatchdog
from tests.conftest import run_cli

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd runs on Linux only")


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """A socket that receives what systemd would."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(tmp_path / "notify"))
    receiver.settimeout(5)
    monkeypatch.setenv(SOCKET_VARIABLE, str(tmp_path / "notify"))
    return receiver


def test_a_loop_says_that_it_runs(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INTERVAL_VARIABLE, "60000000")
    done = run_cli("webcam", "-s", "demo", "--headless", "--frames", 3)
    assert done.returncode == 0, done.stderr
    assert [manager.recv(100), manager.recv(100)] == [b"READY=1", b"WATCHDOG=1"]


def test_signs_come_at_half_the_interval(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INTERVAL_VARIABLE, "10000000")
    now_s = [0.0]
    watchdog = SystemdWatchdog(lambda: now_s[0])
    for now_s[0] in (0.0, 1.0, 4.9, 5.0, 9.0, 10.0):
        watchdog.tick()
    assert [manager.recv(100) for _ in range(4)] == [b"READY=1", *[b"WATCHDOG=1"] * 3]
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(100)


@pytest.mark.parametrize("interval", ["", "x", "-1", "9" * 5000])
def test_without_systemd_or_an_interval_nothing_is_sent(monkeypatch: pytest.MonkeyPatch, interval: str) -> None:
    monkeypatch.setenv(INTERVAL_VARIABLE, interval)
    monkeypatch.delenv(SOCKET_VARIABLE, raising=False)
    SystemdWatchdog().tick()
    monkeypatch.setenv(SOCKET_VARIABLE, "/nowhere/notify")
    SystemdWatchdog().tick()
