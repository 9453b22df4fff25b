"""The built-in clip: the person of the bundled portrait moves in front of a drawn room."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count

import cv2
import numpy as np

from edge_segface.assets import PORTRAIT
from edge_segface.camera.sources.room import draw_room
from edge_segface.frames import FloatArray, UInt8Array
from edge_segface.image_io import read_image

FPS = 30
FACE_BOX_XYXY = (128.0, 60.0, 234.0, 190.0)  # in the portrait: brow to chin, ear to ear
FACE_CENTRE_XY = (181.0, 135.0)
PORTRAIT_HEIGHT = 352

# The outline of the person in the portrait. At the left and at the bottom it continues beyond the portrait.
OUTLINE_XY = (
    (232, 31), (204, 18), (183, 16), (170, 21), (161, 21), (149, 29), (145, 35), (131, 42), (112, 58), (109, 68),
    (111, 99), (114, 106), (126, 116), (129, 127), (138, 132), (139, 147), (112, 150), (96, 158), (86, 168), (82, 179),
    (81, 187), (70, 190), (71, 203), (59, 215), (48, 225), (33, 234), (16, 253), (8, 266), (-4, 286), (-16, 306),
    (-25, 328), (-30, 352), (-32, 380), (321, 380), (318, 343), (316, 328), (313, 311), (308, 291), (303, 276),
    (296, 262), (277, 244), (268, 240), (259, 233), (255, 219), (248, 207), (228, 183), (212, 170), (214, 157),
    (219, 149), (222, 137), (231, 133), (251, 110), (257, 90), (252, 58), (243, 41),
)  # fmt: skip
MARGIN = 40  # around the portrait, in its pixels, for the rest of the left arm and for the shadow
EDGE = 1.1  # softness of the outline
SHADOW = 0.2  # darkest part of the shadow on the wall
SHADOW_BLUR = 11.0


class DemoSource:
    """An endless clip in which a face moves, leans and changes size, as in front of a desk's camera.

    A frame depends on its number alone, and `truth` gives the position of the face in it. With `leaves`, the face is
    out of sight for two of every ten seconds.
    """

    live = False
    frames_independent = False
    frame_name: str | None = None
    fps = float(FPS)

    def __init__(self, size_wh: tuple[int, int] = (640, 480), *, leaves: bool = False) -> None:
        self.size_wh = size_wh
        self.description = f"the built-in clip, {size_wh[0]}x{size_wh[1]}"
        self._leaves = leaves
        self._person = person_bgra()
        self._room = draw_room(size_wh)
        self._numbers: Iterator[int] = count()
        width, height = size_wh
        self._warped = np.empty((height, width, 4), np.uint8)  # buffers of `read`
        self._colour, self._behind = np.empty_like(self._room), np.empty_like(self._room)

    def read(self) -> UInt8Array:
        matrix = self.frame_from_portrait(next(self._numbers))
        matrix[:, 2] -= matrix[:, :2].sum(axis=1) * MARGIN
        person, colour, behind = self._warped, self._colour, self._behind
        cv2.warpAffine(self._person, matrix, self.size_wh, dst=person, flags=cv2.INTER_LINEAR)
        cv2.cvtColor(cv2.bitwise_not(cv2.extractChannel(person, 3)), cv2.COLOR_GRAY2BGR, dst=behind)
        cv2.multiply(self._room, behind, dst=behind, scale=1 / 255)
        cv2.cvtColor(person, cv2.COLOR_BGRA2BGR, dst=colour)
        return np.asarray(cv2.add(colour, behind), dtype=np.uint8)

    def close(self) -> None:
        pass

    def truth(self, number: int) -> tuple[float, float, float, float]:
        """Return the bounding box (x0, y0, x1, y1) of the face in frame `number`; it may lie outside the frame."""
        left, top, right, bottom = FACE_BOX_XYXY
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        matrix = self.frame_from_portrait(number)
        in_frame = corners @ matrix[:, :2].T + matrix[:, 2]
        (x0, y0), (x1, y1) = in_frame.min(axis=0), in_frame.max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)

    def frame_from_portrait(self, number: int) -> FloatArray:
        """Return the affine matrix (2, 3) from portrait to frame coordinates for frame `number`.

        The person leans from the hips, so the head goes where it tilts, and comes lower when it comes closer. The
        portrait's lower edge stays below the frame.
        """
        width, height = self.size_wh
        time_s = number / FPS
        near = 0.5 + 0.35 * math.sin(0.8 * time_s) + 0.15 * math.sin(1.9 * time_s)  # 0 to 1
        lean = math.radians(6 * math.sin(1.1 * time_s) + 3 * math.sin(2.3 * time_s + 1))
        scale = height / PORTRAIT_HEIGHT * (0.84 + 0.46 * near)
        x = width / 2 + 0.1 * width * math.sin(0.7 * time_s) + 0.35 * height * math.sin(lean)
        y = height * (0.6 - 0.1 * near + 0.012 * math.sin(2.9 * time_s))
        if self._leaves:  # moves out to the left, stays away for two seconds, and comes back
            phase = time_s % 10
            away = min(max(phase - 5, 0), max(9 - phase, 0), 1)
            x -= 1.6 * width * away * away * (3 - 2 * away)
        cosine, sine = scale * math.cos(lean), scale * math.sin(lean)
        centre_x, centre_y = FACE_CENTRE_XY
        return np.array(
            [
                [cosine, -sine, x - cosine * centre_x + sine * centre_y],
                [sine, cosine, y - sine * centre_x - cosine * centre_y],
            ]
        )


def person_bgra() -> UInt8Array:
    """Return the person with shadow, colours multiplied by alpha, in the portrait with `MARGIN` on all sides."""
    sides = (MARGIN, MARGIN, MARGIN, MARGIN)
    portrait = cv2.copyMakeBorder(read_image(PORTRAIT), *sides, cv2.BORDER_REFLECT)  # the suit goes on
    outline = np.array(OUTLINE_XY, np.int32) + MARGIN
    filled = cv2.fillPoly(np.zeros(portrait.shape[:2], np.uint8), [outline], 1)
    inside = cv2.erode(filled, np.ones((3, 3), np.uint8)).astype(np.float32)  # leaves no rim of the old backdrop
    opaque = cv2.GaussianBlur(inside, (0, 0), EDGE)
    shadow = SHADOW * cv2.GaussianBlur(inside, (0, 0), SHADOW_BLUR)
    alpha = opaque + (1 - opaque) * shadow
    return np.asarray(np.rint(np.dstack([portrait * opaque[..., None], 255 * alpha])), dtype=np.uint8)
