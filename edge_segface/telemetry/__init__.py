"""Power, temperature, clocks and load of the machine while something runs on it; no service and no root needed.

Values are named `power_w.SCOPE`, `rail_w.RAIL`, `temperature_c.ZONE`, `clock_mhz.UNIT`, `load_percent.UNIT`,
`memory_mb` and `throttled.CAUSE`, which counts how often clocks were reduced.

Scopes of power: `board` is the input of a whole board, `rails` the sum of the rails that a board measures, `gpu` one
graphics card, `package` the processor alone.
"""

from edge_segface.telemetry.detect import sensors
from edge_segface.telemetry.nvidia import Nvml
from edge_segface.telemetry.sampler import Reading, Sampler, read_all
from edge_segface.telemetry.sensor import Sensor, Values

__all__ = ["Nvml", "Reading", "Sampler", "Sensor", "Values", "read_all", "sensors"]
