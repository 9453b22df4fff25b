"""Soft edges: from a mask with hard ones to an alpha channel that follows the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.errors import InputError

FloatMap = npt.NDArray[np.float32]  # (h, w), 0..1
Bytes = npt.NDArray[np.uint8]

AUTO_FEATHER = 0.03  # width of an edge relative to the size of the part
HAZE = 0.2  # alpha of the guided filter that still counts as none, because weak edges leave a glow
MIN_FEATHER = 2.0  # pixels
EPSILON = 1e-4  # squared contrast, of 0..1, that counts as an edge of the image
FILTER_SIDE = 480  # longest side at which the filter's coefficients are computed


def soft_alpha(
    inside: npt.NDArray[np.bool_] | FloatMap,
    image_bgr: Bytes | None = None,
    *,
    feather: float | None = None,
    grow: float = 0.0,
) -> FloatMap:
    """Return the alpha (h, w), 0..1, of a mask or of the probability of a part.

    The edge is `feather` pixels wide, by default in proportion to the part; 0 keeps it hard. It moves outwards by
    `grow` pixels, inwards if that is negative. With an image, it follows the image's own edges.
    """
    if feather is not None and feather < 0:
        raise InputError("the width of an edge cannot be negative", found=feather)
    alpha = np.zeros(inside.shape, dtype=np.float32)
    hard = np.asarray(inside > 0.5)
    x, y, width, height = cv2.boundingRect(hard.astype(np.uint8))
    if not width:
        return alpha
    if feather is None:
        largest = cv2.connectedComponentsWithStats(hard.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA].max()
        feather = max(MIN_FEATHER, AUTO_FEATHER * float(np.sqrt(largest)))
    margin = int(2 * feather + abs(grow)) + 2
    area = np.s_[max(y - margin, 0) : y + height + margin, max(x - margin, 0) : x + width + margin]
    distance = signed_distance(hard[area]) + grow
    if feather == 0:
        alpha[area] = distance > 0
        return alpha
    ramp = np.clip(distance / feather + 0.5, 0, 1)
    if image_bgr is None:
        alpha[area] = ramp
        return alpha
    start = (distance > 0) if grow or inside.dtype == np.bool_ else inside[area]
    followed = guided_filter(image_bgr[area], start.astype(np.float32), radius=max(1, round(feather)))
    followed = (followed - HAZE) / (1 - 2 * HAZE)
    # Only within the edge: the filter must not open holes in the part, nor reach for what looks like it.
    weight = np.clip(2 - np.abs(distance) / feather, 0, 1)
    alpha[area] = np.clip(weight * followed + (1 - weight) * (distance > 0), 0, 1)
    return alpha


def as_uint8(alpha: FloatMap) -> Bytes:
    """Return an alpha as bytes, 0..255, as image files store it."""
    return np.rint(255 * alpha).astype(np.uint8)


def signed_distance(inside: npt.NDArray[np.bool_]) -> FloatMap:
    """Return the distance (h, w) of each pixel's centre to the edge in pixels, positive inside."""
    mask = inside.astype(np.uint8)
    if mask.all():
        return np.full(mask.shape, np.float32(max(mask.shape)))
    within, without = (cv2.distanceTransform(one, cv2.DIST_L2, 3) for one in (mask, 1 - mask))
    return np.where(inside, within - 0.5, 0.5 - without).astype(np.float32)


def guided_filter(guide_bgr: Bytes, start: FloatMap, *, radius: int) -> FloatMap:
    """Return a map that is `start` smoothed, with the edges of the image (He et al., ECCV 2010).

    Within each window the result is a linear function of the three colours. Its coefficients are computed on a smaller
    image and interpolated (He and Sun, 2015), which bounds time and memory for large images.
    """
    height, width = start.shape
    shrink = max(1.0, min(max(height, width) / FILTER_SIDE, radius / 2))
    small_wh = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    window = (2 * max(1, round(radius / shrink)) + 1,) * 2
    colour = cv2.resize(guide_bgr, small_wh, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    value = cv2.resize(start, small_wh, interpolation=cv2.INTER_AREA)

    def mean(x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return np.asarray(cv2.blur(x, window), dtype=np.float32)

    mean_colour, mean_value = mean(colour), mean(value)
    covariance = mean(colour * value[..., None]) - mean_colour * mean_value[..., None]
    blue, green, red = cv2.split(colour)
    pairs = mean(np.dstack([blue * blue, blue * green, blue * red, green * green, green * red, red * red]))
    b, g, r = cv2.split(mean_colour)
    bb, bg, br, gg, gr, rr = cv2.split(pairs - np.dstack([b * b, b * g, b * r, g * g, g * r, r * r]))
    bb, gg, rr = bb + EPSILON, gg + EPSILON, rr + EPSILON
    # The inverse of the symmetric 3x3 matrix, by its cofactors.
    c00, c01, c02 = gg * rr - gr * gr, br * gr - bg * rr, bg * gr - br * gg
    c11, c12, c22 = bb * rr - br * br, bg * br - bb * gr, bb * gg - bg * bg
    determinant = bb * c00 + bg * c01 + br * c02
    x, y, z = cv2.split(covariance)
    slope = np.dstack([c00 * x + c01 * y + c02 * z, c01 * x + c11 * y + c12 * z, c02 * x + c12 * y + c22 * z])
    slope = slope / determinant[..., None]
    offset = mean_value - (slope * mean_colour).sum(axis=2)
    coefficients = cv2.resize(mean(np.dstack([slope, offset])), (width, height), interpolation=cv2.INTER_LINEAR)
    result = coefficients[..., 3].copy()
    for channel in range(3):
        result += coefficients[..., channel] * (guide_bgr[..., channel] * np.float32(1 / 255))
    return np.asarray(np.clip(result, 0, 1), dtype=np.float32)


def probability(logits: npt.NDArray[np.floating], ids: Sequence[int]) -> FloatMap:
    """Return the probability (h, w) of the classes `ids` from logits (classes, h, w)."""
    values = np.exp(logits - logits.max(axis=0))
    return np.asarray(values[list(ids)].sum(axis=0) / values.sum(axis=0), dtype=np.float32)
