"""The geometry of the warp, in pixels of a square image. NumPy only.

A similarity transform takes five landmarks to fixed points. Then each axis is unchanged in its inner fifth and
compressed by tanh outside, so that a point 3.25 half-sizes from the centre still lands inside the image.

The official code samples index c at the normalised position 2 c / size - 1, half a pixel off the pixel's centre, in
both directions. The weights were trained with that, so it stays.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_segface.errors import InputError

FloatArray = npt.NDArray[np.float64]

# Eye on the image's left, eye on its right, nose tip, left and right mouth corner; in a square of 512.
TARGETS_512_XY = np.array([[196, 226], [316, 226], [256, 286], [220, 360.4], [292, 360.4]])
LINEAR_PART = 0.2
SQUEEZED_PART = 0.8
ALMOST_ONE = 0.999


def similarity(landmarks_xy: npt.ArrayLike, size: int) -> FloatArray:
    """Return the similarity (3, 3) that best maps five landmarks (5, 2) to their targets."""
    landmarks = np.asarray(landmarks_xy, dtype=np.float64)
    if landmarks.shape != (5, 2) or not np.isfinite(landmarks).all():
        raise InputError("the warp needs five finite landmarks of shape (5, 2)", found=f"shape {landmarks.shape}")
    targets = TARGETS_512_XY / 512 * (size - 1)
    from_mean, to_mean = landmarks.mean(axis=0), targets.mean(axis=0)
    source, target = landmarks - from_mean, targets - to_mean
    spread = (source**2).sum()
    if spread < 1e-6:
        raise InputError("the five landmarks coincide", found=landmarks.tolist())
    a = (target * source).sum() / spread
    b = (target[:, 0] * source[:, 1] - target[:, 1] * source[:, 0]).sum() / spread
    turn = np.array([[a, b], [-b, a]])
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = to_mean - turn @ from_mean
    return matrix


def squeeze(place: FloatArray) -> FloatArray:
    """Map normalised to warped coordinates: identity up to 0.2, approaching +-1 outside."""
    beyond = (np.abs(place) - LINEAR_PART) / SQUEEZED_PART
    return np.where(beyond <= 0, place, np.sign(place) * (LINEAR_PART + SQUEEZED_PART * np.tanh(beyond)))


def stretch(place: FloatArray) -> FloatArray:
    """Invert `squeeze`, clipped just before infinity."""
    beyond = np.clip((np.abs(place) - LINEAR_PART) / SQUEEZED_PART, -ALMOST_ONE, ALMOST_ONE)
    return np.where(beyond <= 0, place, np.sign(place) * (LINEAR_PART + SQUEEZED_PART * np.arctanh(beyond)))


def warp_places(landmarks_xy: npt.ArrayLike, size: int) -> FloatArray:
    """Return (s, s, 2): for each pixel of the warped image, x and y in the plain one, as indices 0..size."""
    matrix = np.asarray(np.linalg.inv(similarity(landmarks_xy, size)), dtype=np.float64)
    return _moved((stretch(_indices(size) * 2 / size - 1) + 1) * size / 2, matrix)


def unwarp_places(landmarks_xy: npt.ArrayLike, size: int) -> FloatArray:
    """Return (s, s, 2): for each pixel of the plain image, x and y in the warped one."""
    matrix = similarity(landmarks_xy, size)
    return (squeeze(_moved(_indices(size), matrix) * 2 / size - 1) + 1) * size / 2


def _indices(size: int) -> FloatArray:
    y, x = np.mgrid[:size, :size]
    return np.stack([x, y], axis=-1).astype(np.float64)


def _moved(points_xy: FloatArray, matrix: FloatArray) -> FloatArray:
    moved: FloatArray = points_xy @ matrix[:2, :2].T + matrix[:2, 2]
    return moved
