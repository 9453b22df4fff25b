"""The one place that handles POSIX signals."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_received: list[int] = []


def exit_on_termination() -> None:
    """Make SIGTERM and SIGHUP end the program the way Ctrl-C does, so that temporary files are removed."""
    for number in _numbers("SIGTERM", "SIGHUP"):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP on purpose
            signal.signal(number, _exit)


def exit_if_received() -> None:
    """Exit if a terminating signal arrived but a library swallowed the SystemExit (copyreg has a bare except)."""
    if _received:
        sys.exit(128 + _received[-1])


@contextmanager
def stop_on_signal(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on the first SIGINT, SIGTERM or SIGHUP; a second one has the effect it had before.

    Does nothing outside the main thread, and leaves ignored signals ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in _numbers("SIGINT", "SIGTERM", "SIGHUP")}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        restore()
        stop()

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, on_signal)
    try:
        yield
    finally:
        restore()


def ignore_in_worker() -> None:
    """Leave Ctrl-C and SIGTERM to the parent process; a terminal sends Ctrl-C to all processes at once."""
    for number in _numbers("SIGINT", "SIGTERM"):
        signal.signal(number, signal.SIG_IGN)


def _exit(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    _received.append(number)
    sys.exit(128 + number)


def _numbers(*names: str) -> list[signal.Signals]:
    """The signals of these names that this system has."""
    return [signal.Signals[name] for name in names if name in signal.Signals.__members__]
