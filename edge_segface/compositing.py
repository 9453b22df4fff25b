"""Putting a part of an image, cut out by its alpha, before another background."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.errors import InputError
from edge_segface.frames import UInt8Array
from edge_segface.image_io import read_image

Backdrop = Callable[[UInt8Array], UInt8Array]  # maps an image to a background of its size

COLOURS_RGB = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "green": (0, 177, 64),  # as studios paint their walls
    "blue": (0, 71, 187),
}
BLUR_SHARE = 0.06  # kernel of the blur relative to the longer side of the image
BLUR_SHRINK = 4


def open_backdrop(text: str) -> Backdrop:
    """Return the background that a text names: a colour (`green`, `#00b140`), `blur`, or an image file."""
    if text == "blur":
        return blurred
    if (rgb := colour_rgb(text)) is not None:
        return lambda image_bgr: plain_backdrop(image_bgr, rgb)
    if not Path(text).exists():
        raise InputError(
            f"{text} is not a backdrop", remedy=f"give #rrggbb, {', '.join(COLOURS_RGB)}, blur or an image file"
        )
    image = read_image(Path(text))
    fitted: dict[tuple[int, ...], UInt8Array] = {}

    def of_size(image_bgr: UInt8Array) -> UInt8Array:
        size_hw = image_bgr.shape[:2]
        if size_hw not in fitted:
            fitted.clear()
            fitted[size_hw] = filled(image, size_hw)
        return fitted[size_hw]

    return of_size


def plain_backdrop(image_bgr: UInt8Array, rgb: tuple[int, int, int] = COLOURS_RGB["green"]) -> UInt8Array:
    """Return a background of one colour, of the size of an image."""
    return _plain(image_bgr.shape, rgb)


@lru_cache(maxsize=4)
def _plain(shape: tuple[int, ...], rgb: tuple[int, int, int]) -> UInt8Array:
    background = np.full(shape, rgb[::-1], dtype=np.uint8)
    background.flags.writeable = False  # shared by all frames
    return background


def colour_rgb(text: str) -> tuple[int, int, int] | None:
    """Return the colour that a text names, or None if it names none."""
    if text.lower() in COLOURS_RGB:
        return COLOURS_RGB[text.lower()]
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    return None


def blurred(image_bgr: UInt8Array) -> UInt8Array:
    """Return the image, strongly blurred; computed on a smaller one, which looks the same."""
    height, width = image_bgr.shape[:2]
    small = cv2.resize(
        image_bgr, (max(1, width // BLUR_SHRINK), max(1, height // BLUR_SHRINK)), interpolation=cv2.INTER_AREA
    )
    kernel = int(BLUR_SHARE * max(small.shape)) * 2 + 1
    return np.asarray(cv2.resize(cv2.GaussianBlur(small, (kernel, kernel), 0), (width, height)), dtype=np.uint8)


def filled(image_bgr: UInt8Array, size_hw: tuple[int, ...]) -> UInt8Array:
    """Scale an image so that it fills a size, and cut off what does not fit."""
    height, width = size_hw[0], size_hw[1]
    scale = max(height / image_bgr.shape[0], width / image_bgr.shape[1])
    wide, high = max(width, round(image_bgr.shape[1] * scale)), max(height, round(image_bgr.shape[0] * scale))
    left, top = (wide - width) // 2, (high - height) // 2
    return np.asarray(cv2.resize(image_bgr, (wide, high)), dtype=np.uint8)[top : top + height, left : left + width]


def composite(image_bgr: UInt8Array, alpha: npt.NDArray[np.float32], backdrop_bgr: UInt8Array) -> UInt8Array:
    """Return the image where alpha is 1, the backdrop where it is 0, and their mixture between."""
    return np.asarray(cv2.blendLinear(image_bgr, backdrop_bgr, alpha, 1 - alpha), dtype=np.uint8)
