"""Select and write a calibration set."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from edge_segface.data import Dataset, open_dataset
from edge_segface.errors import CalibrationError
from edge_segface.face.parser import FaceParser
from edge_segface.files import write_text
from edge_segface.frames import UInt8Array
from edge_segface.image_io import write_image
from edge_segface.labels import LabelSpace
from edge_segface.models import mask_space
from edge_segface.progress import NO_PROGRESS, Progress
from edge_segface.quantize.calibration.artefact import (
    MIN_IMAGES,
    CalibrationInfo,
    CalibrationSet,
    check_suffix,
    hashes,
)
from edge_segface.quantize.calibration.choose import Candidate, choose, make_candidate, min_class_pixels
from edge_segface.quantize.calibration.definition import Definition
from edge_segface.quantize.calibration.report import contact_sheet, report_text
from edge_segface.quantize.calibration.sources import LabelledCrop, frames_of, from_dataset, from_frames
from edge_segface.redaction import redact
from edge_segface.spec import ModelSpec


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """A calibration set that was written, its report, and the files: set, report and contact sheet."""

    calibration: CalibrationSet
    report: str
    files: tuple[Path, Path, Path]


def calibrate(
    parser: FaceParser,
    definition: Definition,
    out: Path,
    *,
    data: Path | None = None,
    source: str | None = None,
    seconds: float = 60,
    every: int = 10,
    skip_bad: bool = False,
    progress: Progress = NO_PROGRESS,
) -> CalibrationResult:
    """Select a calibration set and write it as `out` (.npz), with a report (.txt) and a contact sheet (.jpg) beside it.

    Images come from the dataset of the definition, in the folder `data`, or from an unlabelled `source`. A live source
    is recorded for `seconds`; of it or of a video every `every`-th frame is used.
    """
    if (source is None) == (definition.dataset is None):
        raise CalibrationError("calibration needs --dataset (with --data) or --source", remedy="give one of them")
    check_suffix(out)
    if source is None:
        dataset = _open(definition, data, parser.space, skip_bad=skip_bad, progress=progress)
        crops = from_dataset(dataset, parser, progress=progress)
        origin, labelled_by = f"{dataset.kind} {dataset.root.name} {dataset.split}", "the dataset"
    else:
        crops = from_frames(frames_of(source, seconds, every, progress=progress), parser)
        origin, labelled_by = origin_of(source), parser.spec.name
    calibration = collect(crops, parser.spec, definition, source=origin, labelled_by=labelled_by)
    report = report_text(calibration, parser.space)
    return CalibrationResult(calibration, report, _write(calibration, report, out))


def origin_of(source: str) -> str:
    """Return what a set records of its source: a file's name without its folders, an address without its secrets."""
    return redact(source) if ":" in source else Path(source).name


def collect(
    crops: Iterable[LabelledCrop], spec: ModelSpec, definition: Definition, source: str, labelled_by: str
) -> CalibrationSet:
    """Select a set from labelled crops. The same crops and seed give the same set.

    `source` and `labelled_by` are recorded in the set: where the crops come from, and who labelled them.
    """
    candidates: list[Candidate] = []
    with tempfile.TemporaryFile() as store:  # all crops may need more memory than there is
        for name, crop_bgr, labels in crops:
            candidates.append(make_candidate(name, crop_bgr, labels, spec.space))
            store.write(crop_bgr.tobytes())
        if len(candidates) < MIN_IMAGES:
            raise CalibrationError(
                "there are too few images to calibrate on",
                found=f"{len(candidates)} that are not blank",
                remedy=f"give at least {MIN_IMAGES}",
            )
        selected = choose(
            candidates,
            definition.count,
            spec.space,
            size=spec.input_size,
            seed=definition.seed,
            strategy=definition.strategy,
        )
        images = np.stack([_read_crop(store, index, spec.input_size) for index in selected])
    pixels = np.stack([candidates[index].pixels for index in selected])
    info = CalibrationInfo(
        input_size=spec.input_size,
        warp=spec.warp,
        label_space=spec.label_space,
        source=source,
        strategy=definition.strategy,
        seed=definition.seed,
        names=tuple(candidates[index].name for index in selected),
        sha256=hashes(images),
        candidates=len(candidates),
        pictures_with=_by_part(spec.space, (pixels >= min_class_pixels(spec.input_size)).sum(axis=0)),
        pixels_of=_by_part(spec.space, pixels.sum(axis=0)),
        labelled_by=labelled_by,
    )
    return CalibrationSet(images, info)


def _open(
    definition: Definition, data: Path | None, space: LabelSpace, *, skip_bad: bool, progress: Progress
) -> Dataset:
    kind = str(definition.dataset)
    labels = mask_space(definition.labels, kind, default=space)
    assumed = definition.labels is None
    return open_dataset(kind, data, definition.split, labels, assumed=assumed, skip_bad=skip_bad, progress=progress)


def _read_crop(store: IO[bytes], index: int, size: int) -> UInt8Array:
    store.seek(index * size * size * 3)
    return np.frombuffer(store.read(size * size * 3), dtype=np.uint8).reshape(size, size, 3)


def _by_part(space: LabelSpace, counts: npt.NDArray[np.int64]) -> dict[str, int]:
    return {part: int(count) for part, count in zip(space.parts, counts, strict=True)}


def _write(calibration: CalibrationSet, report: str, out: Path) -> tuple[Path, Path, Path]:
    text, sheet = out.with_suffix(".txt"), out.with_suffix(".jpg")
    calibration.save(out)
    write_text(report, text)
    write_image(contact_sheet(calibration), sheet)
    return out, text, sheet
