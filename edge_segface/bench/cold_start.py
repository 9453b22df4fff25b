"""One engine in a fresh process: its time to load and to answer first, and its memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from edge_segface.bench.interleave import noise_images
from edge_segface.bench.results import ColdStart
from edge_segface.bench.telemetry import Nvml
from edge_segface.board import board_model
from edge_segface.engine.tensorrt.common import MODULES
from edge_segface.errors import EdgeSegfaceError, ModelError
from edge_segface.models import FORMATS, load_engine
from edge_segface.spec import EngineRecord

MOST_S = 600.0


def cold_start(path: Path, batch: int, options: Mapping[str, Any]) -> ColdStart:
    request = json.dumps({"path": str(path), "batch": batch, "options": dict(options)})
    command = [sys.executable, "-m", "edge_segface.bench.cold_start", request]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=MOST_S)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{path} did not load and run within {MOST_S:.0f} s") from error
    if done.returncode < 0:
        raise ModelError(f"{path} ended its process", found=signal.Signals(-done.returncode).name)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ModelError(lines[-1].removeprefix("error: ") if lines else f"{path} ended its process")
    values: ColdStart = json.loads(done.stdout.splitlines()[-1])  # runtimes may print too
    return values


def main() -> None:
    request = json.loads(sys.argv[1])
    path, options = Path(request["path"]), request["options"]
    started = time.perf_counter()
    with suppress(ImportError, EdgeSegfaceError):  # loading the model reports what is missing or wrong
        import_module(module_of(path, options.get("runtime")))
    before_mb, before_gpu_mb = most_memory_mb(), gpu_memory_mb()
    imported = time.perf_counter()
    try:
        with load_engine(path, **options) as engine:
            loaded = time.perf_counter()
            images = noise_images(engine, request["batch"])
            first = time.perf_counter()
            engine.infer_all(images)
            ended = time.perf_counter()
            for _ in range(3):
                engine.infer_all(images)
            after_mb, after_gpu_mb = most_memory_mb(), gpu_memory_mb()
    except EdgeSegfaceError as error:
        sys.exit(f"error: {error}")
    found = {
        "import_ms": round(1e3 * (imported - started), 2),
        "load_ms": round(1e3 * (loaded - imported), 2),
        "first_ms": round(1e3 * (ended - first), 2),
        "peak_mb": after_mb,
        "peak_mb_above_start": more(before_mb, after_mb),
        "gpu_mb": more(before_gpu_mb, after_gpu_mb),
    }
    sys.stdout.write(f"\n{json.dumps(found)}\n")


def module_of(path: Path, runtime: str | None) -> str:
    if path.suffix.lower() == ".engine":
        built_for = EngineRecord.load(path).engine.runtime
        return MODULES.get(built_for, built_for)
    return runtime or FORMATS[path.suffix.lower()].runtimes[0]


def more(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else round(after - before, 1)


def most_memory_mb() -> float | None:
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
    """Return the GPU memory in use: of a card, or all memory of a board whose GPU shares it. None without a GPU."""
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
