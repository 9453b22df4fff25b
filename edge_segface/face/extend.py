"""Continuing hair and clothes beyond the square of a face, with what a wider look at the image shows there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_segface.face.look import Look, look_at
from edge_segface.face.merge import resampled
from edge_segface.frames import RoI, UInt8Array, paste
from edge_segface.labels import LabelSpace

if TYPE_CHECKING:
    from edge_segface.face.parser import FaceParser

EXTENDING_PARTS = ("hair", "hat", "cloth", "neck", "necklace")
REACH = 2.0  # side of the region to continue in, relative to that of the square
COARSEST = 4.5  # side of the widest look that serves as context, relative to that of the square
BORDER = 3  # width of a square's border, in pixels of a look: parts there may go on outside
OUTSIDE = 255  # no class id


def context_looks(
    image_bgr: UInt8Array, squares: Sequence[Look], wide: Sequence[Look], parser: FaceParser
) -> list[Look | None]:
    """Return for each square a look at what surrounds it, or None if no part leaves it.

    The finder's wide looks serve where one is close enough; else the surroundings are parsed.
    """
    size_hw = image_bgr.shape[0], image_bgr.shape[1]
    found: list[Look | None] = [None] * len(squares)
    missing: dict[int, RoI] = {}
    for index, square in enumerate(squares):
        if not _is_left(square, size_hw, parser.space):
            continue
        around = _around(square.roi)
        fitting = [each for each in wide if _contains(each.roi, around, size_hw)]
        closest = min(fitting, key=lambda each: each.roi.side, default=None)
        if closest is not None and closest.roi.side <= COARSEST * square.roi.side:
            found[index] = closest
        else:
            missing[index] = around
    for index, look in zip(missing, look_at(image_bgr, list(missing.values()), parser), strict=True):
        found[index] = look
    return found


def extend(labels: UInt8Array, squares: Sequence[Look], contexts: Sequence[Look | None], space: LabelSpace) -> None:
    """Continue, in place, the parts that leave a square in the background around all squares."""
    size_hw = labels.shape[0], labels.shape[1]
    free = labels == 0
    for square in squares:
        left, top, right, bottom = square.roi.bounds_xyxy(size_hw)
        free[top:bottom, left:right] = False
    for square, context in zip(squares, contexts, strict=True):
        if context is not None:
            continuation = _continuation(square, context, space)
            left, top, right, bottom = bounds = _around(square.roi).bounds_xyxy(size_hw)
            new = resampled(continuation, context.roi, bounds)
            np.copyto(labels[top:bottom, left:right], new, where=free[top:bottom, left:right] & (new > 0))


def _continuation(square: Look, context: Look, space: LabelSpace) -> UInt8Array:
    """Return what the context shows around a square of the parts that leave the square, as labels (s, s)."""
    size = context.labels.shape[0]
    roi = _in_look(square.roi, context.roi, size)
    own: UInt8Array = np.full((size, size), OUTSIDE, dtype=np.uint8)
    paste(square.labels, roi, own)
    inside = own != OUTSIDE
    extending = np.isin(context.labels, space.present_ids(EXTENDING_PARTS)) & ~inside
    left, top, right, bottom = _around(roi).bounds_xyxy((size, size))
    near = np.zeros_like(inside)
    near[top:bottom, left:right] = True
    core = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    seeds = inside & ~core & np.isin(own, space.present_ids(EXTENDING_PARTS))
    _, components = cv2.connectedComponents(((extending & near) | seeds).astype(np.uint8))
    joined = np.isin(components, np.unique(components[seeds])) & extending & near
    return np.where(joined, context.labels, np.uint8(0))


def _is_left(square: Look, size_hw: tuple[int, int], space: LabelSpace) -> bool:
    """Return whether a part reaches the square's border inside the image."""
    size = square.labels.shape[0]
    left, top, right, bottom = square.roi.bounds_xyxy(size_hw)
    sides = {
        "left": (left > 0, square.labels[:, :BORDER]),
        "top": (top > 0, square.labels[:BORDER]),
        "right": (right < size_hw[1], square.labels[:, size - BORDER :]),
        "bottom": (bottom < size_hw[0], square.labels[size - BORDER :]),
    }
    extending = space.present_ids(EXTENDING_PARTS)
    return any(inside and np.isin(border, extending).any() for inside, border in sides.values())


def _around(roi: RoI) -> RoI:
    return replace(roi, side=REACH * roi.side)


def _contains(roi: RoI, other: RoI, size_hw: tuple[int, int]) -> bool:
    """Return whether a region contains what another one shows of the image."""
    outer, inner = roi.bounds_xyxy(size_hw), other.bounds_xyxy(size_hw)
    return outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]


def _in_look(roi: RoI, look: RoI, size: int) -> RoI:
    """Map an upright region from the image to the pixels of an upright look."""
    scale = size / look.side
    left, top = look.corners_xy()[0]
    x, y = roi.centre_xy
    return RoI(((x - left) * scale - 0.5, (y - top) * scale - 0.5), roi.side * scale)
