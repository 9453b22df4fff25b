"""From a model in any form to an engine: export, quantize and compile, skipping steps that are done.

Each step's result is stored beside the engine, and reused if it was made from the same file and calibration set.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge_segface.engine.onnxruntime import spec_of
from edge_segface.engine.tensorrt.build import PlanSettings, build_plan
from edge_segface.engine.tensorrt.common import MODULES, NvidiaRuntime, this_system
from edge_segface.errors import EngineError, ModelError
from edge_segface.files import sha256_of, write_bytes
from edge_segface.models import FORMATS, BuildRuntime, input_size, load_engine, resolve
from edge_segface.progress import NO_PROGRESS, Progress
from edge_segface.spec import EngineRecord, EngineSpec, ModelSpec

if TYPE_CHECKING:
    from edge_segface.quantize.accuracy_gate import AccuracyGate

Precision = Literal["fp32", "fp16", "int8"]

SUFFIXES: dict[BuildRuntime, str] = {
    runtime: suffix for suffix, file_format in FORMATS.items() for runtime in file_format.built_for
}


@dataclass(frozen=True)
class BuildRequest:
    """What to build."""

    model: str
    out: Path
    runtime: BuildRuntime
    precision: Precision | None = None  # None: the file's own
    size: int | None = None  # input of a checkpoint; None: that of its training, or 512
    calibration: Path | None = None
    plan: PlanSettings = field(default_factory=PlanSettings)
    threads: int | None = None
    command: str = ""


@dataclass(frozen=True)
class BuildStage:
    """One row of the final table, or of a dry run."""

    what: str
    file: Path
    seconds: float | None = None  # None: skipped because it exists, or a dry run
    note: str = ""


@dataclass
class BuildResult:
    """What a build did and produced."""

    stages: list[BuildStage]
    record: EngineRecord | None = None
    f1_drop: dict[str, float] | None = None
    judged: str = ""  # what the accuracy gate judged, if it ran
    layers: dict[str, int] = field(default_factory=dict)  # precision -> number of layers
    details: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def runtime_for(out: Path) -> BuildRuntime:
    """Return the runtime that a file's suffix asks for; of the two TensorRTs, the installed one."""
    fitting = [runtime for runtime, suffix in SUFFIXES.items() if suffix == out.suffix.lower()]
    if not fitting:
        raise EngineError(
            f"no runtime uses {out}", found=out.suffix or "no suffix", remedy="name an .engine, .xml or .onnx file"
        )
    return next((runtime for runtime in fitting if find_spec(MODULES.get(runtime, runtime))), fitting[0])


def build_engine(
    request: BuildRequest,
    *,
    gate: AccuracyGate | None = None,
    allow_drop: bool = False,
    dry_run: bool = False,
    progress: Progress = NO_PROGRESS,
) -> BuildResult:
    """Write the engine and, beside it, its record; or raise and write neither."""
    suffix = SUFFIXES[request.runtime]
    if request.out.suffix.lower() != suffix:
        raise EngineError(
            f"{request.runtime} engines are {suffix} files",
            found=request.out,
            remedy=f"name a {suffix} file with --out",
        )
    EngineSpec(request.runtime, request.precision or "fp32", request.plan.batch)  # rejects an invalid range early
    build = _Build(request, gate, allow_drop, dry_run, progress)
    source = build.export()
    model = build.reduce_precision(source)
    build.compile(model)
    return build.result


@dataclass
class _Build:
    """The steps of one build. Each appends its row to the result; in a dry run that is all it does."""

    request: BuildRequest
    gate: AccuracyGate | None
    allow_drop: bool
    dry_run: bool
    progress: Progress
    result: BuildResult = field(default_factory=lambda: BuildResult([]))

    def export(self) -> Path:
        """Return the model as an ONNX file, exporting it if needed."""
        found = resolve(self.request.model)
        if not found.is_checkpoint:
            if found.format.kind != "onnx":
                raise ModelError(f"{found.path} is neither a checkpoint nor an ONNX file", found=found.path.suffix)
            return found.path
        from edge_segface.export.onnx_export import export_onnx
        from edge_segface.model.checkpoint import load_weights

        weights = load_weights(found.path)
        size = input_size(weights, self.request.size)
        out = self.request.out.with_name(f"{found.path.stem}-{size}.onnx")
        spec = _existing_spec(out)
        exists = (
            spec is not None
            and (spec.parent_sha256, spec.input_size) == (sha256_of(found.path), size)
            and spec.f1 == weights.f1_at(size)  # earlier versions stored the F1 of another size
        )
        return self._step("export", out, lambda: export_onnx(weights, out, size=size), exists=exists)

    def reduce_precision(self, source: Path) -> Path:
        """Return the model in the requested precision, quantizing it if needed."""
        request, precision = self.request, self.request.precision
        spec = _existing_spec(source) if self.dry_run else spec_of(source)  # in a dry run it may not exist yet
        current = spec.precision if spec is not None else "fp32"
        if precision is None or precision == current:
            if self.gate is not None:
                raise ModelError(
                    f"{source} stays in {current}, so there is no accuracy drop to measure",
                    remedy="leave --dataset out",
                )
            return source
        if precision == "int8" and request.calibration is None:
            raise ModelError(
                f"{source} is in {current}, and int8 needs calibration images",
                remedy="give --calibration SET.npz, made by edge-segface calibrate, or an int8 file like edge-256-int8",
            )
        out = request.out.with_name(f"{source.stem}-{precision}.onnx")

        def quantize() -> None:
            from edge_segface.quantize.pipeline import quantize as run

            assert precision != "fp32"
            done = run(
                source,
                precision,
                request.calibration if precision == "int8" else None,
                out,
                gate=self.gate,
                allow_drop=self.allow_drop,
                threads=request.threads,
                progress=self.progress,
            )
            self.result.judged = done.drop.judged if done.drop is not None else ""

        exists = self.gate is None and _is_made_from(out, source, request.calibration)
        return self._step(precision, out, quantize, exists=exists, note="with the accuracy gate" if self.gate else "")

    def compile(self, model: Path) -> None:
        compilers = {"openvino": self._to_openvino, "onnxruntime": self._to_onnxruntime}
        compiler = compilers.get(self.request.runtime, self._to_plan)
        self._step(f"compile for {self.request.runtime}", self.request.out, lambda: compiler(model), exists=False)
        if not self.dry_run:
            self.result.f1_drop = spec_of(model).f1_drop

    def _step(self, what: str, out: Path, work: Callable[[], object], *, exists: bool, note: str = "") -> Path:
        """Do one step unless its result exists, and append its row."""
        if exists or self.dry_run:
            self.result.stages.append(BuildStage(what, out, note="exists" if exists else note))
            return out
        self.progress.stage(what)
        start = time.monotonic()
        work()
        self.result.stages.append(BuildStage(what, out, time.monotonic() - start))
        return out

    def _to_plan(self, model: Path) -> None:
        """Write a plan and its record."""
        request, content, spec = self.request, model.read_bytes(), spec_of(model)
        runtime: NvidiaRuntime = "tensorrt" if request.runtime == "tensorrt" else "tensorrt-rtx"
        plan = build_plan(runtime, content, spec, request.plan, self.progress)
        device, capability = "any GPU that TensorRT-RTX supports", None
        if runtime == "tensorrt":
            from edge_segface.engine.tensorrt.cuda import open_cuda

            cuda = open_cuda()
            device = cuda.device.name
            capability = ".".join(map(str, cuda.device.compute_capability))
            cuda.close()
        record = EngineRecord(
            engine=EngineSpec(runtime, spec.precision, request.plan.batch),
            model=spec,
            runtime_version=plan.runtime_version,
            device=device,
            compute_capability=capability,
            onnx_sha256=hashlib.sha256(content).hexdigest(),
            engine_sha256=hashlib.sha256(plan.data).hexdigest(),
            build_seconds=round(plan.seconds, 2),
            calibration_sha256=spec.calibration_sha256,
            f1=spec.f1,
            f1_drop=spec.f1_drop,
            system=this_system(),
            command=request.command,
            targets=plan.targets,
        )
        self.result.record = record
        self.result.layers, self.result.details, self.result.warnings = plan.layers, plan.details, plan.warnings
        EngineRecord.path_for(request.out).unlink(missing_ok=True)  # an old record must not stand beside a new plan
        write_bytes(plan.data, request.out)
        record.save(request.out)

    def _to_openvino(self, model: Path) -> None:
        """Write OpenVINO's two files, with the specification in the first; OpenVINO compiles them on loading."""
        from edge_segface.engine.openvino.engine import save_xml

        save_xml(model, self.request.out)

    def _to_onnxruntime(self, model: Path) -> None:
        """Copy the file, which ONNX Runtime optimises on loading, after loading it once as a check."""
        load_engine(model, runtime="onnxruntime").close()
        if self.request.out.resolve() != model.resolve():
            write_bytes(model.read_bytes(), self.request.out)


def _is_made_from(path: Path, source: Path, calibration: Path | None) -> bool:
    spec = _existing_spec(path)
    if spec is None or not os.path.exists(source) or spec.parent_sha256 != sha256_of(source):
        return False
    if spec.precision != "int8" or calibration is None:
        return True
    from edge_segface.quantize.calibration.artefact import CalibrationSet

    return spec.calibration_sha256 == CalibrationSet.load(calibration).sha256


def _existing_spec(path: Path) -> ModelSpec | None:
    """Return the specification of an existing file of ours, else None."""
    if not os.path.isfile(path):
        return None
    try:
        return spec_of(path)
    except ModelError:
        return None
