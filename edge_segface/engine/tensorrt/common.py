"""What TensorRT and TensorRT-RTX have in common: which one is installed, and its log.

Both have the same classes under different module names. Differences between versions are detected by `hasattr`, never
by number.
"""

from __future__ import annotations

import importlib
import platform
from typing import Any, Literal

from edge_segface.errors import EngineError, MissingExtra, first_line

NvidiaRuntime = Literal["tensorrt", "tensorrt-rtx"]

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
EXTRAS = {"tensorrt": "tensorrt", "tensorrt-rtx": "rtx"}
TITLES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}


def load_tensorrt(runtime: NvidiaRuntime) -> Any:
    """Import the module, or raise an error that says what is missing."""
    try:
        module = importlib.import_module(MODULES[runtime])
    except ModuleNotFoundError as error:
        if error.name != MODULES[runtime]:
            raise _broken(runtime, error) from error
        raise MissingExtra(MODULES[runtime], EXTRAS[runtime], f"an engine of {TITLES[runtime]}") from error
    except Exception as error:  # its loader raises whatever its libraries raise
        raise _broken(runtime, error) from error
    if not hasattr(module, "Builder"):
        raise EngineError(f"the installed module {MODULES[runtime]} is not {TITLES[runtime]}", found=module.__file__)
    return module


def _broken(runtime: NvidiaRuntime, error: Exception) -> EngineError:
    return EngineError(
        f"{TITLES[runtime]} is installed but does not load",
        found=first_line(error),
        remedy="install the libraries of the same version: on a Jetson JetPack's python3-libnvinfer, "
        f"elsewhere pip install --force-reinstall {MODULES[runtime]}",
    )


def new_log(trt: Any) -> Any:
    """Return a logger that collects errors and warnings for our own messages instead of printing them."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message.strip())
            elif severity == trt.ILogger.Severity.WARNING:
                self.warnings.append(message.strip())

        def said(self) -> str:
            return self.errors[-1][:300] if self.errors else "nothing in its log"

    return Log()


def this_system() -> str:
    """Return the system and architecture that a plan is tied to, besides the GPU."""
    return f"{platform.system()} {platform.machine()}"
