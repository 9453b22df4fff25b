"""Readiness and watchdog messages for systemd."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

SOCKET_VARIABLE, INTERVAL_VARIABLE = "NOTIFY_SOCKET", "WATCHDOG_USEC"


class SystemdWatchdog:
    """Sends READY=1 once, then WATCHDOG=1 at half the interval after which systemd restarts the service."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        address = os.environ.get(SOCKET_VARIABLE, "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        given = os.environ.get(INTERVAL_VARIABLE, "")
        self._interval_s = int(given) / 2e6 if given.isdecimal() and len(given) < 16 else 0.0
        self._clock, self._due_s, self._is_ready = clock, 0.0, False

    def tick(self) -> None:
        """Send what is due; the loop calls this in every iteration."""
        if not self._address:
            return
        if not self._is_ready:
            self._is_ready = True
            self._send("READY=1")
        now = self._clock()
        if self._interval_s and now >= self._due_s:
            self._due_s = now + self._interval_s
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.sendto(text.encode(), self._address)
        except OSError:  # nobody listens any more; the watchdog, if there is one, then ends the program
            self._address = ""
