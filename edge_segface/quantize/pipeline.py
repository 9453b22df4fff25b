"""Quantize an fp32 file to fp16 or int8: convert, measure the accuracy drop, and write the file if it is acceptable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from edge_segface.assets import PORTRAIT
from edge_segface.assets.portrait import PORTRAIT_ROI
from edge_segface.errors import QuantizeError
from edge_segface.frames import RoI, UInt8Array, crop
from edge_segface.image_io import read_image
from edge_segface.models import load_engine
from edge_segface.progress import NO_PROGRESS, Progress
from edge_segface.quantize.accuracy_gate import AccuracyDrop, AccuracyGate
from edge_segface.quantize.calibration.artefact import CalibrationSet
from edge_segface.quantize.modelopt import to_fp16, to_int8
from edge_segface.quantize.options import INT8_DEFAULTS, Int8Options
from edge_segface.quantize.quantized_model import QuantizedModel, load_fp32, temporary_file
from edge_segface.quantize.sensitivity import Sensitivity, keep_until_accurate, scan_groups


@dataclass(frozen=True, eq=False)
class QuantizeResult:
    """The model that was written, and what was measured on the way."""

    model: QuantizedModel
    drop: AccuracyDrop | None  # None without a gate
    sensitivity: list[Sensitivity]  # groups of layers, worst first; if scanned, or if the gate kept some
    agreement: float  # share of pixels with the class that fp32 gives


def quantize(
    source: Path,
    precision: Literal["fp16", "int8"],
    calibration: Path | None,
    out: Path,
    *,
    options: Int8Options = INT8_DEFAULTS,
    gate: AccuracyGate | None = None,
    allow_drop: bool = False,
    threads: int | None = None,
    progress: Progress = NO_PROGRESS,
) -> QuantizeResult:
    """Quantize to the named precision: `quantize_fp16` or `quantize_int8`, for arguments from a command line."""
    if precision == "int8":
        if calibration is None:
            raise QuantizeError("int8 needs a calibration set", remedy="make one with: edge-segface calibrate")
        return quantize_int8(
            source, calibration, out,
            options=options, gate=gate, allow_drop=allow_drop, threads=threads, progress=progress,
        )  # fmt: skip
    if calibration or options.keep or options.scan:
        raise QuantizeError(
            "fp16 needs no calibration, and AutoCast itself finds the layers to keep",
            remedy="leave out --calibration, --keep and --scan",
        )
    return quantize_fp16(source, out, gate=gate, allow_drop=allow_drop, threads=threads, progress=progress)


def quantize_fp16(
    source: Path,
    out: Path,
    *,
    gate: AccuracyGate | None = None,
    allow_drop: bool = False,
    threads: int | None = None,
    progress: Progress = NO_PROGRESS,
) -> QuantizeResult:
    """Write `source` in fp16 to `out`. If the accuracy drop is too large, raise and write nothing."""
    _check_out(out)
    _, spec = load_fp32(source)
    images = portrait_crops(spec.input_size)
    progress.stage("converting to fp16")
    model = to_fp16(source, images, threads)
    drop = None
    if gate is not None:
        drop = gate.measure(source, model, progress=progress)
        model = _accept(model, drop, allow_drop=allow_drop)
    progress.stage("comparing with fp32")
    agreement = agreement_of(source, model, images, threads)
    model.save(out)
    return QuantizeResult(model, drop, [], agreement)


def quantize_int8(
    source: Path,
    calibration: Path,
    out: Path,
    *,
    options: Int8Options = INT8_DEFAULTS,
    gate: AccuracyGate | None = None,
    allow_drop: bool = False,
    threads: int | None = None,
    progress: Progress = NO_PROGRESS,
) -> QuantizeResult:
    """Write `source` in int8 to `out`. If the accuracy drop is too large, raise and write nothing.

    With a gate, groups of layers return to floating point, the most sensitive first, until the drop is acceptable;
    `allow_drop` writes the file as it is.
    """
    _check_out(out)
    calibration_set = CalibrationSet.load(calibration)
    images = calibration_set.images_bgr
    model = to_int8(source, calibration_set, options, threads=threads, progress=progress)
    sensitivity: list[Sensitivity] = []
    if options.scan or gate is not None:
        progress.stage("measuring groups of layers")
        sensitivity = scan_groups(model, images, threads)
    drop = None
    if gate is not None:
        ranked = [] if allow_drop else sensitivity
        model, drop = keep_until_accurate(
            model, ranked, lambda candidate: gate.measure(source, candidate, progress=progress)
        )
        model = _accept(model, drop, allow_drop=allow_drop)
        if not model.int8_share:
            raise QuantizeError("no layer is left in int8", remedy="calibrate on other images, or choose fp16")
    progress.stage("comparing with fp32")
    agreement = agreement_of(source, model, images[:8], threads)
    model.save(out)
    return QuantizeResult(model, drop, sensitivity if options.scan or model.spec.kept else [], agreement)


def agreement_of(source: Path, quantized: QuantizedModel, images_bgr: UInt8Array, threads: int | None = None) -> float:
    """Return the share of pixels to which both models give the same class."""
    with (
        temporary_file(quantized) as path,
        load_engine(source, runtime="onnxruntime", threads=threads) as before,
        load_engine(path, runtime="onnxruntime", threads=threads) as after,
    ):
        return float(np.mean(before.infer(images_bgr) == after.infer(images_bgr)))


def portrait_crops(size: int) -> UInt8Array:
    """Return the built-in portrait at several distances: enough to see whether values stay in the range of fp16."""
    image = read_image(PORTRAIT)
    return np.stack(
        [crop(image, RoI(PORTRAIT_ROI.centre_xy, side), size) for side in (140.0, 200.0, 240.0, 300.0, 360.0)]
    )


def _check_out(out: Path) -> None:
    if out.suffix.lower() != ".onnx":
        raise QuantizeError(f"cannot write {out}", found=out.suffix or "no suffix", remedy="name an .onnx file")


def _accept(model: QuantizedModel, drop: AccuracyDrop, *, allow_drop: bool) -> QuantizedModel:
    """Raise if the drop is too large; return the model with its F1 and the drop in its spec."""
    if not allow_drop:
        drop.check()
    matrix = drop.after.matrix
    f1 = {name: score for name, score in matrix.by_name(matrix.f1()).items() if score is not None}
    return replace(model, spec=replace(model.spec, f1=f1, f1_size=model.spec.input_size, f1_drop=drop.by_name()))
