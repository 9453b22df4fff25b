"""The warp on uint8 images and labels with OpenCV: what a device runs before and after an engine."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.frames import OUTSIDE_BGR, UInt8Array
from edge_segface.warp.grids import unwarp_places, warp_places


def warp_image(square_bgr: UInt8Array, landmarks_xy: npt.ArrayLike) -> UInt8Array:
    """Warp a square image for the network, given five landmarks in its pixels."""
    map_x, map_y = _sampling_maps(warp_places(landmarks_xy, square_bgr.shape[0]))
    warped = cv2.remap(
        square_bgr, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=OUTSIDE_BGR
    )
    return np.asarray(warped, dtype=np.uint8)


def unwarp_labels(warped_labels: UInt8Array, landmarks_xy: npt.ArrayLike) -> UInt8Array:
    """Map labels of the warped image back to the plain one: nearest pixel, background outside the warp's range."""
    map_x, map_y = _sampling_maps(unwarp_places(landmarks_xy, warped_labels.shape[0]))
    labels = cv2.remap(warped_labels, map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(labels, dtype=np.uint8)


def _sampling_maps(places: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    # Indices of the grid start at the outer edge of the first pixel; OpenCV counts from its centre.
    map_x, map_y = (np.ascontiguousarray(places[..., axis] - 0.5, dtype=np.float32) for axis in (0, 1))
    return map_x, map_y
