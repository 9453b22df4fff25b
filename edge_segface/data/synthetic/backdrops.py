"""What stands behind heads: drawn textures, quilts of what is beside heads in labelled pictures, given pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge_segface.data.dataset import Sample
from edge_segface.data.geometry import Colour, as_colour
from edge_segface.frames import UInt8Array
from edge_segface.image_io import read_image
from edge_segface.labels import LabelSpace

SKIN_TONES_BGR = np.array(
    [(150, 180, 225), (120, 155, 210), (95, 130, 185), (70, 100, 150), (50, 70, 105), (35, 48, 75)]
)
PATCH_MIN = 24


@dataclass(frozen=True)
class BackdropPool:
    """What a backdrop may be made of, beside drawn textures."""

    space: LabelSpace
    others: Sequence[Sample] = ()  # labelled pictures, whose surroundings and clothes may be used
    pictures: Sequence[Path] = ()  # pictures without faces


def backdrop(size_wh: tuple[int, int], rng: np.random.Generator, behind: BackdropPool) -> UInt8Array:
    """A picture without a face."""
    if behind.pictures and rng.random() < 0.5:
        return cut_from(read_image(behind.pictures[int(rng.integers(len(behind.pictures)))]), size_wh, rng)
    if behind.others and rng.random() < 0.5:
        return quilt(size_wh, rng, behind)
    return drawn(size_wh, rng)


def cut_from(picture: UInt8Array, size_wh: tuple[int, int], rng: np.random.Generator) -> UInt8Array:
    """Some part of a picture, undistorted, at least a third as wide and high as could be."""
    height, width = picture.shape[:2]
    largest = min(width / size_wh[0], height / size_wh[1])
    scale = largest * rng.uniform(1 / 3, 1)
    part_wh = max(1, int(scale * size_wh[0])), max(1, int(scale * size_wh[1]))
    left, top = int(rng.integers(0, width - part_wh[0] + 1)), int(rng.integers(0, height - part_wh[1] + 1))
    part = picture[top : top + part_wh[1], left : left + part_wh[0]]
    part = part[:, ::-1] if rng.random() < 0.5 else part
    interpolation = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, size_wh, interpolation=interpolation), dtype=np.uint8)


def drawn(size_wh: tuple[int, int], rng: np.random.Generator) -> UInt8Array:
    """Clouds of colour, with shapes, stripes or letters over them, some in the colours of skin."""
    width, height = size_wh
    canvas = clouds(size_wh, rng)
    layers: list[Callable[[UInt8Array, np.random.Generator], None]] = [shapes, stripes, grid, letters, furniture]
    for layer in layers:
        if rng.random() < 0.35:
            layer(canvas, rng)
    if rng.random() < 0.5:
        canvas = np.asarray(
            cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.5, 0.02 * max(width, height))), dtype=np.uint8
        )
    return canvas


def clouds(size_wh: tuple[int, int], rng: np.random.Generator) -> UInt8Array:
    """Noise on several scales between two to four colours."""
    width, height = size_wh
    total = np.zeros((height, width, 1), np.float32)
    for cells in (2, 4, 9, 24, 70):
        noise = rng.random((cells, cells, 1), dtype=np.float32)
        layer = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        total[..., 0] += layer * np.float32(rng.random() / cells**0.5)
    total -= total.min()
    total /= max(float(total.max()), 1e-6)
    stops = np.stack([colour(rng) for _ in range(int(rng.integers(2, 5)))]).astype(np.float32)
    place = total[..., 0] * (len(stops) - 1)
    low = np.minimum(place.astype(int), len(stops) - 2)
    part = (place - low)[..., None]
    return np.asarray(stops[low] * (1 - part) + stops[low + 1] * part, dtype=np.uint8)


def shapes(canvas: UInt8Array, rng: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(2, 14))):
        at = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        size = (int(rng.integers(4, 1 + width // 3)), int(rng.integers(4, 1 + height // 3)))
        paint = colour(rng)
        if rng.random() < 0.5:
            cv2.ellipse(canvas, at, size, float(rng.uniform(0, 180)), 0, 360, paint, -1, cv2.LINE_AA)
        else:
            points = (np.array(at) + rng.uniform(-1, 1, (int(rng.integers(3, 7)), 2)) * size).astype(np.int32)
            cv2.fillPoly(canvas, [points], paint, cv2.LINE_AA)


def stripes(canvas: UInt8Array, rng: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    paint, gap, angle = colour(rng), rng.uniform(6, width / 4), rng.uniform(0, np.pi)
    along = np.array([np.cos(angle), np.sin(angle)]) * (width + height)
    across = np.array([-np.sin(angle), np.cos(angle)])
    thickness = int(max(1, gap * rng.uniform(0.1, 0.6)))
    for place in np.arange(-width - height, width + height, gap):
        middle = np.array([width / 2, height / 2]) + across * place
        start, end = middle - along, middle + along
        cv2.line(canvas, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), paint, thickness, cv2.LINE_AA)


def grid(canvas: UInt8Array, rng: np.random.Generator) -> None:
    """Shelves, tiles, windows: boxes in rows."""
    height, width = canvas.shape[:2]
    columns, rows = int(rng.integers(2, 10)), int(rng.integers(2, 8))
    colours = [colour(rng) for _ in range(4)]
    gap = int(rng.integers(1, 8))
    for row in range(rows):
        for column in range(columns):
            if rng.random() < 0.75:
                left, top = column * width // columns + gap, row * height // rows + gap
                right, bottom = (column + 1) * width // columns - gap, (row + 1) * height // rows - gap
                cv2.rectangle(canvas, (left, top), (right, bottom), colours[int(rng.integers(4))], -1)


def letters(canvas: UInt8Array, rng: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(1, 6))):
        text = "".join(rng.choice(list("ABCEHKMNORSTWXaeimnorsu0123456789"), int(rng.integers(2, 9))))
        at = (int(rng.integers(-20, width)), int(rng.integers(10, height)))
        paint = colour(rng)
        cv2.putText(
            canvas, text, at, int(rng.integers(0, 8)), rng.uniform(0.4, 3), paint, int(rng.integers(1, 6)), cv2.LINE_AA
        )


def furniture(canvas: UInt8Array, rng: np.random.Generator) -> None:
    """Round things of one colour with a shade to one side: lamps, plates, balls, hands without fingers."""
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(1, 5))):
        radius = int(rng.integers(6, 1 + max(7, height // 5)))
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        lit = np.array(colour(rng))
        for step in range(6):
            paint = as_colour(lit * (0.6 + 0.08 * step))
            inner = (x - step * radius // 24, y - step * radius // 24)
            cv2.circle(canvas, inner, max(1, radius - step * radius // 8), paint, -1, cv2.LINE_AA)


def quilt(size_wh: tuple[int, int], rng: np.random.Generator, behind: BackdropPool) -> UInt8Array:
    """A few large patches of real pictures without any skin, hair or parts of a face in them."""
    width, height = size_wh
    canvas = clouds(size_wh, rng)
    harmless = [index for index, part in enumerate(behind.space.parts) if part in ("background", "cloth")]
    for _ in range(int(rng.integers(3, 9))):
        patch = _patch(behind.others[int(rng.integers(len(behind.others)))], harmless, rng)
        if patch is None:
            continue
        target_wh = (int(rng.integers(width // 4, width + 1)), int(rng.integers(height // 4, height + 1)))
        patch = np.asarray(cv2.resize(patch, target_wh, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        left = int(rng.integers(0, width - target_wh[0] + 1))
        top = int(rng.integers(0, height - target_wh[1] + 1))
        canvas[top : top + target_wh[1], left : left + target_wh[0]] = patch[:, ::-1] if rng.random() < 0.5 else patch
    return canvas


def _patch(sample: Sample, harmless: list[int], rng: np.random.Generator) -> UInt8Array | None:
    """The largest of some random rectangles that hold background and clothes only."""
    height, width = sample.labels.shape
    taken = cv2.integral((~np.isin(sample.labels, harmless)).astype(np.uint8))
    best, best_area = None, PATCH_MIN * PATCH_MIN
    for _ in range(30):
        left, right = np.sort(rng.integers(0, width + 1, 2))
        top, bottom = np.sort(rng.integers(0, height + 1, 2))
        inside = taken[bottom, right] - taken[top, right] - taken[bottom, left] + taken[top, left]
        area = (right - left) * (bottom - top)
        if inside == 0 and area > best_area and min(right - left, bottom - top) >= PATCH_MIN // 2:
            best, best_area = sample.image_bgr[top:bottom, left:right], area
    return best


def colour(rng: np.random.Generator) -> Colour:
    """Any colour; one in six is near that of some skin."""
    if rng.random() < 1 / 6:
        return as_colour(SKIN_TONES_BGR[int(rng.integers(len(SKIN_TONES_BGR)))] + rng.normal(0, 12, 3))
    return as_colour(rng.uniform(0, 256, 3))
