"""Finding faces in whole frames with the parser itself, in two steps.

A wide look, one batch of the whole frame and four tiles, shows each piece of skin that may be a face. There a face may
be thirty pixels tall: enough for skin, hardly for eyes. A close look, one batch of crops around the candidates,
confirms those with eyes, nose or mouth.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_segface.face.parser import FaceParser
from edge_segface.frames import ClassMap, RoI, UInt8Array, crop
from edge_segface.regions import Box, Face, find_faces, overlap

WIDE_MIN_SIDE = 8  # smallest candidate in a wide look, in pixels of the network's input
CLOSE_MIN_SHARE = 0.2  # smallest face in a close look, relative to the network's input
CLOSE_KINDS = 2  # kinds of inner parts that confirm a face
SAME_FACE = 0.3  # least overlap of two boxes of one face
SAME_CANDIDATE = (
    0.6  # overlap from which candidates are merged; touching faces share one, and separate in the close look
)
MAX_CANDIDATES = 12
TILE = 0.62  # side of a tile relative to the longer side of the image


@dataclass
class FaceFinder:
    """Finds the faces of an image.

    Examples:
        >>> from edge_segface.assets import PORTRAIT
        >>> from edge_segface.image_io import read_image
        >>> finder = FaceFinder(FaceParser("edge-256"))
        >>> faces = finder(read_image(PORTRAIT))
        >>> round(faces[0].score, 1), faces[0].roi.side > 100
        (1.0, True)

    `most` limits the cost of images full of skin-coloured walls. Without `tiles` only the whole image is searched,
    which is a fifth of the work and misses some small faces.
    """

    parser: FaceParser
    most: int = MAX_CANDIDATES
    tiles: bool = True

    def __call__(self, image_bgr: UInt8Array) -> list[Face]:
        """Return the faces, largest first, with boxes in pixels of the image."""
        size_hw = image_bgr.shape[0], image_bgr.shape[1]
        wide = [RoI.whole(size_hw), *(tile_rois(size_hw) if self.tiles else ())]
        candidates = self.candidates(wide, self._parse(image_bgr, wide))[: self.most]
        if not candidates:
            return []
        rois = [face.roi for face in candidates]
        found: list[Face] = []
        for candidate, roi, labels in zip(candidates, rois, self._parse(image_bgr, rois), strict=True):
            face = self.confirm(candidate, roi, labels)
            if face is None or overlap(face.box_xyxy, candidate.box_xyxy) < SAME_FACE:
                continue
            if all(overlap(face.box_xyxy, other.box_xyxy) < SAME_FACE for other in found):
                found.append(face)
        return sorted(found, key=lambda face: -face.height)

    def candidates(self, rois: Sequence[RoI], labels: Iterable[UInt8Array]) -> list[Face]:
        """Return everything in wide looks that may be a face, largest first."""
        faces = (
            self.faces_in(roi, one, min_side=WIDE_MIN_SIDE, kinds=0) for roi, one in zip(rois, labels, strict=True)
        )
        return without_overlaps(itertools.chain.from_iterable(faces))

    def confirm(self, candidate: Face, roi: RoI, labels: UInt8Array) -> Face | None:
        """Return the face in a close look that matches the candidate best, if there is any."""
        min_side = round(CLOSE_MIN_SHARE * self.parser.spec.input_size)
        return best_match(self.faces_in(roi, labels, min_side=min_side, kinds=CLOSE_KINDS), candidate)

    def faces_in(self, roi: RoI, labels: UInt8Array, *, min_side: int, kinds: float) -> list[Face]:
        """Return the faces in the labels of an RoI, with boxes in pixels of the image."""
        found = find_faces(ClassMap(labels, self.parser.space), min_side=min_side, kinds=kinds)
        return [Face(box_in_frame(face.box_xyxy, roi, labels.shape[0]), face.score) for face in found]

    def _parse(self, image_bgr: UInt8Array, rois: Sequence[RoI]) -> UInt8Array:
        size = self.parser.spec.input_size
        return self.parser.parse_crops(np.stack([crop(image_bgr, roi, size) for roi in rois]))


def best_match(faces: Iterable[Face], other: Face) -> Face | None:
    """Return the face whose box overlaps the other's most."""
    return max(faces, key=lambda face: overlap(face.box_xyxy, other.box_xyxy), default=None)


def tile_rois(size_hw: tuple[int, ...]) -> list[RoI]:
    """Return four overlapping squares that together cover an image and magnify it by about a half."""
    height, width = size_hw
    side = TILE * max(height, width)
    centres = [(side / 2 - 0.5, length - side / 2 - 0.5) for length in (width, height)]
    return [RoI((x, y), side) for y in centres[1] for x in centres[0]]


def without_overlaps(faces: Iterable[Face]) -> list[Face]:
    """Return the faces, largest first, without near duplicates."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.height):
        if all(overlap(face.box_xyxy, other.box_xyxy) < SAME_CANDIDATE for other in kept):
            kept.append(face)
    return kept


def box_in_frame(box: Box, roi: RoI, size: int) -> Box:
    """Map a box from an upright RoI's crop of side `size` to the frame."""
    scale = roi.side / size
    left, top = (roi.corners_xy()[0] + 0.5).tolist()
    return left + box[0] * scale, top + box[1] * scale, left + box[2] * scale, top + box[3] * scale


def box_in_crop(box: Box, roi: RoI, size: int) -> Box:
    """Map a box from the frame to an upright RoI's crop of side `size`."""
    scale = size / roi.side
    left, top = (roi.corners_xy()[0] + 0.5).tolist()
    return (box[0] - left) * scale, (box[1] - top) * scale, (box[2] - left) * scale, (box[3] - top) * scale
