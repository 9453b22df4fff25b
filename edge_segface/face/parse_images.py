"""Pictures in, id maps and overlays out; one bad file does not stop the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_segface.draw import side_by_side
from edge_segface.engine.base import check_has_labels
from edge_segface.errors import EdgeSegfaceError, ModelError, OutputError
from edge_segface.face.parser import FaceParser
from edge_segface.files import make_folder
from edge_segface.image_io import read_image, write_image
from edge_segface.labels import LabelSpace

OVERLAY_SUFFIX = ".overlay.jpg"


@dataclass
class ParseSummary:
    written: list[Path] = field(default_factory=list)
    failures: dict[Path, EdgeSegfaceError] = field(default_factory=dict)


def parse_images(
    parser: FaceParser,
    pictures: Sequence[Path],
    out: Path,
    *,
    space: LabelSpace,
    draw: bool = True,
    on_done: Callable[[EdgeSegfaceError | None], None],
) -> ParseSummary:
    """For each picture NAME: `out`/NAME.png, whose pixels are ids of `space`, and with `draw` NAME.overlay.jpg.

    What `space` lacks goes where `lost_parts` says. Pictures of one stem in different folders or formats keep their
    suffix and are numbered, so that none overwrites another.
    """
    check_has_labels(parser.spec)
    if parser.spec.warp is not None:
        raise ModelError(
            f"{parser.spec.name} needs five landmarks for every picture, which this command does not have",
            remedy="call FaceParser from Python with landmarks=",
        )
    stems = output_stems(pictures)
    inputs = {picture.resolve() for picture in pictures}
    suffixes = (".png", OVERLAY_SUFFIX) if draw else (".png",)
    if overwritten := [
        stem + suffix for stem in stems for suffix in suffixes if (out / (stem + suffix)).resolve() in inputs
    ]:
        raise OutputError(
            f"the results would overwrite {len(overwritten)} of the pictures", found=overwritten[0],
            remedy="name another folder for --out",
        )  # fmt: skip
    make_folder(out)
    summary = ParseSummary()
    for picture, stem in zip(pictures, stems, strict=True):
        failure: EdgeSegfaceError | None = None
        try:
            image = read_image(picture)
            class_map = parser(image).to_space(space, drop_missing=True)
            ids = out / f"{stem}.png"
            write_image(class_map.labels, ids)
            if draw:
                write_image(side_by_side(image, class_map), out / (stem + OVERLAY_SUFFIX))
            summary.written.append(ids)
        except EdgeSegfaceError as error:
            failure = summary.failures[picture] = error
        on_done(failure)
    return summary


def output_stems(pictures: Sequence[Path]) -> list[str]:
    """One name per picture, no two alike."""
    stems = Counter(picture.stem for picture in pictures)
    names: dict[str, None] = {}
    for picture in pictures:
        name = picture.stem if stems[picture.stem] == 1 else picture.name
        number = 1
        while name in names:
            number += 1
            name = f"{picture.name}-{number}"
        names[name] = None
    return list(names)
