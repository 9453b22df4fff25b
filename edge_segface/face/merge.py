"""Merging the labels of several faces into one class map of their image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.frames import ClassMap, RoI, UInt8Array, paste
from edge_segface.labels import LabelSpace

Bounds = tuple[int, int, int, int]  # left, top, right, bottom in pixels, the last two exclusive


class Square(Protocol):
    """Labels (s, s) of a square of an image."""

    @property
    def roi(self) -> RoI: ...

    @property
    def labels(self) -> UInt8Array: ...


def merged_class_map(faces: Sequence[Square], size_hw: tuple[int, ...], space: LabelSpace) -> ClassMap:
    """Merge all faces of a frame into one map; where crops overlap, the larger face wins."""
    labels: UInt8Array = np.zeros(size_hw, dtype=np.uint8)
    for face in sorted(faces, key=lambda face: face.roi.side):
        paste_over(face, labels)
    return ClassMap(labels, space)


def merged_labels(squares: Sequence[Square], size_hw: tuple[int, int]) -> UInt8Array:
    """Merge squares as `merged_class_map` does, with the smooth edges that photos deserve."""
    labels: UInt8Array = np.zeros(size_hw, dtype=np.uint8)
    for square in sorted(squares, key=lambda square: square.roi.side):
        left, top, right, bottom = bounds = square.roi.bounds_xyxy(size_hw)
        if right > left and bottom > top:
            target, new = labels[top:bottom, left:right], resampled(square.labels, square.roi, bounds)
            np.copyto(target, new, where=new > 0)
    return labels


def paste_over(face: Square, labels: UInt8Array) -> None:
    """Paste a face's labels in place, without its background erasing a neighbour."""
    left, top, right, bottom = face.roi.bounds_xyxy((labels.shape[0], labels.shape[1]))
    if right <= left or bottom <= top:
        return
    before = labels[top:bottom, left:right].copy()
    paste(face.labels, face.roi, labels)
    if before.any():
        after = labels[top:bottom, left:right]
        np.copyto(after, before, where=after == 0)


def resampled(labels: UInt8Array, roi: RoI, bounds: Bounds) -> UInt8Array:
    """Return the labels of an RoI for pixels of its image: where it is enlarged, classes
    are interpolated, and the strongest wins.
    """
    left, top, right, bottom = bounds
    size = labels.shape[0]
    result: UInt8Array = np.zeros((bottom - top, right - left), dtype=np.uint8)
    if roi.side <= size or roi.angle_deg:
        paste(labels, replace(roi, centre_xy=(roi.centre_xy[0] - left, roi.centre_xy[1] - top)), result)
        return result
    scale = roi.side / size
    corner_x, corner_y = roi.corners_xy()[0] + 0.5
    strongest = np.zeros(result.shape, dtype=np.uint8)
    for index in np.unique(labels).tolist():
        inside = np.where(labels == index, np.uint8(255), np.uint8(0))
        x, y, width, height = cv2.boundingRect(inside)
        area = np.s_[
            max(0, int(corner_y - top + (y - 1) * scale)) : max(0, int(corner_y - top + (y + height + 1) * scale) + 1),
            max(0, int(corner_x - left + (x - 1) * scale)) : max(0, int(corner_x - left + (x + width + 1) * scale) + 1),
        ]
        target, best = result[area], strongest[area]
        if not target.size:
            continue
        offset = np.array([[1.0, 0.0, left + area[1].start], [0.0, 1.0, top + area[0].start], [0.0, 0.0, 1.0]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        share = cv2.warpAffine(
            inside, roi.square_from_frame(size) @ offset, target.shape[::-1],
            flags=flags, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        stronger = share > best
        target[stronger] = index
        best[stronger] = share[stronger]
    return result


def enlarged(values: npt.NDArray[np.float32], roi: RoI, bounds: Bounds) -> npt.NDArray[np.float32]:
    """Return values (s, s) of an RoI, interpolated for pixels of its image; those outside take the nearest."""
    left, top, right, bottom = bounds
    offset = np.array([[1.0, 0.0, left], [0.0, 1.0, top], [0.0, 0.0, 1.0]])
    matrix = roi.square_from_frame(values.shape[0]) @ offset
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size_wh = (right - left, bottom - top)
    moved = cv2.warpAffine(values, matrix, size_wh, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.float32)
