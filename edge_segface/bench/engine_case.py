"""One engine with one batch of images, as the benchmark calls it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_segface.bench.results import ColdStart
from edge_segface.engine import Engine
from edge_segface.errors import EdgeSegfaceError, EngineError, first_line
from edge_segface.frames import UInt8Array
from edge_segface.models import load_engine

BURST_S = 1.0
SPLIT_CALLS = 20  # from which the parts of the GPU time are taken


@contextmanager
def as_engine_error(message: str) -> Iterator[None]:
    """Turn any failure of a runtime into an EngineError, so that it ends one measurement and not all."""
    try:
        yield
    except EdgeSegfaceError:
        raise
    except Exception as error:
        raise EngineError(message, found=first_line(error)) from error


@dataclass(eq=False)
class EngineCase:
    """An engine, the images it runs on, and the error that stopped it, if any."""

    name: str
    path: Path
    engine: Engine
    images: UInt8Array
    cold_start: ColdStart
    gpu_ms: list[float] = field(default_factory=list)  # of each call, where the engine measures it
    error: str | None = None

    @property
    def batch(self) -> int:
        return len(self.images)

    @property
    def label(self) -> str:
        return f"{self.name}, batch {self.batch}"

    def run(self) -> None:
        with as_engine_error(f"{self.name} could not run"):
            self.engine.infer_all(self.images)
        if times := self.engine.gpu_ms:
            self.gpu_ms.append(sum(sum(batch) for batch in times))

    def run_unless_failed(self) -> None:
        """Run, but do nothing after a failure, so that the cases interleaved with this one continue."""
        if self.error is None:
            try:
                self.run()
            except EdgeSegfaceError as error:
                self.error = str(error)

    def warm_up(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self.error is None and time.monotonic() < until:
            self.run_unless_failed()

    def throughput_fps(self, seconds: float = BURST_S) -> float:
        """Return images per second with calls back to back."""
        calls, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            self.run()
            calls += 1
        return calls * self.batch / elapsed

    def gpu_medians_ms(self) -> dict[str, float] | None:
        """Return the median of whole calls, and of their parts in calls without a CUDA graph, which hides them."""
        if not self.gpu_ms:
            return None
        parts = []
        with load_engine(self.path, graphs=False) as plain:
            for _ in range(SPLIT_CALLS):
                plain.infer_all(self.images)
                parts.append(np.sum(plain.gpu_ms or [(0.0, 0.0, 0.0)], axis=0))
        medians = {"all": np.median(self.gpu_ms)}
        medians |= zip(("up", "compute", "down"), np.median(parts, axis=0), strict=True)
        return {name: round(float(value), 4) for name, value in medians.items()}
