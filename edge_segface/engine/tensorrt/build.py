"""Compiling our ONNX files into plans of TensorRT and TensorRT-RTX."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_segface.engine.tensorrt.common import TITLES, NvidiaRuntime, load_tensorrt, new_log
from edge_segface.errors import EngineError, OutputError
from edge_segface.files import write_bytes
from edge_segface.progress import NO_PROGRESS, Progress
from edge_segface.spec import ModelSpec

MB = 1 << 20


def batch_range(text: str) -> tuple[int, int, int]:
    """Parse a batch size, or minimum:typical:maximum."""
    numbers = text.split(":")
    if len(numbers) not in (1, 3) or not all(number.isdecimal() for number in numbers):
        raise EngineError(
            f"{text!r} is not a valid batch range", remedy="give a number, or minimum:typical:maximum, as in 1:2:4"
        )
    least, typical, most = (int(number) for number in (numbers * 3 if len(numbers) == 1 else numbers))
    return least, typical, most


@dataclass(frozen=True)
class PlanSettings:
    """How to build. `targets` are compute capabilities such as `sm89`, for TensorRT-RTX only."""

    batch: tuple[int, int, int] = (1, 1, 1)
    workspace_mb: int | None = None
    optimization: int | None = None
    timing_cache: Path | None = None  # a folder
    targets: tuple[str, ...] = ()
    dla: int | None = None


@dataclass(frozen=True)
class Plan:
    """A compiled plan, and what is known about it."""

    data: bytes
    runtime_version: str
    seconds: float
    layers: dict[str, int]  # precision -> number of layers of the parsed network with that output
    details: dict[str, Any]  # the inspector's output where there is a GPU, else the parsed network
    targets: tuple[str, ...]
    warnings: list[str] = field(default_factory=list)


def build_plan(
    runtime: NvidiaRuntime, onnx: bytes, spec: ModelSpec, settings: PlanSettings, progress: Progress = NO_PROGRESS
) -> Plan:
    """Build strongly typed, so the file decides the precision; by flags only if that fails (TensorRT 8.6, 10.3)."""
    trt = load_tensorrt(runtime)
    *earlier, last = typing_modes(trt)
    for strong in earlier:
        with suppress(EngineError):
            return _Build(trt, runtime, spec, settings, strong=strong).run(onnx, progress)
    return _Build(trt, runtime, spec, settings, strong=last).run(onnx, progress)


def typing_modes(trt: Any) -> list[bool]:
    """Return the typing modes that this TensorRT supports, strong first."""
    flags, settings = trt.NetworkDefinitionCreationFlag, trt.BuilderFlag
    return [*([True] if hasattr(flags, "STRONGLY_TYPED") else []), *([False] if hasattr(settings, "FP16") else [])]


class _Build:
    """One attempt to build, strongly or weakly typed."""

    def __init__(
        self, trt: Any, runtime: NvidiaRuntime, spec: ModelSpec, settings: PlanSettings, *, strong: bool
    ) -> None:
        self.trt, self.runtime, self.spec, self.settings, self.strong = trt, runtime, spec, settings, strong
        self.log = new_log(trt)
        self.builder = trt.Builder(self.log)
        self.config = self.builder.create_builder_config()
        if self.builder is None or self.config is None:
            raise self.failure("cannot start its builder")
        self.log.errors.clear()  # TensorRT-RTX first searches for a GPU, and continues without one

    def run(self, onnx: bytes, progress: Progress) -> Plan:
        start = time.monotonic()
        progress.stage("parsing")
        network = self.parse(onnx)
        self.configure(network)
        layers = layers_of(self.trt, network)
        cache = self.open_timing_cache()
        data = self.compile(network, progress)
        if cache is not None:
            try:
                write_bytes(bytes(self.config.get_timing_cache().serialize()), cache)
            except OutputError as error:  # the plan is complete without it
                self.log.warnings.append(f"timings are not cached: {error}")
        return Plan(
            data=data,
            runtime_version=self.trt.__version__,
            seconds=time.monotonic() - start,
            layers=dict(Counter(layer["precision"] for layer in layers)),
            details=self.inspect(data) or {"layers of the parsed network; no GPU to inspect the plan": layers},
            targets=self.settings.targets,
            warnings=self.log.warnings,
        )

    def parse(self, onnx: bytes) -> Any:
        trt, flags = self.trt, self.trt.NetworkDefinitionCreationFlag
        wanted = ["EXPLICIT_BATCH", *(["STRONGLY_TYPED"] if self.strong else [])]
        network = self.builder.create_network(
            sum(1 << int(getattr(flags, name)) for name in wanted if hasattr(flags, name))
        )
        parser = trt.OnnxParser(network, self.log)
        if not parser.parse(onnx):
            found = "; ".join(parser.get_error(index).desc() for index in range(min(3, parser.num_errors)))
            raise self.failure(f"cannot parse {self.spec.name}", found)
        return network

    def configure(self, network: Any) -> None:
        trt, config, settings = self.trt, self.config, self.settings
        if not self.strong:
            for name in {"fp16": ["FP16"], "int8": ["FP16", "INT8"]}.get(self.spec.precision, []):
                config.set_flag(getattr(trt.BuilderFlag, name))
        config.clear_flag(trt.BuilderFlag.TF32)  # so that fp32 means fp32
        if hasattr(trt, "ProfilingVerbosity"):
            config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if settings.workspace_mb is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mb * MB)
        if settings.optimization is not None:
            config.builder_optimization_level = settings.optimization
        side = self.spec.input_size
        profile = self.builder.create_optimization_profile()
        profile.set_shape("image", *((count, side, side, 3) for count in settings.batch))
        if config.add_optimization_profile(profile) < 0:
            raise self.failure(f"rejects the batch range {settings.batch}")
        self.set_targets()
        if settings.dla is not None:
            self.use_dla(network, settings.dla)

    def set_targets(self) -> None:
        known = getattr(self.trt, "ComputeCapability", None)
        if not self.settings.targets:
            return
        if known is None or not hasattr(self.config, "set_compute_capability"):
            raise EngineError(f"{TITLES[self.runtime]} builds for the GPU it runs on", remedy="leave --target out")
        names = [name for name in dir(known) if name.startswith("SM")]
        for target in self.settings.targets:
            if target.upper() not in names:
                raise EngineError(
                    f"{TITLES[self.runtime]} {self.trt.__version__} has no target {target!r}",
                    remedy=f"choose from {', '.join(names).lower()}",
                )
        self.config.num_compute_capabilities = len(self.settings.targets)
        for index, target in enumerate(self.settings.targets):
            self.config.set_compute_capability(getattr(known, target.upper()), index)

    def use_dla(self, network: Any, core: int) -> None:
        """Use a DLA core. Raises unless every layer can run there: switching to the GPU and back would be slower."""
        trt, config = self.trt, self.config
        if core >= self.builder.num_DLA_cores:
            raise EngineError(
                f"there is no DLA core {core} for {TITLES[self.runtime]} here",
                found=f"{self.builder.num_DLA_cores} cores",
                remedy="leave --dla out; Orin Nano, Thor and desktop GPUs have none",
            )
        config.default_device_type, config.DLA_core = trt.DeviceType.DLA, core
        cannot = Counter(
            layer.type.name
            for layer in (network.get_layer(index) for index in range(network.num_layers))
            if not config.can_run_on_DLA(layer)
        )
        if cannot:
            raise EngineError(
                f"{self.spec.name} does not fit the DLA",
                found=", ".join(f"{count} {name}" for name, count in cannot.most_common(4)) + " cannot run on it",
                remedy="leave --dla out: h-swish, squeeze-and-excite and attention run on the GPU",
            )

    def open_timing_cache(self) -> Path | None:
        if (
            self.settings.timing_cache is None or self.runtime == "tensorrt-rtx"
        ):  # which compiles without timing kernels
            return None
        from edge_segface.engine.tensorrt.cuda import open_cuda

        cuda = open_cuda()
        gpu = "".join(letter if letter.isalnum() else "-" for letter in cuda.device.name)
        cuda.close()
        path = self.settings.timing_cache / f"tensorrt-{self.trt.__version__}-{gpu}.timing"
        blob = path.read_bytes() if path.exists() else b""
        self.config.set_timing_cache(self.config.create_timing_cache(blob), False)
        return path

    def compile(self, network: Any, progress: Progress) -> bytes:
        """Build in a separate thread, so that Ctrl-C and progress reach this one."""
        stop = threading.Event()
        if hasattr(self.trt, "IProgressMonitor"):
            progress.stage("building", 100)
            self.config.progress_monitor = new_monitor(self.trt, progress, stop)
        result: list[Any] = []
        thread = threading.Thread(
            target=lambda: result.append(self.builder.build_serialized_network(network, self.config)), daemon=True
        )
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.1)
                if not hasattr(self.trt, "IProgressMonitor"):
                    progress.stage("building")
        except BaseException:  # Ctrl-C, or a signal that the command line turned into SystemExit
            stop.set()
            thread.join(10)  # without a monitor the thread ends with the process
            raise
        if not result or result[0] is None:
            raise self.failure(f"cannot build {self.spec.name}")
        return bytes(result[0])

    def inspect(self, data: bytes) -> dict[str, Any] | None:
        """Return the inspector's description of the plan; loading it takes a GPU of its kind."""
        trt = self.trt
        errors = len(self.log.errors)
        engine = trt.Runtime(self.log).deserialize_cuda_engine(data)
        del self.log.errors[errors:]
        if engine is None:
            return None
        text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
        with suppress(json.JSONDecodeError):
            return dict(json.loads(text))
        return None

    def failure(self, what: str, found: str = "") -> EngineError:
        said = found or self.log.said()
        remedy = ""
        if "workspace limit" in said.lower():
            remedy = "raise --workspace"
        elif "memory" in said.lower():
            remedy = "lower --workspace, or close what else uses the device"
        elif "driver" in said.lower() or "cuda" in said.lower():
            remedy = "TensorRT builds on the device itself; without a GPU use --runtime tensorrt-rtx or openvino"
        return EngineError(f"{TITLES[self.runtime]} {self.trt.__version__} {what}", found=said, remedy=remedy)


def layers_of(trt: Any, network: Any) -> list[dict[str, str]]:
    """Return name, kind and precision of every layer that depends on the image."""
    layers = []
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type != trt.LayerType.CONSTANT and layer.num_outputs:
            precision = layer.get_output(0).dtype.name.lower()
            layers.append({"name": layer.name, "kind": layer.type.name.lower(), "precision": precision})
    return layers


def new_monitor(trt: Any, progress: Progress, stop: threading.Event) -> Any:
    """Build a progress monitor.

    Phases nest, and their names repeat and differ by version: shares add up along the stack.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.stack: list[list[Any]] = []  # phase, steps, steps done
            self.best, self.percent = 0.0, 0

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:  # noqa: ARG002
            self.stack.append([phase, max(1, steps), 0])

        def step_complete(self, phase: str, step: int) -> bool:
            for entry in self.stack:
                if entry[0] == phase:
                    entry[2] = step + 1
            share, width = 0.0, 1.0
            for _, steps, done in self.stack:
                share += width * done / steps
                width /= steps
            self.best = max(self.best, min(share, 1.0))
            percent = int(100 * self.best)
            progress.describe(self.stack[-1][0] if self.stack else phase)
            progress.advance(percent - self.percent)
            self.percent = percent
            return not stop.is_set()  # False cancels the build, and so would None or an exception

        def phase_finish(self, phase: str) -> None:
            self.stack = [entry for entry in self.stack if entry[0] != phase]

    return Monitor()
