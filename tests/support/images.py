"""Reading images that a test wrote."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def read_png(path: Path, flags: int = cv2.IMREAD_UNCHANGED) -> np.ndarray:
    """Read an image as it is stored, or as OpenCV's flags say."""
    image = cv2.imread(str(path), flags)
    assert image is not None, f"{path} is not a readable image"
    return image
