"""The built-in clip: a portrait filmed by a simulated moving camera."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count

import cv2
import numpy as np

from edge_segface.assets import PORTRAIT
from edge_segface.frames import FloatArray, UInt8Array
from edge_segface.image_io import read_image

FPS = 30
FACE_BOX_XYXY = (128.0, 60.0, 234.0, 190.0)  # in the portrait: brow to chin, ear to ear
FACE_CENTRE_XY = (181.0, 135.0)
PORTRAIT_HEIGHT = 352


class DemoSource:
    """An endless clip of the built-in portrait, in which the face moves, turns and changes size.

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
        self._portrait = read_image(PORTRAIT)
        self._numbers: Iterator[int] = count()

    def read(self) -> UInt8Array:
        matrix = self.frame_from_portrait(next(self._numbers))
        frame = cv2.warpAffine(
            self._portrait, matrix, self.size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(frame, dtype=np.uint8)

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
        """Return the affine matrix (2, 3) from portrait to frame coordinates for frame `number`."""
        width, height = self.size_wh
        time_s = number / FPS
        scale = height / PORTRAIT_HEIGHT * (1.05 + 0.3 * math.sin(0.9 * time_s))
        angle = math.radians(12 * math.sin(1.3 * time_s))
        x = width / 2 + 0.16 * width * math.sin(0.7 * time_s)
        y = height / 2 + 0.1 * height * math.sin(1.1 * time_s)
        if self._leaves:  # moves out to the left, stays away for two seconds, and comes back
            phase = time_s % 10
            x -= 1.6 * width * min(max(phase - 5, 0), max(9 - phase, 0), 1)
        cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
        centre_x, centre_y = FACE_CENTRE_XY
        return np.array(
            [
                [cosine, -sine, x - cosine * centre_x + sine * centre_y],
                [sine, cosine, y - sine * centre_x - cosine * centre_y],
            ]
        )
