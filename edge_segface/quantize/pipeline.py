"""From a model in fp32 to one in lower precision that may be let out: lower, look, judge, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_segface.assets import PORTRAIT
from edge_segface.assets.portrait import PORTRAIT_ROI
from edge_segface.errors import QuantizeError
from edge_segface.frames import RoI, UInt8Array, crop
from edge_segface.image_io import read_image
from edge_segface.models import load_engine
from edge_segface.quantize.accuracy_gate import AccuracyDrop, AccuracyGate
from edge_segface.quantize.calibration.artefact import CalibrationSet
from edge_segface.quantize.modelopt import (
    PERCENTILE,
    Method,
    QuantizedModel,
    Rest,
    load_float,
    on_disk,
    to_fp16,
    to_int8,
)
from edge_segface.quantize.sensitivity import Sensitivity, keep_until
from edge_segface.quantize.sensitivity import scan as scan_groups

OnWork = Callable[[str, int], None]  # what is being done, and how many pictures it takes


def no_progress(words: str, count: int) -> None:
    """For whom no progress is shown."""


@dataclass(frozen=True, eq=False)
class ReducedPrecision:
    lowered: QuantizedModel
    verdict: AccuracyDrop | None
    ranked: list[Sensitivity]
    agreement: float  # share of pixels with the class that fp32 gives


def reduce_precision(
    source: Path,
    precision: str,
    calibration_path: Path | None,
    out: Path,
    *,
    method: Method = "entropy",
    percentile: float = PERCENTILE,
    rest: Rest = "fp16",
    keep: Sequence[str] = (),
    judge: AccuracyGate | None = None,
    scan: bool = False,
    allow_drop: bool = False,
    threads: int | None = None,
    on_work: OnWork = no_progress,
) -> ReducedPrecision:
    """Writes `out`, or raises and writes nothing."""
    if out.suffix.lower() != ".onnx":
        raise QuantizeError(f"cannot write {out}", found=out.suffix or "no suffix", remedy="name an .onnx file")
    _, spec = load_float(source)
    if precision == "fp16" and (calibration_path or keep or scan):
        raise QuantizeError(
            "fp16 needs no calibration, and AutoCast itself finds what to keep", remedy="leave them out"
        )
    ranked: list[Sensitivity] = []
    if precision == "fp16":
        images = portrait_crops(spec.input_size)
        on_work("converting", 0)
        lowered = to_fp16(source, images, threads)
    else:
        if calibration_path is None:
            raise QuantizeError("int8 needs a calibration set", remedy="make one with: edge-segface calibrate")
        calibration = CalibrationSet.load(calibration_path)
        images = calibration.images_bgr
        on_work("calibrating", len(images))
        lowered = to_int8(
            source,
            calibration,
            method=method,
            percentile=percentile,
            rest=rest,
            keep=keep,
            threads=threads,
            on_picture=lambda: on_work("calibrating", -1),
        )
        lowered = replace(lowered, spec=replace(lowered.spec, kept=dict.fromkeys(keep, "asked for") or None))
        if scan or judge is not None:
            on_work("measuring groups of layers", 0)
            ranked = scan_groups(lowered, images, threads)
    verdict = None
    if judge is not None:
        on_work("scoring", 0)
        if allow_drop:
            verdict = judge(source, lowered)
        else:
            lowered, verdict = keep_until(lowered, ranked, lambda candidate: judge(source, candidate))
        matrix = verdict.after.matrix
        f1 = {name: score for name, score in matrix.by_name(matrix.f1()).items() if score is not None}
        lowered = replace(lowered, spec=replace(lowered.spec, f1=f1, f1_drop=verdict.by_name()))
        if not allow_drop:
            verdict.check()
        if precision == "int8" and not lowered.int8_share:
            raise QuantizeError("nothing is left in int8", remedy="calibrate on other pictures, or take fp16")
    on_work("comparing", 0)
    agreement = agreement_of(source, lowered, images[:8], threads)
    lowered.save(out)
    return ReducedPrecision(lowered, verdict, ranked if scan or (lowered.spec.kept and ranked) else [], agreement)


def agreement_of(source: Path, lowered: QuantizedModel, images_bgr: UInt8Array, threads: int | None) -> float:
    with (
        on_disk(lowered) as path,
        load_engine(source, threads=threads) as one,
        load_engine(path, threads=threads) as other,
    ):
        before, after = one.infer(images_bgr), other.infer(images_bgr)
    return float(np.mean(before == after))


def portrait_crops(size: int) -> UInt8Array:
    """The built-in picture from near and far: enough to see whether numbers stay in the range of fp16."""
    image = read_image(PORTRAIT)
    return np.stack(
        [crop(image, RoI(PORTRAIT_ROI.centre_xy, side), size) for side in (140.0, 200.0, 240.0, 300.0, 360.0)]
    )
