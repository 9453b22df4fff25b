"""Follows faces from frame to frame by what the parser itself sees; no other network is needed.

Every frame, the squares around the faces that are followed make one batch. Each face's next square follows from its own
class map. A search for faces that are not followed yet rides along: a wide look or two in the same batch, and a close
look at what may be a face. How often it does is bounded by the clock, so its cost per second is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.errors import ModelError
from edge_segface.face.finder import CLOSE_MIN_SHARE, SAME_FACE, WIDE_MIN_SIDE, in_frame, tiles_of, without_overlaps
from edge_segface.face.parser import FaceParser
from edge_segface.face.stabiliser import Stabiliser
from edge_segface.frames import ClassMap, RoI, UInt8Array, check_image, crop, paste
from edge_segface.labels import LabelSpace
from edge_segface.regions import ROI_GROWTH, Box, Face, find_faces, head_box, overlap
from edge_segface.timing import Stopwatch

MAX_FACES = 4
PATIENCE = 5  # frames in which a face may not be seen before it is given up
SEARCHES_PER_S = {"lost": 15.0, "tracking": 3.0}
CLOSE_LOOKS = 3
YOUNG = 10  # frames in which a new face must show two kinds of parts, as in the look that found it
KEEP_KINDS = 1.0  # what must be seen of it later
STILL = 0.08  # of the square's side: what a face moves by between frames without being followed at once
STEADY = 0.15  # so for the logarithm of its size
QUIET = 0.01  # what the square does not follow at all, of its side
MOST_GROWTH = 2.8  # of the square over the longer side of the face
MARGIN = 0.1  # around the head, of the same

Detector = Callable[[UInt8Array], list[Face]]


@dataclass(eq=False)
class Track:
    """A face that is followed: where it was seen, and the square to look at next."""

    number: int
    face: Face
    roi: RoI
    pace_xy: tuple[float, float] = (0.0, 0.0)  # by which it moves from frame to frame, if it moves far
    seen: int = 1
    missed: int = 0

    @property
    def young(self) -> bool:
        return self.seen < YOUNG

    def follow(self, face: Face, head: Box) -> None:
        """Small changes are smoothed, as they are mostly the parser's; large ones are followed at once."""
        wanted, side = square_around(face, head), self.roi.side
        x, y = (new - old for new, old in zip(wanted.centre_xy, self.roi.centre_xy, strict=True))
        far = math.hypot(x, y) / side
        (now_x, now_y), (then_x, then_y) = middle_of(face), middle_of(self.face)
        pace = now_x - then_x, now_y - then_y
        self.pace_xy = pace if math.hypot(*pace) > STILL / 2 * side else (0.0, 0.0)
        if far < QUIET and abs(math.log(wanted.side / side)) < 2 * QUIET:
            wanted, x, y = self.roi, 0.0, 0.0  # the same pixels again, so that nothing shimmers
        move = min(1.0, max(0.25, far / STILL))
        grow = min(1.0, max(0.15, abs(math.log(wanted.side / side)) / STEADY))
        centre = (self.roi.centre_xy[0] + move * x, self.roi.centre_xy[1] + move * y)
        self.roi = RoI(centre, side * (wanted.side / side) ** grow)
        self.go_on()
        self.face, self.seen, self.missed = face, self.seen + 1, 0

    def go_on(self) -> None:
        """To where it will be in the next frame, if it moves as it did."""
        x, y = self.roi.centre_xy
        self.roi = RoI((x + self.pace_xy[0], y + self.pace_xy[1]), self.roi.side)


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """What one frame showed of one face: its labels, in the square `roi` of the frame."""

    number: int
    face: Face
    roi: RoI
    labels: UInt8Array


class FaceTracker:
    def __init__(
        self,
        parser: FaceParser,
        *,
        max_faces: int = MAX_FACES,
        detector: Detector | None = None,
        stabiliser: Stabiliser | None = None,
    ) -> None:
        if parser.spec.warp is not None:
            raise ModelError(
                f"{parser.spec.name} needs five landmarks for every face, which the camera loop does not have",
                remedy="take a model without a warp, such as edge-256",
            )
        self.parser, self.max_faces = parser, max_faces
        self.tracks: list[Track] = []
        self.searches = 0
        self._detector, self._stabiliser = detector, stabiliser
        self._numbers = count(1)
        self._size_hw: tuple[int, ...] = ()
        self._searched_at_s = -math.inf

    def update(self, image: UInt8Array, now_s: float, watch: Stopwatch, *, alone: bool = False) -> list[TrackedFace]:
        """The faces of a BGR picture taken at `now_s`; one that stands `alone` is searched as a whole, at once."""
        check_image(image, "the frame")
        if image.shape[:2] != self._size_hw or alone:
            self._start(image.shape[:2])
        searching = self._search_is_due(now_s) or alone
        wide = self._wide_looks(tiles=4 if alone else None) if searching and self._detector is None else []
        looked_at = [track.roi for track in self.tracks]
        self.searches += searching
        squares, results = self._look(image, [*looked_at, *wide], watch)
        with watch.stage("track"):
            parsed = self._follow(looked_at, squares, results)
            candidates = self._candidates(wide, results["labels"][len(looked_at) :]) if wide else []
            if searching and self._detector is not None:
                candidates = self._new(self._detector(image))
        if candidates:
            most = 2 * self.max_faces if alone else CLOSE_LOOKS
            parsed += self._confirm(image, candidates[:most], watch)
        return parsed

    def _start(self, size_hw: tuple[int, ...]) -> None:
        """Of a source, or of another size of its pictures: what was followed is gone."""
        self._size_hw = size_hw
        for track in list(self.tracks):
            self._drop(track)
        self._wide = cycle(tiles_of(size_hw))

    def _search_is_due(self, now_s: float) -> bool:
        if len(self.tracks) >= self.max_faces:
            return False
        if now_s - self._searched_at_s < 1 / SEARCHES_PER_S["tracking" if self.tracks else "lost"] - 1e-6:
            return False
        self._searched_at_s = now_s
        return True

    def _wide_looks(self, tiles: int | None) -> list[RoI]:
        """The whole frame, and tiles of it in turn."""
        whole = RoI.whole((self._size_hw[0], self._size_hw[1]))
        if self.tracks:
            return [whole if self.searches % 5 == 0 else next(self._wide)]
        return [whole, *(next(self._wide) for _ in range(tiles or 1))]

    def _look(
        self, image: UInt8Array, rois: Sequence[RoI], watch: Stopwatch
    ) -> tuple[UInt8Array, dict[str, npt.NDArray[Any]]]:
        size = self.parser.spec.input_size
        if not rois:
            return np.empty((0, size, size, 3), np.uint8), {"labels": np.empty((0, size, size), np.uint8)}
        with watch.stage("crop"):
            squares = np.stack([crop(image, roi, size) for roi in rois])
        with watch.stage("infer"):
            results = self.parser.engine.infer_all(squares)
        return squares, results

    def _follow(self, rois: list[RoI], squares: UInt8Array, results: dict[str, npt.NDArray[Any]]) -> list[TrackedFace]:
        parsed: list[TrackedFace] = []
        for index, (track, roi) in enumerate(zip(list(self.tracks), rois, strict=True)):
            labels = results["labels"][index]
            seen = self._faces(labels, roi, CLOSE_MIN_SHARE / 2, 2 if track.young else KEEP_KINDS)
            face = max(seen, key=lambda face: overlap(face.box_xyxy, track.face.box_xyxy), default=None)
            twin = face is not None and any(overlap(face.box_xyxy, one.face.box_xyxy) > SAME_FACE for one in parsed)
            if face is None or twin:
                track.missed += 1
                track.go_on()
                if twin or track.young or track.missed > PATIENCE:
                    self._drop(track)
                    continue
            else:
                track.follow(face, self._head(labels, roi, face))
            if self._stabiliser is not None:
                labels = self._stabiliser(track.number, roi, squares[index], labels, results.get("logits"), index)
            parsed.append(TrackedFace(track.number, track.face, roi, labels))
        return parsed

    def _drop(self, track: Track) -> None:
        self.tracks.remove(track)
        if self._stabiliser is not None:
            self._stabiliser.forget(track.number)

    def _faces(self, labels: UInt8Array, roi: RoI, min_share: float, kinds: float) -> list[Face]:
        size = self.parser.spec.input_size
        found = find_faces(ClassMap(labels, self.parser.space), min_side=round(min_share * size), kinds=kinds)
        return [Face(in_frame(face.box_xyxy, roi, size), face.score) for face in found]

    def _head(self, labels: UInt8Array, roi: RoI, face: Face) -> Box:
        size = self.parser.spec.input_size
        left, top = roi.corners_xy()[0] + 0.5
        scale = size / roi.side
        x0, y0, x1, y1 = face.box_xyxy
        in_square = ((x0 - left) * scale, (y0 - top) * scale, (x1 - left) * scale, (y1 - top) * scale)
        return in_frame(head_box(labels, self.parser.space, in_square), roi, size)

    def _candidates(self, wide: list[RoI], labels: npt.NDArray[Any]) -> list[Face]:
        """What may be a face in wide looks: there it may be too small to show more than skin."""
        size = self.parser.spec.input_size
        seen = [
            face
            for roi, one in zip(wide, labels, strict=True)
            for face in self._faces(one, roi, WIDE_MIN_SIDE / size, 0)
        ]
        return self._new(seen)

    def _new(self, faces: list[Face]) -> list[Face]:
        """Those that are not followed yet, the largest first."""
        followed = [track.face.box_xyxy for track in self.tracks]
        return [face for face in without_overlaps(faces) if not any(covers(box, face.box_xyxy) for box in followed)]

    def _confirm(self, image: UInt8Array, candidates: list[Face], watch: Stopwatch) -> list[TrackedFace]:
        """A close look at each; what shows eyes, nose or mouth is a face, and is followed from now on."""
        rois = [face.roi for face in candidates]
        _, results = self._look(image, rois, watch)
        parsed = []
        with watch.stage("track"):
            for candidate, roi, labels in zip(candidates, rois, results["labels"], strict=True):
                seen = self._faces(labels, roi, CLOSE_MIN_SHARE, 2)
                face = max(seen, key=lambda face: overlap(face.box_xyxy, candidate.box_xyxy), default=None)
                if face is None or len(self.tracks) >= self.max_faces:
                    continue
                if any(covers(track.face.box_xyxy, face.box_xyxy) for track in self.tracks):
                    continue
                track = Track(next(self._numbers), face, face.roi)
                self.tracks.append(track)
                parsed.append(TrackedFace(track.number, face, roi, labels))
        return parsed


def class_map_of(faces: Sequence[TrackedFace], size_hw: tuple[int, ...], space: LabelSpace) -> ClassMap:
    """All faces of a frame in one map; where squares overlap, what the larger face shows comes first."""
    labels: UInt8Array = np.zeros(size_hw, dtype=np.uint8)
    for face in sorted(faces, key=lambda face: face.roi.side):
        square_over(face, labels)
    return ClassMap(labels, space)


def square_over(face: TrackedFace, labels: UInt8Array) -> None:
    """Pastes a face without wiping out what its square shows of a neighbour's."""
    left, top, right, bottom = face.roi.bounds_xyxy((labels.shape[0], labels.shape[1]))
    if right <= left or bottom <= top:
        return
    before = labels[top:bottom, left:right].copy()
    paste(face.labels, face.roi, labels)
    if before.any():
        after = labels[top:bottom, left:right]
        np.copyto(after, before, where=after == 0)


def middle_of(face: Face) -> tuple[float, float]:
    left, top, right, bottom = face.box_xyxy
    return (left + right) / 2, (top + bottom) / 2


def square_around(face: Face, head: Box) -> RoI:
    """As large as in training, and larger where hair or a hat would be cut, up to a bound."""
    usual = face.roi
    long = usual.side / ROI_GROWTH
    half, (x, y) = usual.side / 2, usual.centre_xy
    head_left, head_top, head_right = (edge - 0.5 for edge in head[:3])  # of pixel centres, as the square's are
    left, right = min(x - half, head_left - MARGIN * long), max(x + half, head_right + MARGIN * long)
    top, bottom = min(y - half, head_top - MARGIN * long), y + half  # hair that falls far down is let go
    side = min(max(right - left, bottom - top), MOST_GROWTH * long)
    return RoI(((left + right) / 2, top + side / 2), side)


def covers(box: Box, other: Box) -> bool:
    """Whether the second box is of the same face as the first, or of a part of it."""
    x, y = (other[0] + other[2]) / 2, (other[1] + other[3]) / 2
    inside = box[0] <= x <= box[2] and box[1] <= y <= box[3]
    return inside or overlap(box, other) >= SAME_FACE


def open_detector(path: Path, threshold: float = 0.7) -> Detector:
    """OpenCV's FaceDetectorYN with a model file of the user's, such as YuNet."""
    try:
        network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), threshold)
        network.detect(np.zeros((320, 320, 3), dtype=np.uint8))  # whether it is what it should be shows only now
    except cv2.error as error:
        raise ModelError(
            f"{path} is no model for OpenCV's FaceDetectorYN", found=str(error).strip().splitlines()[-1]
        ) from error

    def detect(image_bgr: UInt8Array) -> list[Face]:
        network.setInputSize((image_bgr.shape[1], image_bgr.shape[0]))
        _, rows = network.detect(image_bgr)
        return (
            [] if rows is None else [Face((x, y, x + w, y + h), s) for x, y, w, h, *_, s in rows.astype(float).tolist()]
        )

    return detect
