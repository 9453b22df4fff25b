"""The time of each layer of a model in ONNX Runtime and in OpenVINO, by their own profilers.

A profiler makes a run slower, so shares are of use, and milliseconds only beside each other.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from edge_segface.bench.interleave import noise_images
from edge_segface.engine import Runtime
from edge_segface.engine.base import check_threads
from edge_segface.errors import ModelError
from edge_segface.frames import UInt8Array

WARM_UP = 3  # runs that do not count


@dataclass(frozen=True)
class LayerTime:
    """A layer as the runtime executes it, which may be several of the file's nodes."""

    name: str
    kind: str
    ms: float  # mean over the runs


@dataclass(frozen=True)
class LayerTimes:
    """The layers of a model in one runtime, slowest first."""

    model: str
    runtime: Runtime
    layers: tuple[LayerTime, ...]

    @property
    def total_ms(self) -> float:
        return sum(layer.ms for layer in self.layers)

    def by_kind(self) -> dict[str, float]:
        """Return the share of the time of each kind of layer, largest first."""
        kinds: dict[str, float] = defaultdict(float)
        for layer in self.layers:
            kinds[layer.kind] += layer.ms / self.total_ms
        return dict(sorted(kinds.items(), key=lambda item: -item[1]))


def measure_layers(
    model: str, path: Path, runtime: Runtime | None = None, *, runs: int = 30, threads: int | None = None
) -> list[LayerTimes]:
    """Measure an .onnx file in one runtime, or in all that are installed."""
    if path.suffix.lower() != ".onnx":
        raise ModelError(f"the layers of {path} cannot be timed", found=path.suffix, remedy="give its .onnx file")
    measured = []
    for each, measure in {"onnxruntime": in_onnxruntime, "openvino": in_openvino}.items():
        if runtime == each or (runtime is None and find_spec(each) is not None):
            layers = sorted(measure(path, runs, check_threads(threads)), key=lambda layer: -layer.ms)
            measured.append(LayerTimes(model, each, tuple(layers)))  # type: ignore[arg-type]
    return measured


def in_onnxruntime(path: Path, runs: int, threads: int) -> Iterable[LayerTime]:
    import onnxruntime as ort

    from edge_segface.engine.onnxruntime import open_model

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session, spec = open_model(path, options)
        image = noise_images(spec.input_size)
        for _ in range(WARM_UP + runs):
            session.run(None, {"image": image})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time")
            times[name, event["args"]["op_name"]].append(event["dur"] / 1e3)
    return means(times)


def in_openvino(path: Path, runs: int, threads: int) -> Iterable[LayerTime]:
    from edge_segface.engine.openvino.engine import open_core, prepared_model

    core = open_core()
    model, spec = prepared_model(core, path, "CPU")
    settings = {"PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": "YES"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = str(threads)
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    image: UInt8Array = noise_images(spec.input_size)
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(WARM_UP + runs):
        request.infer({0: image}, share_inputs=True)
        if number >= WARM_UP:
            for info in request.profiling_info:
                if (seconds := info.real_time.total_seconds()) > 0:
                    times[info.node_name, f"{info.node_type}, {info.exec_type}"].append(1e3 * seconds)
    return [LayerTime(name, kind, sum(values) / runs) for (name, kind), values in times.items()]


def means(times: dict[tuple[str, str], list[float]]) -> Iterable[LayerTime]:
    """Return the mean of each layer after the warm-up."""
    for (name, kind), values in times.items():
        counted = values[WARM_UP:]
        yield LayerTime(name, kind, sum(counted) / len(counted))
