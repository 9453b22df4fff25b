"""Finding faces in whole images with the parser itself, in two steps.

Wide looks at the whole image and at tiles of it show each piece of skin that may be a face. There a face may be thirty
pixels tall: enough for skin, hardly for eyes. A close look, a crop around each candidate, confirms those with eyes,
nose or mouth.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edge_segface.assets import MIN_FACE_SCORE
from edge_segface.face.look import Look, look_at
from edge_segface.face_score import FaceScore, score_for
from edge_segface.frames import ClassMap, RoI, UInt8Array
from edge_segface.regions import Box, Face, find_faces, overlap

if TYPE_CHECKING:
    from edge_segface.face.parser import FaceParser

WIDE_MIN_SIDE = 8  # smallest candidate in a wide look, in pixels of the network's input
CLOSE_MIN_SHARE = 0.2  # smallest face in a close look, relative to the network's input
MIN_KINDS = 1.0  # kinds of inner parts that a close look must show at least
SAME_FACE = 0.3  # least overlap of two boxes of one face
SAME_CANDIDATE = (
    0.6  # overlap from which candidates are merged; touching faces share one, and separate in the close look
)
MIN_FACE = 60.0  # height in pixels of the smallest face to look for
MIN_FACE_SHARE = 0.025  # ... and relative to the longer side of a large image
WIDE_FACE = 24.0  # height in pixels of the network's input at which a wide look shows a face reliably
TILE_OVERLAP = 0.25  # of neighbouring tiles, relative to their side
FINER = 0.62  # side of finer tiles, relative to that of the tiles, or of the image, that they follow
PORTRAIT = 0.75  # side of a face's RoI, relative to the image, from which the image is a portrait of that face


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A face, and the look that confirmed it."""

    face: Face
    look: Look


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The faces of an image, largest first, and all wide looks at it; the first look is the whole image.

    `portrait`: one face fills the image, so that the look at the whole image is the best crop of it.
    """

    faces: list[FoundFace]
    looks: list[Look]
    portrait: bool = False


@dataclass
class FaceFinder:
    """Finds the faces of an image.

    Examples:
        >>> from edge_segface.assets import PORTRAIT
        >>> from edge_segface.face.parser import FaceParser
        >>> from edge_segface.image_io import read_image
        >>> finder = FaceFinder(FaceParser("edge-256"))
        >>> faces = finder(read_image(PORTRAIT))
        >>> faces[0].score > 0.5, faces[0].roi.side > 100
        (True, True)

    The image is searched in tiles so small that faces of `min_face` pixels are found. Faces of less than `min_score`,
    a probability, are left out. Without `tiles`, only the whole image is searched; that is fast and misses small ones.
    """

    parser: FaceParser
    min_face: float = MIN_FACE
    min_score: float = MIN_FACE_SCORE
    score: FaceScore | None = None  # default: that of the model
    tiles: bool = True

    def __call__(self, image_bgr: UInt8Array) -> list[Face]:
        """Return the faces, largest first, with boxes in pixels of the image."""
        return [found.face for found in self.search(image_bgr).faces]

    def search(self, image_bgr: UInt8Array) -> SearchResult:
        """Find the faces, and keep the looks that showed them."""
        size_hw = image_bgr.shape[0], image_bgr.shape[1]
        looks = look_at(image_bgr, [RoI.whole(size_hw)], self.parser)
        if (face := self._portrait_face(looks[0])) is not None:
            return SearchResult([FoundFace(face, looks[0])], looks, portrait=True)
        faces: list[FoundFace] = []
        for tiles in self._tilings(size_hw):
            looks += look_at(image_bgr, tiles, self.parser)
            if faces := self._confirmed(image_bgr, looks):
                break
        return SearchResult(faces, looks)

    def _portrait_face(self, whole: Look) -> Face | None:
        """Return the face of a portrait: the only candidate, and a large one that shows its parts."""
        candidates = self.candidates([whole.roi], [whole.labels])
        if len(candidates) != 1 or candidates[0].roi.side < PORTRAIT * whole.roi.side:
            return None
        return self.confirm(candidates[0], whole.roi, whole.labels)

    def _tilings(self, size_hw: tuple[int, int]) -> list[list[RoI]]:
        """Return the tiles that show the smallest faces, none where a look at the whole image does, and finer ones.

        The finer ones are for images in which nothing is found; dense crowds are such.
        """
        if not self.tiles:
            return [[]]
        longest = max(size_hw)
        side = max(self.min_face, MIN_FACE_SHARE * longest) / WIDE_FACE * self.parser.spec.input_size
        return [grid_rois(size_hw, side) if side < longest else [], grid_rois(size_hw, FINER * min(side, longest))]

    def _confirmed(self, image_bgr: UInt8Array, looks: Sequence[Look]) -> list[FoundFace]:
        candidates = self.candidates([look.roi for look in looks], [look.labels for look in looks])
        found: list[FoundFace] = []
        close = look_at(image_bgr, [face.roi for face in candidates], self.parser)
        for candidate, look in zip(candidates, close, strict=True):
            for face in self.confirm_all(candidate, look.roi, look.labels):
                if all(overlap(face.box_xyxy, other.face.box_xyxy) < SAME_FACE for other in found):
                    found.append(FoundFace(face, look))
        return sorted(found, key=lambda each: -each.face.height)

    def candidates(self, rois: Sequence[RoI], labels: Iterable[UInt8Array]) -> list[Face]:
        """Return everything in wide looks that may be a face, largest first."""
        faces = (
            self.faces_in(roi, one, min_side=WIDE_MIN_SIDE, kinds=0) for roi, one in zip(rois, labels, strict=True)
        )
        return without_overlaps(itertools.chain.from_iterable(faces))

    def confirm(self, candidate: Face, roi: RoI, labels: UInt8Array) -> Face | None:
        """Return the face in a close look that matches the candidate best, if there is any."""
        return best_match(self._close_faces(roi, labels), candidate)

    def confirm_all(self, candidate: Face, roi: RoI, labels: UInt8Array) -> list[Face]:
        """Return the faces in a close look that the candidate is made of: one, or several that touch."""
        left, top, right, bottom = candidate.box_xyxy
        faces = self._close_faces(roi, labels)
        inside = [face for face in faces if left <= face.centre_xy[0] <= right and top <= face.centre_xy[1] <= bottom]
        if len(inside) == 1 and overlap(inside[0].box_xyxy, candidate.box_xyxy) < SAME_FACE:
            return []
        return inside

    def _close_faces(self, roi: RoI, labels: UInt8Array) -> list[Face]:
        min_side = round(CLOSE_MIN_SHARE * self.parser.spec.input_size)
        faces = self.faces_in(roi, labels, min_side=min_side, kinds=MIN_KINDS)
        return [face for face in faces if face.score >= self.min_score]

    def faces_in(self, roi: RoI, labels: UInt8Array, *, min_side: int, kinds: float) -> list[Face]:
        """Return the faces in the labels of an RoI, with boxes in pixels of the image."""
        score = self.score or score_for(self.parser.spec.name)
        found = find_faces(ClassMap(labels, self.parser.space), min_side=min_side, kinds=kinds, score=score)
        return [replace(face, box_xyxy=box_in_frame(face.box_xyxy, roi, labels.shape[0])) for face in found]


def best_match(faces: Iterable[Face], other: Face) -> Face | None:
    """Return the face whose box overlaps the other's most."""
    return max(faces, key=lambda face: overlap(face.box_xyxy, other.box_xyxy), default=None)


def grid_rois(size_hw: tuple[int, int], side: float) -> list[RoI]:
    """Return overlapping squares of one size that together cover an image."""
    centres = []
    for length in reversed(size_hw):
        steps = max(0, math.ceil((length - side) / (side * (1 - TILE_OVERLAP))))
        middles = np.linspace(side / 2, length - side / 2, steps + 1) if steps else np.array([length / 2])
        centres.append((middles - 0.5).tolist())
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
