"""NVIDIA GPUs, read with NVML."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from edge_segface.telemetry.sensor import Sensor, Values


class Nvml(Sensor):
    """The first NVIDIA GPU of a computer, or that of Jetson Thor."""

    name = "NVML"

    def __init__(self) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise FileNotFoundError("nvidia-ml-py is not installed") from error
        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            self._gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
        except pynvml.NVMLError as error:
            raise OSError(str(error)) from error
        self._throttled_readings = 0

    def read(self) -> Values:
        nvml, gpu = self._nvml, self._gpu
        queries: dict[str, Callable[[], float]] = {
            "power_w.gpu": lambda: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
            "temperature_c.gpu": lambda: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
            "clock_mhz.gpu": lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
            "load_percent.gpu": lambda: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
            "memory_mb.gpu": lambda: nvml.nvmlDeviceGetMemoryInfo(gpu).used / 1e6,
            "throttled.gpu": self._count_throttling,
        }
        values = {}
        for name, query in queries.items():
            with suppress(nvml.NVMLError):  # not every GPU supports every query
                values[name] = float(query())
        return values

    def close(self) -> None:
        self._nvml.nvmlShutdown()

    def _count_throttling(self) -> int:
        """Number of readings in which heat or the power limit reduced the clocks."""
        nvml = self._nvml
        causes = nvml.nvmlClocksThrottleReasonSwThermalSlowdown | nvml.nvmlClocksThrottleReasonHwSlowdown
        causes |= nvml.nvmlClocksThrottleReasonSwPowerCap
        self._throttled_readings += bool(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._gpu) & causes)
        return self._throttled_readings
