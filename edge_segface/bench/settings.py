"""Settings of a benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_segface.bench.interleave import PAUSE_S, WARM_UP_ROUNDS
from edge_segface.engine import Runtime
from edge_segface.errors import EdgeSegfaceError

MOST_ROUNDS = 100_000


@dataclass(frozen=True)
class BenchmarkSettings:
    """What to measure, and how. The defaults of `threads` to `device` are those of `load_engine`."""

    rounds: int = 100
    batches: tuple[int, ...] = (1,)
    threads: int | None = None
    runtime: Runtime | None = None
    provider: str | None = None
    device: str | None = None  # of OpenVINO
    sustain_s: float | None = None
    pause_ms: float = 1e3 * PAUSE_S  # before each untimed and timed pair of calls
    warm_up_rounds: int = WARM_UP_ROUNDS

    def __post_init__(self) -> None:
        if not 2 <= self.rounds <= MOST_ROUNDS or not self.batches or min(self.batches) < 1:
            raise EdgeSegfaceError(
                "these rounds cannot be measured",
                found=f"{self.rounds} rounds of batches {self.batches}",
                remedy=f"use 2 to {MOST_ROUNDS} rounds and a batch of 1 or more",
            )

    def engine_options(self) -> dict[str, Any]:
        """Return the keyword arguments of `load_engine`."""
        options = {"threads": self.threads, "runtime": self.runtime, "provider": self.provider, "device": self.device}
        return {name: value for name, value in options.items() if value is not None}

    def unit(self, path: Path) -> str:
        """Return which unit executes the file: gpu or cpu."""
        elsewhere = self.provider not in (None, "cpu") or self.device not in (None, "CPU")
        return "gpu" if path.suffix.lower() == ".engine" or elsewhere else "cpu"


def parse_seconds(text: str) -> float:
    """Parse `90s`, `10m`, `1h` or a plain number of seconds."""
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    try:
        seconds = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        seconds = -1
    if not 0 < seconds < 1e6:
        raise EdgeSegfaceError(f"{text!r} is not a valid duration", remedy="give 90s, 10m or 1h")
    return seconds
