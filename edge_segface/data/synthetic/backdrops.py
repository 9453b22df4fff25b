"""Backdrops without faces: drawn patterns, patchworks of what surrounds labelled heads, and crops of given images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge_segface.data.geometry import Colour, as_colour
from edge_segface.data.sample import Sample
from edge_segface.frames import UInt8Array
from edge_segface.image_io import read_image
from edge_segface.labels import LabelSpace

SKIN_TONES_BGR = np.array(
    [(150, 180, 225), (120, 155, 210), (95, 130, 185), (70, 100, 150), (50, 70, 105), (35, 48, 75)]
)
MIN_PATCH = 24  # side of the smallest patch, as a square
PATCH_TRIES = 30


@dataclass(frozen=True)
class BackdropPool:
    """What backdrops can be made from, besides drawn patterns."""

    space: LabelSpace
    samples: Sequence[Sample] = ()  # their backgrounds and clothes are used
    paths: Sequence[Path] = ()  # images without faces


def random_backdrop(size_wh: tuple[int, int], rng: np.random.Generator, pool: BackdropPool) -> UInt8Array:
    """Return an image without a face."""
    if pool.paths and rng.random() < 0.5:
        return random_crop(read_image(pool.paths[int(rng.integers(len(pool.paths)))]), size_wh, rng)
    if pool.samples and rng.random() < 0.5:
        return patchwork(size_wh, rng, pool)
    return draw_backdrop(size_wh, rng)


def random_crop(image: UInt8Array, size_wh: tuple[int, int], rng: np.random.Generator) -> UInt8Array:
    """Cut out a part of the aspect ratio asked for, at least a third of the largest possible, and resize it."""
    height, width = image.shape[:2]
    largest = min(width / size_wh[0], height / size_wh[1])
    scale = largest * rng.uniform(1 / 3, 1)
    part_wh = max(1, int(scale * size_wh[0])), max(1, int(scale * size_wh[1]))
    left, top = int(rng.integers(0, width - part_wh[0] + 1)), int(rng.integers(0, height - part_wh[1] + 1))
    part = image[top : top + part_wh[1], left : left + part_wh[0]]
    part = part[:, ::-1] if rng.random() < 0.5 else part
    interpolation = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, size_wh, interpolation=interpolation), dtype=np.uint8)


def patchwork(size_wh: tuple[int, int], rng: np.random.Generator, pool: BackdropPool) -> UInt8Array:
    """Lay a few large patches of background and clothes over colour clouds."""
    width, height = size_wh
    canvas = draw_clouds(size_wh, rng)
    allowed = [index for index, part in enumerate(pool.space.parts) if part in ("background", "cloth")]
    for _ in range(int(rng.integers(3, 9))):
        patch = _faceless_patch(pool.samples[int(rng.integers(len(pool.samples)))], allowed, rng)
        if patch is None:
            continue
        target_wh = (int(rng.integers(width // 4, width + 1)), int(rng.integers(height // 4, height + 1)))
        patch = np.asarray(cv2.resize(patch, target_wh, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        left = int(rng.integers(0, width - target_wh[0] + 1))
        top = int(rng.integers(0, height - target_wh[1] + 1))
        canvas[top : top + target_wh[1], left : left + target_wh[0]] = patch[:, ::-1] if rng.random() < 0.5 else patch
    return canvas


def _faceless_patch(sample: Sample, allowed: list[int], rng: np.random.Generator) -> UInt8Array | None:
    """Return the largest of some random rectangles that hold allowed classes only."""
    height, width = sample.labels.shape
    forbidden = cv2.integral((~np.isin(sample.labels, allowed)).astype(np.uint8))  # (h + 1, w + 1)
    best, best_area = None, MIN_PATCH * MIN_PATCH
    for _ in range(PATCH_TRIES):
        left, right = np.sort(rng.integers(0, width + 1, 2))
        top, bottom = np.sort(rng.integers(0, height + 1, 2))
        inside = forbidden[bottom, right] - forbidden[top, right] - forbidden[bottom, left] + forbidden[top, left]
        area = (right - left) * (bottom - top)
        if inside == 0 and area > best_area and min(right - left, bottom - top) >= MIN_PATCH // 2:
            best, best_area = sample.image_bgr[top:bottom, left:right], area
    return best


def draw_backdrop(size_wh: tuple[int, int], rng: np.random.Generator) -> UInt8Array:
    """Draw colour clouds, with shapes, stripes or letters over them, some of them in skin tones."""
    width, height = size_wh
    canvas = draw_clouds(size_wh, rng)
    layers: list[Callable[[UInt8Array, np.random.Generator], None]] = [
        draw_shapes,
        draw_stripes,
        draw_grid,
        draw_letters,
        draw_balls,
    ]
    for draw in layers:
        if rng.random() < 0.35:
            draw(canvas, rng)
    if rng.random() < 0.5:
        sigma = rng.uniform(0.5, 0.02 * max(width, height))
        canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), sigma), dtype=np.uint8)
    return canvas


def draw_clouds(size_wh: tuple[int, int], rng: np.random.Generator) -> UInt8Array:
    """Blend two to four colours by noise on several scales."""
    width, height = size_wh
    noise = np.zeros((height, width), np.float32)
    for cells in (2, 4, 9, 24, 70):
        coarse = rng.random((cells, cells, 1), dtype=np.float32)
        layer = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        noise += layer * np.float32(rng.random() / cells**0.5)
    noise -= noise.min()
    noise /= max(float(noise.max()), 1e-6)
    colours = np.stack([random_colour(rng) for _ in range(int(rng.integers(2, 5)))]).astype(np.float32)
    position = noise * (len(colours) - 1)
    low = np.minimum(position.astype(int), len(colours) - 2)
    weight = (position - low)[..., None]
    return np.asarray(colours[low] * (1 - weight) + colours[low + 1] * weight, dtype=np.uint8)


def draw_shapes(canvas: UInt8Array, rng: np.random.Generator) -> None:
    """Draw filled ellipses and polygons."""
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(2, 14))):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        size = (int(rng.integers(4, 1 + width // 3)), int(rng.integers(4, 1 + height // 3)))
        colour = random_colour(rng)
        if rng.random() < 0.5:
            cv2.ellipse(canvas, centre, size, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
        else:
            corners = (np.array(centre) + rng.uniform(-1, 1, (int(rng.integers(3, 7)), 2)) * size).astype(np.int32)
            cv2.fillPoly(canvas, [corners], colour, cv2.LINE_AA)


def draw_stripes(canvas: UInt8Array, rng: np.random.Generator) -> None:
    """Draw parallel lines at any angle."""
    height, width = canvas.shape[:2]
    colour, gap, angle = random_colour(rng), rng.uniform(6, width / 4), rng.uniform(0, np.pi)
    along = np.array([np.cos(angle), np.sin(angle)]) * (width + height)
    across = np.array([-np.sin(angle), np.cos(angle)])
    thickness = int(max(1, gap * rng.uniform(0.1, 0.6)))
    for offset in np.arange(-width - height, width + height, gap):
        middle = np.array([width / 2, height / 2]) + across * offset
        start, end = middle - along, middle + along
        cv2.line(canvas, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), colour, thickness, cv2.LINE_AA)


def draw_grid(canvas: UInt8Array, rng: np.random.Generator) -> None:
    """Draw boxes in rows, like shelves, tiles or windows."""
    height, width = canvas.shape[:2]
    columns, rows = int(rng.integers(2, 10)), int(rng.integers(2, 8))
    colours = [random_colour(rng) for _ in range(4)]
    gap = int(rng.integers(1, 8))
    for row in range(rows):
        for column in range(columns):
            if rng.random() < 0.75:
                left, top = column * width // columns + gap, row * height // rows + gap
                right, bottom = (column + 1) * width // columns - gap, (row + 1) * height // rows - gap
                cv2.rectangle(canvas, (left, top), (right, bottom), colours[int(rng.integers(4))], -1)


def draw_letters(canvas: UInt8Array, rng: np.random.Generator) -> None:
    """Write random words in random fonts."""
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(1, 6))):
        text = "".join(rng.choice(list("ABCEHKMNORSTWXaeimnorsu0123456789"), int(rng.integers(2, 9))))
        position = (int(rng.integers(-20, width)), int(rng.integers(10, height)))
        colour = random_colour(rng)
        font, scale, thickness = int(rng.integers(0, 8)), rng.uniform(0.4, 3), int(rng.integers(1, 6))
        cv2.putText(canvas, text, position, font, scale, colour, thickness, cv2.LINE_AA)


def draw_balls(canvas: UInt8Array, rng: np.random.Generator) -> None:
    """Draw shaded discs of one colour: they resemble lamps, plates, balls and fists."""
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(1, 5))):
        radius = int(rng.integers(6, 1 + max(7, height // 5)))
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        brightest = np.array(random_colour(rng))
        for step in range(6):
            centre = (x - step * radius // 24, y - step * radius // 24)
            colour = as_colour(brightest * (0.6 + 0.08 * step))
            cv2.circle(canvas, centre, max(1, radius - step * radius // 8), colour, -1, cv2.LINE_AA)


def random_colour(rng: np.random.Generator) -> Colour:
    """Return any colour; one in six is close to a skin tone."""
    if rng.random() < 1 / 6:
        return as_colour(SKIN_TONES_BGR[int(rng.integers(len(SKIN_TONES_BGR)))] + rng.normal(0, 12, 3))
    return as_colour(rng.uniform(0, 256, 3))
