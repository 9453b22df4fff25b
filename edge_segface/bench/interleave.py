"""Interleaved timing: on a noisy machine, only calls that alternate can be compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from edge_segface.engine import Engine, Runtime
from edge_segface.frames import UInt8Array
from edge_segface.models import FORMATS, load_engine

WARM_UP_ROUNDS = 3
PAUSE_S = 0.03  # idle ONNX Runtime threads busy-wait at first, and would take cores from the next engine


def interleaved(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    pause_s: float = PAUSE_S,
    warm_up_rounds: int = WARM_UP_ROUNDS,
) -> dict[str, list[float]]:
    """Time every call once per round. Return the seconds of each call, in order of the rounds.

    A pause and an untimed run of the same call come first, so that no call pays for another's busy threads or caches.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(warm_up_rounds + rounds):
        for name, call in calls.items():
            time.sleep(pause_s)
            call()
            start = time.perf_counter()
            call()
            if index >= warm_up_rounds:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def noise_images(size: int, batch: int = 1) -> UInt8Array:
    """Return a batch of noise: a network's time does not depend on its input."""
    return np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)


@dataclass(frozen=True)
class RuntimeLatency:
    """The latency of one model in one runtime."""

    model: str
    runtime: Runtime
    description: str  # of the engine
    median_ms: float
    ratio: float  # to the first engine's, median over rounds; below 1 is faster


def time_runtimes(models: Mapping[str, Path], rounds: int = 12, threads: int | None = None) -> list[RuntimeLatency]:
    """Time each model on one image in every installed runtime."""
    runtimes = [runtime for runtime in FORMATS[".onnx"].runtimes if find_spec(runtime) is not None]
    engines: dict[tuple[str, Runtime], Engine] = {}
    with ExitStack() as stack:
        for model, path in models.items():
            for runtime in runtimes:
                engine = load_engine(path, runtime=runtime, threads=threads)
                engines[model, runtime] = stack.enter_context(engine)
        calls = {
            f"{model} {runtime}": partial(engine.infer_all, noise_images(engine.spec.input_size))
            for (model, runtime), engine in engines.items()
        }
        seconds = {name: np.array(values) for name, values in interleaved(calls, rounds).items()}
    first = next(iter(seconds.values()))
    return [
        RuntimeLatency(
            model=model,
            runtime=runtime,
            description=engine.description,
            median_ms=1e3 * float(np.median(seconds[f"{model} {runtime}"])),
            ratio=float(np.median(seconds[f"{model} {runtime}"] / first)),
        )
        for (model, runtime), engine in engines.items()
    ]
