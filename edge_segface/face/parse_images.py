"""Parsing many images into files; a bad one does not stop the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_segface.draw import side_by_side
from edge_segface.engine.base import check_has_labels
from edge_segface.errors import EdgeSegfaceError, ModelError, OutputError
from edge_segface.face.parser import FaceParser
from edge_segface.files import make_folder
from edge_segface.image_io import read_image, write_image
from edge_segface.labels import LabelSpace
from edge_segface.progress import NO_PROGRESS, Progress

OVERLAY_SUFFIX = ".overlay.jpg"


@dataclass
class ParseSummary:
    """The class-id files that were written, and the images that failed with their errors."""

    written: list[Path] = field(default_factory=list)
    failures: dict[Path, EdgeSegfaceError] = field(default_factory=dict)


def parse_images(
    parser: FaceParser,
    images: Sequence[Path],
    out: Path,
    *,
    space: LabelSpace,
    draw: bool = True,
    progress: Progress = NO_PROGRESS,
) -> ParseSummary:
    """Write `out`/NAME.png, whose pixels are ids of `space`, and with `draw` NAME.overlay.jpg, for each image NAME.

    Parts that `space` lacks go where `lost_parts` says. Images with the same stem keep their suffix and are numbered,
    so that none overwrites another.
    """
    check_has_labels(parser.spec)
    if parser.spec.warp is not None:
        raise ModelError(
            f"{parser.spec.name} needs five landmarks for every image, which this command does not have",
            remedy="call FaceParser from Python with landmarks=",
        )
    stems = output_stems(images)
    inputs = {path.resolve() for path in images}
    suffixes = (".png", OVERLAY_SUFFIX) if draw else (".png",)
    if overwritten := [
        stem + suffix for stem in stems for suffix in suffixes if (out / (stem + suffix)).resolve() in inputs
    ]:
        raise OutputError(
            f"the results would overwrite {len(overwritten)} of the images", found=overwritten[0],
            remedy="name another folder for --out",
        )  # fmt: skip
    make_folder(out)
    summary = ParseSummary()
    progress.stage("parsing", len(images))
    for path, stem in zip(images, stems, strict=True):
        try:
            image = read_image(path)
            class_map = parser(image).to_space(space, drop_missing=True)
            ids = out / f"{stem}.png"
            write_image(class_map.labels, ids)
            if draw:
                write_image(side_by_side(image, class_map), out / (stem + OVERLAY_SUFFIX))
            summary.written.append(ids)
        except EdgeSegfaceError as error:
            summary.failures[path] = error
            progress.note(f"error: {error}")
        progress.advance()
    return summary


def output_stems(images: Sequence[Path]) -> list[str]:
    """Return one distinct name per image."""
    stems = Counter(path.stem for path in images)
    names: dict[str, None] = {}
    for path in images:
        name = path.stem if stems[path.stem] == 1 else path.name
        number = 1
        while name in names:
            number += 1
            name = f"{path.name}-{number}"
        names[name] = None
    return list(names)
