"""Cold start: import, load, first inference and memory of one model in a fresh process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from edge_segface.bench.interleave import noise_images
from edge_segface.bench.results import ColdStart
from edge_segface.board import board_model
from edge_segface.engine import fastest_first
from edge_segface.engine.tensorrt.common import MODULES
from edge_segface.errors import EdgeSegfaceError, ModelError
from edge_segface.isolation import isolated_python
from edge_segface.models import FORMATS, load_engine
from edge_segface.spec import EngineRecord
from edge_segface.telemetry import Nvml
from edge_segface.typed import from_plain

TIMEOUT_S = 600.0
STEADY_CALLS = 3  # after the first inference, until the memory is read


def cold_start(path: Path, batch: int, options: Mapping[str, Any]) -> ColdStart:
    """Measure a model in a process of its own; `options` are those of `load_engine`."""
    request = json.dumps({"path": str(path), "batch": batch, "options": dict(options)})
    command = isolated_python("edge_segface.bench.cold_start", request)
    try:
        process = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{path} did not load and run within {TIMEOUT_S:.0f} s") from error
    if process.returncode < 0:
        raise ModelError(f"{path} crashed its process", found=signal.Signals(-process.returncode).name)
    if process.returncode:
        lines = process.stderr.strip().splitlines()
        raise ModelError(lines[-1].removeprefix("error: ") if lines else f"{path} ended its process without a message")
    return from_plain(ColdStart, json.loads(process.stdout.splitlines()[-1]))  # runtimes may print too


def main() -> None:
    """Run in the fresh process: print the measurements as the last line of stdout."""
    request = json.loads(sys.argv[1])
    try:
        found = _measure(Path(request["path"]), request["batch"], request["options"])
    except EdgeSegfaceError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(f"\n{json.dumps(asdict(found))}\n")


def _measure(path: Path, batch: int, options: Mapping[str, Any]) -> ColdStart:
    started = time.perf_counter()
    with suppress(ImportError, EdgeSegfaceError):  # loading the model reports what is missing or wrong
        import_module(runtime_module(path, options))
    memory_before_mb, gpu_before_mb = peak_memory_mb(), gpu_memory_mb()
    imported = time.perf_counter()
    with load_engine(path, **options) as engine:
        loaded = time.perf_counter()
        images = noise_images(engine.spec.input_size, batch)
        first_started = time.perf_counter()
        engine.infer_all(images)
        first_ended = time.perf_counter()
        for _ in range(STEADY_CALLS):
            engine.infer_all(images)
        memory_mb, gpu_mb = peak_memory_mb(), gpu_memory_mb()
    return ColdStart(
        import_ms=round(1e3 * (imported - started), 2),
        load_ms=round(1e3 * (loaded - imported), 2),
        first_ms=round(1e3 * (first_ended - first_started), 2),
        peak_mb=memory_mb,
        peak_mb_above_start=_increase(memory_before_mb, memory_mb),
        gpu_mb=_increase(gpu_before_mb, gpu_mb),
    )


def runtime_module(path: Path, options: Mapping[str, Any]) -> str:
    """Return the module whose import a user of this file waits for."""
    if path.suffix.lower() == ".engine":
        built_for = EngineRecord.load(path).engine.runtime
        return MODULES.get(built_for, built_for)  # one of a few known ones: EngineSpec checks it
    return options.get("runtime") or fastest_first(FORMATS[path.suffix.lower()].runtimes, options)[0]


def _increase(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else round(after - before, 1)


def peak_memory_mb() -> float | None:
    """Return the peak memory of this process, if known. On Linux, getrusage would include the parent's."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) * 1024 / 1e6, 1)
    try:
        import resource
    except ImportError:
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1)


def gpu_memory_mb() -> float | None:
    """Return the GPU memory in use, None without a GPU, and all memory in use on a board whose GPU shares it."""
    if board_model() is not None and Path("/etc/nv_tegra_release").exists():
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        return (kilobytes["MemTotal"] - kilobytes["MemAvailable"]) * 1024 / 1e6
    try:
        card = Nvml()
    except OSError:
        return None
    used = card.read().get("memory_mb.gpu")
    card.close()
    return used


if __name__ == "__main__":
    main()
