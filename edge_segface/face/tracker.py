"""Tracking faces from frame to frame with the parser and the finder; no other network is needed.

In every frame the crops of all tracked faces form one batch. Each face's next crop follows from its class map. A search
for new faces rides along: one or two wide looks in the same batch, then close looks at candidates. Searches are limited
per second, and so is their cost.

`update` does all of a frame at once. `plan` and `finish` are its two halves; the engine runs between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count, cycle
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_segface.errors import ModelError
from edge_segface.face.detector import Detector
from edge_segface.face.finder import (
    CLOSE_MIN_SHARE,
    FINER,
    SAME_FACE,
    FaceFinder,
    best_match,
    box_in_crop,
    box_in_frame,
    grid_rois,
    without_overlaps,
)
from edge_segface.face.parser import FaceParser
from edge_segface.face.stabiliser import Stabiliser
from edge_segface.face.track import Track
from edge_segface.frames import RoI, UInt8Array, check_image, crop
from edge_segface.regions import Box, Face, head_box, overlap
from edge_segface.timing import Stopwatch

MAX_FACES = 4
PATIENCE = 5  # frames without the face after which its track ends
SEARCHES_PER_S = {"lost": 15.0, "idle": 3.0, "tracking": 3.0}
IDLE_AFTER_S = 10.0  # without a face
CLOSE_LOOKS = 3  # candidates verified per search
YOUNG_KINDS = 2.0  # kinds of inner parts that keep a new track alive
KEEP_KINDS = 1.0  # kinds of inner parts that keep an older track alive


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """A tracked face in one frame: its labels (s, s), in the square `roi` of the frame."""

    number: int
    face: Face
    roi: RoI
    labels: UInt8Array


@dataclass(frozen=True, eq=False)
class Plan:
    """What to parse of a frame: the squares of tracked faces, of candidates to confirm, and of wide looks, in turn."""

    image: UInt8Array
    tracks: list[Track]
    candidates: list[Face]
    rois: list[RoI]
    crops: UInt8Array  # n s s 3, one for each of the rois
    is_search: bool = False
    most: int = CLOSE_LOOKS  # candidates to keep of a search


class FaceTracker:
    """Finds faces, and keeps their numbers from frame to frame."""

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
                remedy="use a model without a warp, such as edge-256",
            )
        self.parser, self.max_faces = parser, max_faces
        self.tracks: list[Track] = []
        self.searches = 0
        self._finder, self._detector, self._stabiliser = FaceFinder(parser), detector, stabiliser
        self._numbers = count(1)
        self._size_hw = (0, 0)
        self._searched_at_s = self._seen_at_s = -math.inf
        self._candidates: list[Face] = []  # found by wide looks, to be confirmed
        self._unfinished = 0  # plans

    @property
    def is_tracking(self) -> bool:
        return bool(self.tracks)

    def update(
        self, image: UInt8Array, now_s: float, watch: Stopwatch, *, frames_independent: bool = False
    ) -> list[TrackedFace]:
        """Return the faces of a BGR frame taken at `now_s`. Independent frames are searched whole, each by itself."""
        plan: Plan | None = self.plan(image, now_s, watch, frames_independent=frames_independent)
        faces: list[TrackedFace] = []
        while plan is not None:
            faces += self.finish(plan, self._infer(plan.crops, watch), watch)
            plan = self.plan_confirmation(image, watch)
        return faces

    def plan(self, image: UInt8Array, now_s: float, watch: Stopwatch, *, frames_independent: bool = False) -> Plan:
        """Return what to parse of a frame, whose results go to `finish`.

        The next frame may be planned before this one is finished: the crops of tracked faces then follow from the frame
        before this one, and from how fast the faces move.
        """
        check_image(image, "the frame")
        size_hw = image.shape[0], image.shape[1]
        if size_hw != self._size_hw or frames_independent:
            self._restart(size_hw)
        searching = self._search_is_due(now_s) or frames_independent
        self.searches += searching
        wide = self._wide_rois(all_tiles=frames_independent) if searching and self._detector is None else []
        close, self._candidates = self._candidates, []
        rois = [track.ahead(self._unfinished) for track in self.tracks]
        rois += [face.roi for face in close] + wide
        self._unfinished += 1
        most = 2 * self.max_faces if frames_independent else CLOSE_LOOKS
        return Plan(image, list(self.tracks), close, rois, self._crops(image, rois, watch), searching, most)

    def plan_confirmation(self, image: UInt8Array, watch: Stopwatch) -> Plan | None:
        """Return close looks at what wide ones showed, if anything. Without this call, the next plan has them."""
        if not self._candidates:
            return None
        close, self._candidates = self._candidates, []
        rois = [face.roi for face in close]
        self._unfinished += 1
        return Plan(image, [], close, rois, self._crops(image, rois, watch))

    def finish(self, plan: Plan, results: dict[str, npt.NDArray[Any]], watch: Stopwatch) -> list[TrackedFace]:
        """Return the faces of a planned frame, given what the engine returned for its crops."""
        self.abandon()
        tracked, confirmed = len(plan.tracks), len(plan.tracks) + len(plan.candidates)
        with watch.stage("track"):
            faces = self._follow(plan, results)
            close = zip(
                plan.candidates, plan.rois[tracked:confirmed], results["labels"][tracked:confirmed], strict=True
            )
            faces += self._confirmed(close)
            if wide := plan.rois[confirmed:]:
                found = self._finder.candidates(wide, results["labels"][confirmed:])
                self._candidates = self._untracked(found)[: plan.most]
            elif plan.is_search and self._detector is not None:
                self._candidates = self._untracked(without_overlaps(self._detector(plan.image)))[: plan.most]
        return faces

    def abandon(self) -> None:
        """Forget the earliest plan that is not finished, for which there are no results."""
        self._unfinished -= 1

    def _restart(self, size_hw: tuple[int, int]) -> None:
        """Begin with a new source or frame size: all tracks end."""
        self._size_hw, self._candidates = size_hw, []
        for track in list(self.tracks):
            self._drop(track)
        side = min(FINER * max(size_hw), *size_hw)
        self._tiles = grid_rois(size_hw, side)
        # A tile of half the side after each: it shows smaller heads, and dense crowds a few at a time.
        self._next_tile = chain.from_iterable(zip(cycle(self._tiles), cycle(grid_rois(size_hw, side / 2))))

    def _search_is_due(self, now_s: float) -> bool:
        if self.tracks or not math.isfinite(self._seen_at_s):
            self._seen_at_s = now_s
        if len(self.tracks) >= self.max_faces:
            return False
        state = "tracking" if self.tracks else "lost" if now_s - self._seen_at_s < IDLE_AFTER_S else "idle"
        if now_s - self._searched_at_s < 1 / SEARCHES_PER_S[state] - 1e-6:
            return False
        self._searched_at_s = now_s
        return True

    def _wide_rois(self, *, all_tiles: bool) -> list[RoI]:
        """Return the whole frame and the next tile, or all of them; while faces are tracked, one of these at a time."""
        whole = RoI.whole(self._size_hw)
        if self.tracks:
            return [whole if self.searches % 5 == 0 else next(self._next_tile)]
        return [whole, *(self._tiles if all_tiles else [next(self._next_tile)])]

    def _crops(self, image: UInt8Array, rois: Sequence[RoI], watch: Stopwatch) -> UInt8Array:
        size = self.parser.spec.input_size
        if not rois:
            return np.empty((0, size, size, 3), np.uint8)
        with watch.stage("crop"):
            return np.stack([crop(image, roi, size) for roi in rois])

    def _infer(self, crops: UInt8Array, watch: Stopwatch) -> dict[str, npt.NDArray[Any]]:
        if not len(crops):
            return {"labels": np.empty(crops.shape[:3], np.uint8)}
        with watch.stage("infer"):
            return self.parser.engine.infer_all(crops)

    def _follow(self, plan: Plan, results: dict[str, npt.NDArray[Any]]) -> list[TrackedFace]:
        """Update the tracks from the labels of their crops, and return their faces."""
        min_side = round(CLOSE_MIN_SHARE / 2 * self.parser.spec.input_size)
        followed: list[TrackedFace] = []
        for index, track in enumerate(plan.tracks):
            if track not in self.tracks:  # it ended after the frame was planned
                continue
            roi, labels = plan.rois[index], results["labels"][index]
            kinds = YOUNG_KINDS if track.young else KEEP_KINDS
            face = best_match(self._finder.faces_in(roi, labels, min_side=min_side, kinds=kinds), track.face)
            duplicate = face is not None and any(
                overlap(face.box_xyxy, other.face.box_xyxy) > SAME_FACE for other in followed
            )
            if face is None or duplicate:
                track.missed += 1
                track.predict()
                if duplicate or track.young or track.missed > PATIENCE:
                    self._drop(track)
                    continue
            else:
                track.follow(face, self._head(labels, roi, face))
            if self._stabiliser is not None:
                square = plan.crops[index]
                labels = self._stabiliser(track.number, roi, square, labels, results.get("logits"), index)
            followed.append(TrackedFace(track.number, track.face, roi, labels))
        return followed

    def _drop(self, track: Track) -> None:
        self.tracks.remove(track)
        if self._stabiliser is not None:
            self._stabiliser.forget(track.number)

    def _head(self, labels: UInt8Array, roi: RoI, face: Face) -> Box:
        size = self.parser.spec.input_size
        return box_in_frame(head_box(labels, self.parser.space, box_in_crop(face.box_xyxy, roi, size)), roi, size)

    def _untracked(self, faces: list[Face]) -> list[Face]:
        """Return the faces that no track covers."""
        tracked = [track.face.box_xyxy for track in self.tracks]
        return [face for face in faces if not any(covers(box, face.box_xyxy) for box in tracked)]

    def _confirmed(self, close: Iterable[tuple[Face, RoI, UInt8Array]]) -> list[TrackedFace]:
        """Start a track for each candidate that its close look confirms."""
        started = []
        for candidate, roi, labels in close:
            face = self._finder.confirm(candidate, roi, labels)
            if face is None or len(self.tracks) >= self.max_faces or not self._untracked([face]):
                continue
            track = Track(next(self._numbers), face, face.roi)
            self.tracks.append(track)
            started.append(TrackedFace(track.number, face, roi, labels))
        return started


def covers(box: Box, other: Box) -> bool:
    """Return whether the second box belongs to the same face as the first, or to a part of it."""
    x, y = (other[0] + other[2]) / 2, (other[1] + other[3]) / 2
    inside = box[0] <= x <= box[2] and box[1] <= y <= box[3]
    return inside or overlap(box, other) >= SAME_FACE
