"""Objects in front of faces, labelled as background: hands, sticks such as microphones, and pieces of other images."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.data.synthetic.backdrops import BackdropPool, draw_clouds, random_backdrop, random_colour
from edge_segface.frames import UInt8Array

MIN_SKIN = 50  # pixels of skin that a hand's colour is taken from
MAX_HIDDEN = 0.6  # share of a face that an object may hide

Mask = npt.NDArray[np.bool_]


def paste_occluder(
    image: UInt8Array, labels: UInt8Array, faces: Mask, skin: Mask, rng: np.random.Generator, pool: BackdropPool
) -> tuple[UInt8Array, UInt8Array]:
    """Put an object over part of a face. `faces` and `skin` mark its pixels; without a face nothing changes."""
    rows, columns = np.nonzero(faces)
    if rows.size == 0:
        return image, labels
    scale = float(np.sqrt(rows.size))  # about the width of the face
    at = int(rng.integers(rows.size))
    centre = np.array([columns[at], rows[at]], dtype=float)
    height, width = labels.shape
    draw = (draw_hand, draw_stick, draw_blob)[int(rng.integers(3))]
    mask = draw((width, height), centre, scale * rng.uniform(0.7, 1.5), rng)
    if (mask & faces).sum() > MAX_HIDDEN * rows.size:
        return image, labels
    if draw is draw_hand and skin.sum() >= MIN_SKIN:
        colour = image[skin].mean(axis=0) * rng.uniform(0.75, 1.2)
        texture = shaded(mask, colour, rng)
    elif draw is draw_blob:
        texture = random_backdrop((width, height), rng, pool).astype(np.float32)
    else:
        texture = shaded(mask, np.array(random_colour(rng)) * rng.uniform(0.2, 1), rng)
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8)[..., None]
    covered = np.asarray(np.rint(image * (1 - alpha) + texture * alpha), dtype=np.uint8)
    return covered, np.where(mask, 0, labels).astype(np.uint8)


def draw_hand(size_wh: tuple[int, int], centre: npt.NDArray[np.float64], size: float, rng: np.random.Generator) -> Mask:
    """Draw a palm with three to five fingers that lie side by side or spread, and an arm that leaves the image."""
    canvas = np.zeros(size_wh[::-1], dtype=np.uint8)
    angle = rng.uniform(0, 2 * np.pi)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    palm = 0.24 * size
    thickness, spread = max(2, round(0.62 * palm)), rng.uniform(0.0, 0.35)
    _line(canvas, centre, centre - along * 4 * max(size_wh), max(2, round(1.5 * palm)))
    cv2.ellipse(canvas, _pixel(centre), (round(palm * 1.15), round(palm)), float(np.degrees(angle)), 0, 360, 1, -1)
    count = int(rng.integers(3, 6))
    for finger in range(count):
        offset = finger - (count - 1) / 2
        start = centre + across * offset * 0.55 * palm
        tip = start + (along + across * offset * spread) * palm * rng.uniform(1.6, 2.6)
        _line(canvas, start, tip, thickness)
    if rng.random() < 0.6:  # a thumb
        _line(canvas, centre, centre + (0.5 * along + across * rng.choice([-1, 1])) * 1.8 * palm, thickness)
    return canvas > 0


def draw_stick(
    size_wh: tuple[int, int], centre: npt.NDArray[np.float64], size: float, rng: np.random.Generator
) -> Mask:
    """Draw a rod with a thicker end: a microphone, a brush, a spoon, a bottle, a telephone."""
    canvas = np.zeros(size_wh[::-1], dtype=np.uint8)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    width = max(2, round(size * rng.uniform(0.06, 0.25)))
    _line(canvas, centre, centre + along * size * rng.uniform(0.8, 4), width)
    axes = (round(width * rng.uniform(0.6, 1.6)), round(width * rng.uniform(0.5, 1.1)))
    cv2.ellipse(canvas, _pixel(centre), axes, float(np.degrees(angle)), 0, 360, 1, -1)
    return canvas > 0


def draw_blob(size_wh: tuple[int, int], centre: npt.NDArray[np.float64], size: float, rng: np.random.Generator) -> Mask:
    """Draw a rounded or angular shape: a cup, a card, a mask, a leaf."""
    canvas = np.zeros(size_wh[::-1], dtype=np.uint8)
    corners = int(rng.integers(4, 12))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    reach = size * rng.uniform(0.2, 0.55, (corners, 1)) * rng.uniform(0.6, 1.2, 2)
    points = centre + reach * np.column_stack((np.cos(angles), np.sin(angles)))
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
    if rng.random() < 0.6:
        side = max(3, round(0.15 * size)) | 1
        canvas = cv2.medianBlur(canvas, min(side, 31))
    return np.asarray(canvas) > 0


def shaded(mask: Mask, colour: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return an image (h, w, 3) of one colour, lit from one side, darker towards the edge of the mask, with noise."""
    height, width = mask.shape
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    rounded = 0.72 + 0.28 * np.minimum(1, depth / max(1.0, 0.6 * float(depth.max())))
    light = draw_clouds((width, height), rng).mean(axis=2) / 255
    texture = np.asarray(colour, dtype=np.float32) * (rounded * (0.8 + 0.35 * light))[..., None].astype(np.float32)
    noisy: npt.NDArray[np.float32] = texture + rng.normal(0, 3, texture.shape).astype(np.float32)
    return np.clip(noisy, 0, 255)


def _line(canvas: UInt8Array, start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], thickness: int) -> None:
    cv2.line(canvas, _pixel(start), _pixel(end), 1, thickness)


def _pixel(point: npt.NDArray[np.float64]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
