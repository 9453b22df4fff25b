"""Parsing many images into files; a bad one does not stop the rest."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from edge_segface.assets import MIN_FACE_SCORE
from edge_segface.coco import CocoFile
from edge_segface.draw import colour, side_by_side
from edge_segface.engine.base import check_has_labels
from edge_segface.errors import EdgeSegfaceError, ModelError, OutputError
from edge_segface.face.parser import FaceParser
from edge_segface.face.result import ParsedImage
from edge_segface.files import make_folder, write_text
from edge_segface.frames import UInt8Array
from edge_segface.image_io import distinct_stems, read_image, write_image
from edge_segface.labels import LabelSpace
from edge_segface.progress import NO_PROGRESS, Progress
from edge_segface.soft_edges import as_uint8

POLYGONS_FILE = "polygons.json"
TINY_FACE = 40  # height in pixels below which a face shows few of its parts
AHEAD = 1  # images that are read, and results that are written, while another image is parsed


@dataclass(frozen=True)
class ParseOptions:
    """Which faces to parse, and which files to write for each image beside NAME.png and NAME.json."""

    space: LabelSpace
    whole: bool = False
    max_faces: int | None = None
    min_score: float = MIN_FACE_SCORE
    overlay: bool = True  # NAME.overlay.jpg
    colour_map: bool = False  # NAME.colour.png
    sheet: bool = False  # NAME.sheet.jpg: image, overlay and legend
    crops: bool = False  # NAME.face1.jpg, ...: the square around each face
    polygons: bool = False  # one polygons.json (COCO) for all images
    alpha: tuple[str, ...] = ()  # NAME.PART.alpha.png: the soft mask of a part

    def suffixes(self) -> list[str]:
        """The ends of the names of the files that each image gets, except for its faces' crops."""
        chosen = {
            ".png": True,
            ".json": True,
            ".overlay.jpg": self.overlay,
            ".colour.png": self.colour_map,
            ".sheet.jpg": self.sheet,
        }
        return [suffix for suffix, wanted in chosen.items() if wanted] + [f".{part}.alpha.png" for part in self.alpha]


@dataclass
class ParseSummary:
    """What became of the images, in their order."""

    written: list[Path] = field(default_factory=list)  # class-id files
    face_heights: dict[Path, list[float]] = field(default_factory=dict)  # in pixels of the image, tallest first
    failures: dict[Path, EdgeSegfaceError] = field(default_factory=dict)

    @property
    def without_face(self) -> list[Path]:
        return [path for path, heights in self.face_heights.items() if not heights]

    @property
    def tiny(self) -> list[Path]:
        """Images in which even the largest face is too small to show its parts."""
        return [path for path, heights in self.face_heights.items() if heights and heights[0] < TINY_FACE]


def parse_images(
    parser: FaceParser,
    images: Sequence[Path],
    out: Path,
    options: ParseOptions,
    *,
    progress: Progress = NO_PROGRESS,
) -> ParseSummary:
    """Write the files of `options` for each image into a folder; NAME.png holds ids of the options' label space.

    Parts that the label space lacks go where `lost_parts` says. Images with the same stem keep their suffix and are
    numbered, so that none overwrites another.
    """
    check_has_labels(parser.spec)
    if parser.spec.warp is not None:
        raise ModelError(
            f"{parser.spec.name} needs five landmarks for every image, which this command does not have",
            remedy="call FaceParser from Python with landmarks=",
        )
    parser.space.ids_of(*options.alpha)
    stems = distinct_stems(images)
    _check_images_are_kept(images, [out / (stem + suffix) for stem in stems for suffix in options.suffixes()])
    make_folder(out)
    summary, coco = ParseSummary(), CocoFile(options.space)
    progress.stage("parsing", len(images))
    with ThreadPoolExecutor(1) as readers, ThreadPoolExecutor(1) as writers:
        writing: deque[tuple[Path, Future[Path]]] = deque()
        for (path, reading), stem in zip(_read_ahead(images, readers), stems, strict=True):
            with _failures_noted(summary, path, progress):
                result = parser(
                    reading.result(), whole=options.whole, max_faces=options.max_faces, min_score=options.min_score
                )
                converted = result.to_space(options.space, drop_missing=True)
                writing.append((path, writers.submit(write_result, result, converted, path, out / stem, options)))
                summary.face_heights[path] = [face.face.height for face in result.faces]
                if options.polygons:
                    coco.add(path.name, converted)
            while len(writing) > AHEAD:
                _finish(*writing.popleft(), summary, progress)
            progress.advance()
        for path, written in writing:
            _finish(path, written, summary, progress)
        if options.polygons:
            coco.write(out / POLYGONS_FILE)
    return summary


def write_result(result: ParsedImage, converted: ParsedImage, image: Path, stem: Path, options: ParseOptions) -> Path:
    """Write the files of one image, whose names begin with `stem`; return the one with the class ids.

    `converted` is the result in the label space of the files; drawings and alphas are of the model's own.
    """
    ids = stem.with_name(stem.name + ".png")
    write_image(converted.labels, ids)
    squares = [face.roi for face in result.faces]
    drawings = {
        ".overlay.jpg": result.plot if options.overlay else None,
        ".colour.png": partial(colour, converted) if options.colour_map else None,
        ".sheet.jpg": partial(side_by_side, result.image_bgr, result, squares=squares) if options.sheet else None,
    }
    for suffix, draw in drawings.items():
        if draw is not None:
            write_image(draw(), stem.with_name(stem.name + suffix))
    for number, face in enumerate(result.faces if options.crops else (), 1):
        write_image(face.crop(), stem.with_name(f"{stem.name}.face{number}.jpg"))
    for part in options.alpha:
        write_image(as_uint8(result.alpha(part)), stem.with_name(f"{stem.name}.{part}.alpha.png"))
    record = {"image": image.name, **converted.to_dict()}
    write_text(json.dumps(record, indent=2) + "\n", stem.with_name(stem.name + ".json"))
    return ids


def _check_images_are_kept(images: Sequence[Path], outputs: Sequence[Path]) -> None:
    inputs = {os.path.realpath(path) for path in images}
    if overwritten := [path.name for path in outputs if os.path.realpath(path) in inputs]:
        raise OutputError(
            f"the results would overwrite {len(overwritten)} of the images", found=overwritten[0],
            remedy="name another folder for --out",
        )  # fmt: skip


def _read_ahead(images: Sequence[Path], pool: ThreadPoolExecutor) -> Iterator[tuple[Path, Future[UInt8Array]]]:
    """Yield each image being read, while the next ones are read too."""
    waiting = deque(images)
    reading: deque[tuple[Path, Future[UInt8Array]]] = deque()
    while waiting or reading:
        while waiting and len(reading) <= AHEAD:
            path = waiting.popleft()
            reading.append((path, pool.submit(read_image, path)))
        yield reading.popleft()


def _finish(path: Path, writing: Future[Path], summary: ParseSummary, progress: Progress) -> None:
    with _failures_noted(summary, path, progress):
        summary.written.append(writing.result())


@contextmanager
def _failures_noted(summary: ParseSummary, path: Path, progress: Progress) -> Iterator[None]:
    try:
        yield
    except EdgeSegfaceError as error:
        summary.failures[path] = error
        progress.note(f"error: {error}")
