"""Moving pictures and their labels together. Labels are looked up at the nearest pixel, pictures are antialiased."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.data.dataset import Points
from edge_segface.frames import UInt8Array

Matrix = npt.NDArray[np.float64]  # (2, 3): from coordinates of the source to those of the target, at pixel centres
Colour = tuple[float, float, float]

UNSEEN = (0.0, 0.0, 0.0)


def similarity_matrix(
    centre_xy: Points, at_xy: tuple[float, float], scale: float, angle_deg: float, mirror: bool = False
) -> Matrix:
    """Turns (clockwise as seen), scales and maybe mirrors around `centre_xy`, which then lies at `at_xy`."""
    angle = np.radians(angle_deg)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirror:
        turn = turn @ np.diag([-1.0, 1.0])
    return np.column_stack((turn, np.asarray(at_xy) - turn @ np.asarray(centre_xy)))


def warp_points(points_xy: Points, matrix: Matrix) -> Points:
    moved: Points = points_xy @ matrix[:, :2].T + matrix[:, 2]
    return moved


def warp_image(
    image: UInt8Array, matrix: Matrix, size_wh: tuple[int, int], outside: Colour | None = UNSEEN
) -> UInt8Array:
    """`outside` is the colour beyond the picture, or None to mirror it there."""
    image, matrix = _shrunk(image, matrix)
    return _warped(image, matrix, size_wh, cv2.INTER_LINEAR, outside)


def warp_labels(labels: UInt8Array, matrix: Matrix, size_wh: tuple[int, int]) -> UInt8Array:
    """Background beyond the picture. Mirroring there, as for pictures, would need left and right swapped."""
    return _warped(labels, matrix, size_wh, cv2.INTER_NEAREST, UNSEEN)


def squeezed(image: UInt8Array, size: int) -> UInt8Array:
    """A picture as a square, whatever its shape; averaged over areas where it shrinks."""
    shrinks = max(image.shape[:2]) > size
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), dtype=np.uint8)


def _shrunk(image: UInt8Array, matrix: Matrix) -> tuple[UInt8Array, Matrix]:
    """Averages over areas first where much is to be shrunk, so that a linear warp does not skip pixels."""
    factor = 1 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if factor < 1.5:
        return image, matrix
    height, width = image.shape[:2]
    small_wh = (max(1, round(width / factor)), max(1, round(height / factor)))
    scale_x, scale_y = width / small_wh[0], height / small_wh[1]
    back = np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]])
    small = np.asarray(cv2.resize(image, small_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return small, matrix @ back


def _warped(
    array: UInt8Array, matrix: Matrix, size_wh: tuple[int, int], flags: int, outside: Colour | None
) -> UInt8Array:
    border = cv2.BORDER_REFLECT_101 if outside is None else cv2.BORDER_CONSTANT
    warped = cv2.warpAffine(array, matrix, size_wh, flags=flags, borderMode=border, borderValue=outside or UNSEEN)
    return np.asarray(warped, dtype=np.uint8)


def as_colour(values: npt.ArrayLike) -> Colour:
    """Three numbers, clipped to what a byte holds."""
    blue, green, red = np.clip(np.asarray(values, dtype=float), 0, 255)
    return float(blue), float(green), float(red)
