"""One tracked face, and how its crop moves from frame to frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_segface.frames import RoI
from edge_segface.regions import ROI_GROWTH, Box, Face

YOUNG = 10  # frames in which a new face must show as many kinds of parts as the look that found it
STILL = 0.08  # shift, relative to the crop's side, from which the crop follows at once
STEADY = 0.15  # change of the logarithm of the size from which the crop follows at once
QUIET = 0.01  # shift, relative to the crop's side, that the crop ignores
MAX_GROWTH = 2.8  # side of the crop relative to the longer side of the face
MARGIN = 0.1  # around the head, relative to the longer side of the face


@dataclass(eq=False)
class Track:
    """A tracked face: where it was found last, and the crop to parse next."""

    number: int
    face: Face
    roi: RoI
    velocity_xy: tuple[float, float] = (0.0, 0.0)  # pixels per frame, if it moves fast
    hits: int = 1
    missed: int = 0

    @property
    def young(self) -> bool:
        return self.hits < YOUNG

    def follow(self, face: Face, head: Box) -> None:
        """Move to a new position: small changes are smoothed, being mostly noise; large ones are followed at once."""
        target, side = crop_around(face, head), self.roi.side
        x, y = (new - old for new, old in zip(target.centre_xy, self.roi.centre_xy, strict=True))
        distance = math.hypot(x, y) / side
        (now_x, now_y), (then_x, then_y) = face.centre_xy, self.face.centre_xy
        velocity = now_x - then_x, now_y - then_y
        self.velocity_xy = velocity if math.hypot(*velocity) > STILL / 2 * side else (0.0, 0.0)
        if distance < QUIET and abs(math.log(target.side / side)) < 2 * QUIET:
            target, x, y = self.roi, 0.0, 0.0  # the same pixels again, so that nothing shimmers
        shift = min(1.0, max(0.25, distance / STILL))
        growth = min(1.0, max(0.15, abs(math.log(target.side / side)) / STEADY))
        centre = (self.roi.centre_xy[0] + shift * x, self.roi.centre_xy[1] + shift * y)
        self.roi = RoI(centre, side * (target.side / side) ** growth)
        self.predict()
        self.face, self.hits, self.missed = face, self.hits + 1, 0

    def predict(self) -> None:
        """Move the crop to where the face will be in the next frame at its current velocity."""
        self.roi = self.ahead(1)

    def ahead(self, frames: int) -> RoI:
        """Return the crop for so many frames after the next one."""
        if not frames:
            return self.roi
        x, y = (place + frames * speed for place, speed in zip(self.roi.centre_xy, self.velocity_xy, strict=True))
        return RoI((x, y), self.roi.side)


def crop_around(face: Face, head: Box) -> RoI:
    """Return a crop as large as in training, larger where hair or a hat would be cut, up to a limit."""
    usual = face.roi
    face_side = usual.side / ROI_GROWTH
    half, (x, y) = usual.side / 2, usual.centre_xy
    head_left, head_top, head_right = (edge - 0.5 for edge in head[:3])  # in pixel centres, like the crop's
    left, right = min(x - half, head_left - MARGIN * face_side), max(x + half, head_right + MARGIN * face_side)
    top, bottom = min(y - half, head_top - MARGIN * face_side), y + half  # long hair below is not included
    side = min(max(right - left, bottom - top), MAX_GROWTH * face_side)
    return RoI(((left + right) / 2, top + side / 2), side)
