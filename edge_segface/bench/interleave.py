"""Fair comparison on a noisy machine: everything in one interleaved run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_segface.engine import Engine, Runtime
from edge_segface.models import FORMATS, load_engine

WARM_UP = 3
PAUSE_S = 0.03  # idle ONNX Runtime threads busy-wait at first, and would take cores from the next engine


def interleaved(
    works: Mapping[str, Callable[[], object]], rounds: int, *, pause_s: float = PAUSE_S, warm_up: int = WARM_UP
) -> dict[str, list[float]]:
    """Return the seconds of each, on cores the others have released, right after an untimed run of its own."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for index in range(warm_up + rounds):
        for name, work in works.items():
            time.sleep(pause_s)
            work()
            start = time.perf_counter()
            work()
            if index >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def noise_images(engine: Engine, batch: int) -> npt.NDArray[np.uint8]:
    """Return noise: a network's time does not depend on its input."""
    side = engine.spec.input_size
    return np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Timed:
    model: str
    runtime: Runtime
    description: str  # of the engine
    median_ms: float
    ratio: float  # median over rounds of the ratio to the first; below 1 is faster


def on_every_runtime(models: Mapping[str, Path], rounds: int = 12, threads: int | None = None) -> list[Timed]:
    """Time each model on one image in every runtime installed here."""
    here = [runtime for runtime in FORMATS[".onnx"].runtimes if find_spec(runtime) is not None]
    engines = {
        (name, runtime): load_engine(path, runtime=runtime, threads=threads)
        for name, path in models.items()
        for runtime in here
    }
    works = {
        f"{name} {runtime}": partial(engine.infer_all, noise_images(engine, 1))
        for (name, runtime), engine in engines.items()
    }
    seconds = {key: np.array(values) for key, values in interleaved(works, rounds).items()}
    first = next(iter(seconds.values()))
    timed = [
        Timed(
            name,
            runtime,
            engine.description,
            1e3 * float(np.median(seconds[f"{name} {runtime}"])),
            float(np.median(seconds[f"{name} {runtime}"] / first)),
        )
        for (name, runtime), engine in engines.items()
    ]
    for engine in engines.values():
        engine.close()
    return timed
