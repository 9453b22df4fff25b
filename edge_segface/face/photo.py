"""All faces of one image: found, each parsed in a square of its own, and merged into one class map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_segface.assets import MIN_FACE_SCORE
from edge_segface.errors import InputError
from edge_segface.face.extend import context_looks, extend
from edge_segface.face.finder import FaceFinder, FoundFace, box_in_crop, box_in_frame
from edge_segface.face.look import Look, look_at
from edge_segface.face.merge import merged_labels
from edge_segface.face.result import ParsedFace, ParsedImage
from edge_segface.face.track import crop_around
from edge_segface.face_score import score_for
from edge_segface.frames import ClassMap, RoI, UInt8Array, check_image
from edge_segface.regions import find_faces, head_box

if TYPE_CHECKING:
    from edge_segface.face.parser import FaceParser, Landmarks

SAME_PLACE = 0.05  # shift relative to the side, or change of the logarithm of the side, of squares that show the same


def parse_photo(
    parser: FaceParser, image_bgr: UInt8Array, *, max_faces: int | None = None, min_score: float = MIN_FACE_SCORE
) -> ParsedImage:
    """Find the faces of an image and parse each, largest first; a portrait is parsed as a whole."""
    check_image(image_bgr, "the image")
    if max_faces is not None and max_faces < 1:
        raise InputError("the number of faces must be 1 or more", found=max_faces)
    size_hw = image_bgr.shape[0], image_bgr.shape[1]
    search = FaceFinder(parser, min_score=min_score).search(image_bgr)
    found = search.faces[:max_faces]
    if search.portrait:
        squares = [each.look for each in found]
        labels = merged_labels(squares, size_hw)
    else:
        squares = _best_squares(parser, image_bgr, found)
        labels = merged_labels(squares, size_hw)
        extend(labels, squares, context_looks(image_bgr, squares, search.looks, parser), parser.space)
    faces = [
        ParsedFace(each.face, square.roi, square.labels, parser.space, image_bgr, square.logits)
        for each, square in zip(found, squares, strict=True)
    ]
    return ParsedImage(labels, parser.space, image_bgr, tuple(faces), parser.spec.name)


def parse_square(
    parser: FaceParser, image_bgr: UInt8Array, roi: RoI | None = None, landmarks: Landmarks | None = None
) -> ParsedImage:
    """Parse one square of an image, by default all of it, as one face; it is reported if its parts are seen."""
    check_image(image_bgr, "the image")
    roi = roi or RoI.whole((image_bgr.shape[0], image_bgr.shape[1]))
    labels = parser.parse_rois([image_bgr], [roi], None if landmarks is None else [landmarks])[0]
    found = find_faces(ClassMap(labels, parser.space), score=score_for(parser.spec.name))[:1]
    faces = [replace(face, box_xyxy=box_in_frame(face.box_xyxy, roi, len(labels))) for face in found]
    return ParsedImage(
        merged_labels([Look(roi, labels)], (image_bgr.shape[0], image_bgr.shape[1])),
        parser.space,
        image_bgr,
        tuple(ParsedFace(face, roi, labels, parser.space, image_bgr) for face in faces),
        parser.spec.name,
    )


def _best_squares(parser: FaceParser, image_bgr: UInt8Array, found: Sequence[FoundFace]) -> list[Look]:
    """Return a square around each face and its hair, as in training; what the search has parsed is used again."""
    squares = [each.look for each in found]
    targets = {
        index: target
        for index, each in enumerate(found)
        if not _same_place(target := _square_around(parser, each), each.look.roi)
    }
    for index, look in zip(targets, look_at(image_bgr, list(targets.values()), parser), strict=True):
        squares[index] = look
    return squares


def _square_around(parser: FaceParser, found: FoundFace) -> RoI:
    size, roi = parser.spec.input_size, found.look.roi
    head = head_box(found.look.labels, parser.space, box_in_crop(found.face.box_xyxy, roi, size))
    return crop_around(found.face, box_in_frame(head, roi, size))


def _same_place(one: RoI, other: RoI) -> bool:
    shift = math.dist(one.centre_xy, other.centre_xy) / other.side
    return shift < SAME_PLACE and abs(math.log(one.side / other.side)) < SAME_PLACE
