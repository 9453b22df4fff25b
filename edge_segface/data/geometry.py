"""Geometric transforms of images and their labels: images are antialiased, labels take the nearest pixel."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.data.sample import Points
from edge_segface.frames import UInt8Array

Matrix = npt.NDArray[np.float64]  # (2, 3): source coordinates -> target coordinates, at pixel centres
Colour = tuple[float, float, float]

BLACK = (0.0, 0.0, 0.0)


def similarity_matrix(
    centre_xy: Points, target_xy: tuple[float, float], scale: float, angle_deg: float, mirror: bool = False
) -> Matrix:
    """Return the transform that turns (clockwise), scales and perhaps mirrors, and moves `centre_xy` to `target_xy`."""
    angle = np.radians(angle_deg)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirror:
        linear = linear @ np.diag([-1.0, 1.0])
    return np.column_stack((linear, np.asarray(target_xy) - linear @ np.asarray(centre_xy)))


def warp_points(points_xy: Points, matrix: Matrix) -> Points:
    """Transform points (n, 2)."""
    warped: Points = points_xy @ matrix[:, :2].T + matrix[:, 2]
    return warped


def warp_image(
    image: UInt8Array, matrix: Matrix, size_wh: tuple[int, int], border: Colour | None = BLACK
) -> UInt8Array:
    """Transform an image. `border` is the colour beyond its edges, or None to mirror the image there."""
    image, matrix = _prescale(image, matrix)
    return _warp(image, matrix, size_wh, cv2.INTER_LINEAR, border)


def warp_labels(labels: UInt8Array, matrix: Matrix, size_wh: tuple[int, int]) -> UInt8Array:
    """Transform labels, with background beyond their edges: mirroring there would have to swap left and right."""
    return _warp(labels, matrix, size_wh, cv2.INTER_NEAREST, BLACK)


def squash_image(image: UInt8Array, size: int) -> UInt8Array:
    """Resize an image to a square, ignoring its aspect ratio."""
    shrinks = max(image.shape[:2]) > size
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), dtype=np.uint8)


def resize_labels(labels: UInt8Array, size_wh: tuple[int, int]) -> UInt8Array:
    """Resize labels by their nearest pixels."""
    return np.asarray(cv2.resize(labels, size_wh, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)


def as_colour(values: npt.ArrayLike) -> Colour:
    """Clip three numbers to 0..255."""
    blue, green, red = np.clip(np.asarray(values, dtype=float), 0, 255)
    return float(blue), float(green), float(red)


def _prescale(image: UInt8Array, matrix: Matrix) -> tuple[UInt8Array, Matrix]:
    """Shrink an image by area averaging before a strong reduction: a linear warp alone would skip pixels."""
    factor = 1 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if factor < 1.5:
        return image, matrix
    height, width = image.shape[:2]
    small_wh = (max(1, round(width / factor)), max(1, round(height / factor)))
    scale_x, scale_y = width / small_wh[0], height / small_wh[1]
    image_from_small = np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]])
    small = np.asarray(cv2.resize(image, small_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return small, matrix @ image_from_small


def _warp(
    array: UInt8Array, matrix: Matrix, size_wh: tuple[int, int], interpolation: int, border: Colour | None
) -> UInt8Array:
    mode = cv2.BORDER_REFLECT_101 if border is None else cv2.BORDER_CONSTANT
    warped = cv2.warpAffine(array, matrix, size_wh, flags=interpolation, borderMode=mode, borderValue=border or BLACK)
    return np.asarray(warped, dtype=np.uint8)
