"""From whatever there is of a model to an engine: export, lower, compile, each step only where it is still to be done.

What a step makes lies beside the engine and is taken again as long as it was made of the same file, with the same
calibration set.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge_segface.engine.onnxruntime import spec_of
from edge_segface.engine.tensorrt.build import OnStep, PlanSettings, build_plan, no_steps
from edge_segface.engine.tensorrt.common import MODULES, this_system
from edge_segface.errors import EngineError, ModelError
from edge_segface.files import sha256_of, write_bytes
from edge_segface.models import FORMATS, BuildRuntime, input_size, load_engine, resolve
from edge_segface.spec import EngineRecord, EngineSpec, ModelSpec

if TYPE_CHECKING:
    from edge_segface.quantize.accuracy_gate import AccuracyGate

Precision = Literal["fp32", "fp16", "int8"]

SUFFIXES: dict[BuildRuntime, str] = {
    runtime: suffix for suffix, file_format in FORMATS.items() for runtime in file_format.built_for
}


@dataclass(frozen=True)
class BuildRequest:
    """What is to be built."""

    model: str
    out: Path
    runtime: BuildRuntime
    precision: Precision | None = None  # None: as the file is
    size: int | None = None  # of the input, for checkpoints; None: that of its training, or 512
    calibration: Path | None = None
    plan: PlanSettings = field(default_factory=PlanSettings)
    threads: int | None = None
    command: str = ""


@dataclass(frozen=True)
class BuildStage:
    """One line of the table at the end, or of a dry run."""

    what: str
    file: Path
    seconds: float | None = None  # None: not done, for it lies there already, or nothing is done at all
    note: str = ""


@dataclass
class BuildResult:
    stages: list[BuildStage]
    record: EngineRecord | None = None
    f1_drop: dict[str, float] | None = None
    layers: dict[str, int] = field(default_factory=dict)  # precision -> how many
    details: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def runtime_for(out: Path) -> BuildRuntime:
    """What a file's suffix asks for; of the two TensorRTs the one that is installed."""
    fitting = [runtime for runtime, suffix in SUFFIXES.items() if suffix == out.suffix.lower()]
    if not fitting:
        raise EngineError(
            f"no runtime takes {out}", found=out.suffix or "no suffix", remedy="name an .engine, .xml or .onnx file"
        )
    return next((runtime for runtime in fitting if find_spec(MODULES.get(runtime, runtime))), fitting[0])


def build_engine(
    wish: BuildRequest,
    *,
    judge: AccuracyGate | None = None,
    allow_drop: bool = False,
    dry_run: bool = False,
    on_step: OnStep = no_steps,
) -> BuildResult:
    """Writes `wish.out`, and beside it the record of an engine; or raises, and writes neither."""
    if wish.out.suffix.lower() != SUFFIXES[wish.runtime]:
        raise EngineError(
            f"engines of {wish.runtime} are {SUFFIXES[wish.runtime]} files", found=wish.out, remedy="rename --out"
        )
    EngineSpec(wish.runtime, wish.precision or "fp32", wish.plan.batch)  # refuses a range that is none, before any work
    built = BuildResult([])
    source = _exported(wish, built, dry_run=dry_run, on_step=on_step)
    model = _lowered(wish, source, built, judge, allow_drop=allow_drop, dry_run=dry_run, on_step=on_step)
    if dry_run:
        built.stages.append(BuildStage(f"compile for {wish.runtime}", wish.out))
        return built
    start = time.monotonic()
    compiler = {"openvino": _to_openvino, "onnxruntime": _to_onnxruntime}.get(wish.runtime, _to_plan)
    compiler(wish, model, built, on_step)
    built.f1_drop = spec_of(model).f1_drop
    built.stages.append(BuildStage(f"compile for {wish.runtime}", wish.out, time.monotonic() - start))
    return built


def _exported(wish: BuildRequest, built: BuildResult, *, dry_run: bool, on_step: OnStep) -> Path:
    """The model as ONNX."""
    found = resolve(wish.model)
    path = found.path
    if not found.is_checkpoint:
        if found.format.kind != "onnx":
            raise ModelError(f"{path} is neither a checkpoint nor an ONNX file", found=path.suffix)
        return path
    from edge_segface.export.onnx_export import export_onnx
    from edge_segface.model.checkpoint import load_weights

    weights = load_weights(path)
    size = input_size(weights, wish.size)
    out = wish.out.with_name(f"{path.stem}-{size}.onnx")
    if (spec := _spec_of(out)) is not None and spec.parent_sha256 == sha256_of(path) and spec.input_size == size:
        built.stages.append(BuildStage("export", out, note="is there"))
        return out
    if dry_run:
        built.stages.append(BuildStage("export", out))
        return out
    on_step("exporting", None)
    start = time.monotonic()
    export_onnx(weights, out, size=size)
    built.stages.append(BuildStage("export", out, time.monotonic() - start))
    return out


def _lowered(
    wish: BuildRequest,
    source: Path,
    built: BuildResult,
    judge: AccuracyGate | None,
    *,
    allow_drop: bool,
    dry_run: bool,
    on_step: OnStep,
) -> Path:
    """The model in the precision that was asked for."""
    spec = _spec_of(source) if dry_run else spec_of(source)  # in a dry run there may be no export yet
    there = spec.precision if spec is not None else "fp32"
    if wish.precision in (None, there):
        if judge is not None:
            raise ModelError(f"{source} stays in {there}, so there is no drop to measure", remedy="leave --dataset out")
        return source
    assert wish.precision is not None
    if wish.precision == "int8" and wish.calibration is None:
        raise ModelError(
            f"{source} is in {there}, and int8 needs pictures to calibrate on",
            remedy="give --calibration SET.npz, made by edge-segface calibrate, or an int8 file such as edge-256-int8",
        )
    out = wish.out.with_name(f"{source.stem}-{wish.precision}.onnx")
    if _made_of(out, source, wish.calibration) and judge is None:
        built.stages.append(BuildStage(wish.precision, out, note="is there"))
        return out
    if dry_run:
        built.stages.append(BuildStage(wish.precision, out, note="and judged" if judge else ""))
        return out
    assert wish.precision != "fp32"
    from edge_segface.quantize.pipeline import quantize

    calibration = wish.calibration if wish.precision == "int8" else None
    start = time.monotonic()
    on_step(wish.precision, None)
    quantize(source, wish.precision, calibration, out, gate=judge, allow_drop=allow_drop, threads=wish.threads)
    built.stages.append(BuildStage(wish.precision, out, time.monotonic() - start))
    return out


def _made_of(path: Path, source: Path, calibration: Path | None) -> bool:
    spec = _spec_of(path)
    if spec is None or not source.exists() or spec.parent_sha256 != sha256_of(source):
        return False
    if spec.precision != "int8" or calibration is None:
        return True
    from edge_segface.quantize.calibration.artefact import CalibrationSet

    return spec.calibration_sha256 == CalibrationSet.load(calibration).sha256


def _spec_of(path: Path) -> ModelSpec | None:
    """What a file that is there says of itself; None if it is not, or is none of ours."""
    if not path.is_file():
        return None
    try:
        return spec_of(path)
    except ModelError:
        return None


def _to_plan(wish: BuildRequest, model: Path, built: BuildResult, on_step: OnStep) -> None:
    """A plan, with its record beside it."""
    content = model.read_bytes()
    spec = spec_of(model)
    assert wish.runtime in ("tensorrt", "tensorrt-rtx")
    plan = build_plan(wish.runtime, content, spec, wish.plan, on_step)
    device = capability = None
    if wish.runtime == "tensorrt":
        from edge_segface.engine.tensorrt.cuda import open_cuda

        cuda = open_cuda()
        device = cuda.device.name
        capability = ".".join(map(str, cuda.device.compute_capability))
        cuda.close()
    built.record = EngineRecord(
        EngineSpec(wish.runtime, spec.precision, wish.plan.batch),
        spec,
        plan.runtime_version,
        device or "any GPU that TensorRT-RTX builds for",
        capability,
        hashlib.sha256(content).hexdigest(),
        hashlib.sha256(plan.data).hexdigest(),
        round(plan.seconds, 2),
        spec.calibration_sha256,
        spec.f1,
        spec.f1_drop,
        this_system(),
        wish.command,
        plan.targets,
    )
    built.layers, built.details, built.warnings = plan.layers, plan.details, plan.warnings
    EngineRecord.path_for(wish.out).unlink(missing_ok=True)  # an old record must not stand beside a new plan
    write_bytes(plan.data, wish.out)
    built.record.save(wish.out)


def _to_openvino(wish: BuildRequest, model: Path, built: BuildResult, on_step: OnStep) -> None:  # noqa: ARG001
    """OpenVINO's own two files, with the ModelSpec in the first; it compiles for the processor when it loads them."""
    on_step("converting", None)
    from edge_segface.engine.openvino.engine import save_xml

    save_xml(model, wish.out)


def _to_onnxruntime(wish: BuildRequest, model: Path, built: BuildResult, on_step: OnStep) -> None:  # noqa: ARG001
    """The file itself, as ONNX Runtime compiles it when it loads it. It is loaded once, to see that it does."""
    on_step("loading", None)
    load_engine(model).close()
    if wish.out.resolve() != model.resolve():
        write_bytes(model.read_bytes(), wish.out)
