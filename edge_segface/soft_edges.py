"""Soft edges: from a mask with hard ones to an alpha channel that follows the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.errors import InputError

FloatMap = npt.NDArray[np.float32]  # (h, w), 0..1
Mask = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.intp]

AUTO_FEATHER = 0.03  # width of an edge relative to the size of the part
MIN_FEATHER = 2.0  # pixels
COUNT_SIDE = 320  # longest side at which the size of a part is counted
HAZE = 0.2  # alpha of the guided filter that still counts as none, because weak edges leave a glow
EPSILON = 1e-4  # squared contrast, of 0..1, that counts as an edge of the image
WINDOW = 2  # radius of the filter's windows on the smaller image
FILTER_SIDE = 320  # longest side at which the filter's coefficients are computed
GROW_STEPS = 16  # more pixels are grown on a smaller image
SQUARE, CROSS = np.ones((3, 3), np.uint8), np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
ROW = 4096  # OpenCV does not interpolate at more than 32767 points of one row


def soft_alpha(
    inside: Mask | FloatMap, image_bgr: Bytes | None = None, *, feather: float | None = None, grow: float = 0.0
) -> FloatMap:
    """Return the alpha (h, w), 0..1, of a mask or of the probability of a part.

    The edge is `feather` pixels wide, by default in proportion to the part; 0 keeps it hard. With an image it follows
    the image's own edge instead, where that is no more than `feather` pixels away. It then moves outwards by `grow`
    pixels, inwards if that is negative. From twice the feather on, alpha is exactly 0 or 1.
    """
    _check(inside, image_bgr, feather, grow)
    alpha = np.zeros(inside.shape, dtype=np.float32)
    hard: Mask = np.ascontiguousarray(inside > 0.5)
    x, y, width, height = cv2.boundingRect(hard.view(np.uint8))
    if not width:
        return alpha
    if feather is None:
        feather = max(MIN_FEATHER, AUTO_FEATHER * math.sqrt(_largest_area(hard)))
    margin = math.ceil(2 * feather + max(grow, 0)) + 2
    area = np.s_[max(y - margin, 0) : y + height + margin, max(x - margin, 0) : x + width + margin]
    distance = signed_distance(hard[area])
    if feather == 0:
        alpha[area] = distance + np.float32(grow) > 0
    elif image_bgr is None and inside.dtype == np.bool_:
        smooth = cv2.GaussianBlur(distance, (0, 0), feather / 4)  # without the steps of the pixels
        alpha[area] = np.clip((smooth + np.float32(grow)) / np.float32(feather) + np.float32(0.5), 0, 1)
    else:
        image = None if image_bgr is None else image_bgr[area]
        alpha[area] = grown(_followed(inside[area], distance, image, feather), grow)
    return alpha


def _check(inside: Mask | FloatMap, image_bgr: Bytes | None, feather: float | None, grow: float) -> None:
    if inside.ndim != 2 or inside.dtype.kind not in "bf":
        raise InputError("a mask must be boolean or float, of shape (h, w)", found=f"{inside.dtype} {inside.shape}")
    if image_bgr is not None and image_bgr.shape != (*inside.shape, 3):
        raise InputError("image and mask must have the same size", found=f"{image_bgr.shape} and {inside.shape}")
    if feather is not None and not (math.isfinite(feather) and feather >= 0):
        raise InputError("the width of an edge must be a number of pixels, 0 or more", found=feather)
    if not math.isfinite(grow):
        raise InputError("an edge can move only by a finite number of pixels", found=grow)


def _followed(inside: Mask | FloatMap, distance: FloatMap, image_bgr: Bytes | None, feather: float) -> FloatMap:
    """Return the alpha that follows the image, or without one the probability, within the edge.

    Elsewhere it is the hard mask: the filter must not open holes in the part, nor reach for what looks like it.
    """
    alpha = (distance > 0).astype(np.float32)
    away = np.abs(distance)
    at = np.nonzero(away < 2 * feather)
    start = inside.astype(np.float32)
    if not at[0].size:
        return alpha
    if image_bgr is None:
        followed = start[at]
    else:
        filtered = guided_at(image_bgr, start, at, radius=max(1, round(feather)))
        followed = np.clip((filtered - HAZE) / (1 - 2 * HAZE), 0, 1)
    weight = np.clip(2 - away[at] / np.float32(feather), 0, 1)
    alpha[at] += weight * (followed - alpha[at])
    return alpha


def as_uint8(alpha: FloatMap) -> Bytes:
    """Return an alpha as bytes, 0..255, as image files store it."""
    return np.asarray(cv2.convertScaleAbs(alpha, None, 255), dtype=np.uint8)


def signed_distance(inside: Mask) -> FloatMap:
    """Return the distance (h, w) of each pixel's centre to the edge in pixels, positive inside."""
    if inside.all():
        return np.full(inside.shape, max(inside.shape), dtype=np.float32)
    mask = np.ascontiguousarray(inside).view(np.uint8)
    within = np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 3), dtype=np.float32)
    without = np.asarray(cv2.distanceTransform(1 - mask, cv2.DIST_L2, 3), dtype=np.float32)
    within -= without
    within -= mask - np.float32(0.5)
    return within


def grown(alpha: FloatMap, pixels: float) -> FloatMap:
    """Return an alpha whose edges move outwards by some pixels, inwards if negative, and keep their softness."""
    if pixels < 0:
        return 1 - grown(1 - alpha, -pixels)
    if not pixels:
        return alpha
    shrink = max(1.0, pixels / GROW_STEPS)
    height, width = alpha.shape
    small_wh = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    now = alpha if shrink == 1 else cv2.resize(alpha, small_wh, interpolation=cv2.INTER_AREA)
    before, steps = now, pixels / shrink
    for step in range(math.ceil(steps)):  # squares and crosses by turns: nearly a disc
        before, now = now, cv2.dilate(now, SQUARE if step % 2 else CROSS)
    share = steps - math.ceil(steps) + 1  # of the last step
    result = cv2.addWeighted(before, 1 - share, now, share, 0)
    if shrink > 1:
        result = np.maximum(cv2.resize(result, (width, height), interpolation=cv2.INTER_LINEAR), alpha)
    return np.asarray(result, dtype=np.float32)


def guided_at(guide_bgr: Bytes, start: FloatMap, at: tuple[Indices, ...], *, radius: int) -> FloatMap:
    """Return `start` at some pixels (rows, columns), smoothed with the edges of the image (He et al., ECCV 2010).

    Around each pixel the result is a linear function of the three colours. Its coefficients are computed on a smaller
    image and interpolated (He and Sun, 2015), which bounds time and memory for large images.
    """
    height, width = start.shape
    shrink = max(1.0, radius / WINDOW, max(height, width) / FILTER_SIDE)
    small_wh = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    colour = cv2.resize(guide_bgr, small_wh, interpolation=cv2.INTER_AREA) * np.float32(1 / 255)
    value = np.asarray(cv2.resize(start, small_wh, interpolation=cv2.INTER_AREA), dtype=np.float32)
    lines = _linear_in_colour(colour, value, 2 * max(1, round(radius / shrink)) + 1)
    rows, columns = (at[0] + 0.5) * small_wh[1] / height - 0.5, (at[1] + 0.5) * small_wh[0] / width - 0.5
    slopes_and_offset = _interpolated(lines, columns, rows)
    result = slopes_and_offset[:, 3]
    result += (slopes_and_offset[:, :3] * guide_bgr[at]).sum(axis=1) / 255
    return result


def _linear_in_colour(colour: npt.NDArray[np.float32], value: FloatMap, window: int) -> npt.NDArray[np.float32]:
    """Return the three slopes and the offset (h, w, 4) of the guided filter, averaged over windows."""

    def mean(x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return np.asarray(cv2.blur(x, (window, window)), dtype=np.float32)

    mean_colour, mean_value = mean(colour), mean(value)
    x, y, z = cv2.split(mean(colour * value[..., None]) - mean_colour * mean_value[..., None])
    blue, green, red = cv2.split(colour)
    b, g, r = cv2.split(mean_colour)
    bb, gg, rr = (mean(one * one) - m * m + np.float32(EPSILON) for one, m in ((blue, b), (green, g), (red, r)))
    bg, br, gr = mean(blue * green) - b * g, mean(blue * red) - b * r, mean(green * red) - g * r
    # The inverse of the symmetric 3x3 matrix, by its cofactors.
    c00, c01, c02 = gg * rr - gr * gr, br * gr - bg * rr, bg * gr - br * gg
    c11, c12, c22 = bb * rr - br * br, bg * br - bb * gr, bb * gg - bg * bg
    scale = 1 / (bb * c00 + bg * c01 + br * c02)
    slopes = [(c00 * x + c01 * y + c02 * z), (c01 * x + c11 * y + c12 * z), (c02 * x + c12 * y + c22 * z)]
    slopes = [slope * scale for slope in slopes]
    return mean(cv2.merge([*slopes, mean_value - slopes[0] * b - slopes[1] * g - slopes[2] * r]))


def _interpolated(
    planes: npt.NDArray[np.float32], columns: npt.NDArray[np.floating], rows: npt.NDArray[np.floating]
) -> npt.NDArray[np.float32]:
    """Return planes (h, w, c) at points, bilinearly, as (n, c)."""
    count = len(rows)
    maps = [np.zeros((-(-count // ROW), ROW), dtype=np.float32) for _ in range(2)]
    for one, values in zip(maps, (columns, rows), strict=True):
        one.ravel()[:count] = values
    found = cv2.remap(planes, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, dtype=np.float32).reshape(-1, planes.shape[2])[:count]


def _largest_area(inside: Mask) -> float:
    """Return the number of pixels of the largest component, counted on a smaller image."""
    shrink = max(1.0, max(inside.shape) / COUNT_SIDE)
    small_wh = tuple(max(1, round(side / shrink)) for side in inside.shape[::-1])
    small = cv2.resize(inside.view(np.uint8), small_wh, interpolation=cv2.INTER_NEAREST)
    areas = cv2.connectedComponentsWithStats(small)[2][1:, cv2.CC_STAT_AREA]
    return float(areas.max(initial=1) * shrink**2)


def probability(logits: npt.NDArray[np.floating], ids: Sequence[int]) -> FloatMap:
    """Return the probability (h, w) of the classes `ids` from logits (classes, h, w)."""
    values = np.exp(logits - logits.max(axis=0))
    return np.asarray(values[list(ids)].sum(axis=0) / values.sum(axis=0), dtype=np.float32)
