"""What runtimes need that take planes of pixels and return planes of logits: both conversions, on the CPU."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.frames import UInt8Array

FloatPlanes = npt.NDArray[np.float32]


def rgb_planes(image_bgr: UInt8Array) -> FloatPlanes:
    """Return BGR bytes (s, s, 3) as float RGB planes (1, 3, s, s) in 0..255."""
    return np.ascontiguousarray(image_bgr[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32)


def labels_of(logits: FloatPlanes, side: int) -> UInt8Array:
    """Enlarge logits (n, g, g) bilinearly to a side, and return the class (s, s) of the largest."""
    labels: UInt8Array = np.zeros((side, side), np.uint8)
    strongest = cv2.resize(logits[0], (side, side), interpolation=cv2.INTER_LINEAR)
    for index, plane in enumerate(logits[1:], 1):
        enlarged = cv2.resize(plane, (side, side), interpolation=cv2.INTER_LINEAR)
        labels[enlarged > strongest] = index
        cv2.max(enlarged, strongest, strongest)
    return labels


def low_resolution(logits: FloatPlanes, side: int) -> FloatPlanes:
    """Return the mean logits (n, s/4, s/4) of 4x4 pixels, as our ONNX files output them."""
    classes, grid = logits.shape[:2]
    cell = 4 * grid // side
    cells = logits.reshape(classes, side // 4, cell, side // 4, cell)
    return np.asarray(cells.mean(axis=(2, 4)), np.float32)
