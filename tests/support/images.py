"""Images that tests compose, and reading what they wrote."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_segface.assets import PORTRAIT
from edge_segface.image_io import read_image


def read_png(path: Path, flags: int = cv2.IMREAD_UNCHANGED) -> np.ndarray:
    """Read an image as it is stored, or as OpenCV's flags say."""
    image = cv2.imread(str(path), flags)
    assert image is not None, f"{path} is not a readable image"
    return image


def group_photo(size_hw: tuple[int, int], heads_xy: list[tuple[int, int]], *, height: int) -> np.ndarray:
    """Put the head of the built-in portrait, `height` pixels tall with its hair, before a plain wall, several times."""
    head = read_image(PORTRAIT)[20:232, 74:286]
    head = np.asarray(cv2.resize(head, (height, height), interpolation=cv2.INTER_AREA))
    photo = np.full((*size_hw, 3), (150, 140, 120), np.uint8)
    for x, y in heads_xy:
        photo[y - height // 2 :, x - height // 2 :][:height, :height] = head
    return photo
