"""Faces in whole frames, found by the parser itself: one wide look, one close look at all that may be a face.

The wide look is one batch of the whole frame and four tiles of it. In it a face may be thirty pixels tall, enough to
show skin but hardly eyes. So every piece of skin of some size is looked at closely, again in one batch, and counts as a
face if eyes, nose or mouth are seen in it then.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from edge_segface.face.parser import FaceParser
from edge_segface.frames import ClassMap, RoI, UInt8Array, crop
from edge_segface.regions import Box, Face, find_faces, overlap

WIDE_MIN_SIDE = 8  # pixels of the network's input, in the wide look
CLOSE_MIN_SHARE = 0.2  # of the network's input, that a face takes in a close look at it
SAME_FACE = 0.3  # overlap of boxes; faces that touch make one candidate, and come apart in the close look
MAX_CANDIDATES = 12
TILE = 0.62  # side of a tile, of the longer side of the picture
SAME_CANDIDATE = 0.6


@dataclass
class FaceFinder:
    """Finds the faces of a picture.

    `most` bounds what a frame full of skin-coloured walls can cost; without `tiles` only the whole frame is looked at,
    which is a fifth of the work and loses some small faces.
    """

    parser: FaceParser
    most: int = MAX_CANDIDATES
    tiles: bool = True

    def __call__(self, image_bgr: UInt8Array) -> list[Face]:
        """Largest first, their boxes in pixels of the picture."""
        whole = RoI.whole((image_bgr.shape[0], image_bgr.shape[1]))
        wide = [whole, *tiles_of(image_bgr.shape[:2])] if self.tiles else [whole]
        seen_wide = self._look(image_bgr, wide, WIDE_MIN_SIDE, kinds=0)
        candidates = without_overlaps(list(itertools.chain.from_iterable(seen_wide)))[: self.most]
        if not candidates:
            return []
        close = self._look(
            image_bgr, [face.roi for face in candidates], round(CLOSE_MIN_SHARE * self.parser.spec.input_size), kinds=2
        )
        found: list[Face] = []
        for candidate, seen in zip(candidates, close, strict=True):
            face = max(seen, key=lambda face: overlap(face.box_xyxy, candidate.box_xyxy), default=None)
            if face is None or overlap(face.box_xyxy, candidate.box_xyxy) < SAME_FACE:
                continue
            if all(overlap(face.box_xyxy, other.box_xyxy) < SAME_FACE for other in found):
                found.append(face)
        return sorted(found, key=lambda face: -face.height)

    def _look(self, image_bgr: UInt8Array, rois: list[RoI], min_side: int, kinds: int) -> list[list[Face]]:
        """The faces in each RoI, in pixels of the picture."""
        size = self.parser.spec.input_size
        squares = self.parser.parse_squares(np.stack([crop(image_bgr, roi, size) for roi in rois]))
        return [
            [
                Face(in_frame(face.box_xyxy, roi, size), face.score)
                for face in find_faces(ClassMap(labels, self.parser.space), min_side=min_side, kinds=kinds)
            ]
            for labels, roi in zip(squares, rois, strict=True)
        ]


def tiles_of(size_hw: tuple[int, ...]) -> list[RoI]:
    """Four squares that overlap and together cover the picture, and show it about half as large again."""
    height, width = size_hw
    side = TILE * max(height, width)
    places = [(side / 2 - 0.5, length - side / 2 - 0.5) for length in (width, height)]
    return [RoI((x, y), side) for y in places[1] for x in places[0]]


def without_overlaps(faces: list[Face]) -> list[Face]:
    """Largest first, without those that are all but one of the others."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.height):
        if all(overlap(face.box_xyxy, other.box_xyxy) < SAME_CANDIDATE for other in kept):
            kept.append(face)
    return kept


def in_frame(box: Box, roi: RoI, size: int) -> Box:
    """A box of an upright RoI's square, in pixels of the picture that the RoI was cut from."""
    scale = roi.side / size
    left, top = (roi.corners_xy()[0] + 0.5).tolist()
    return left + box[0] * scale, top + box[1] * scale, left + box[2] * scale, top + box[3] * scale
