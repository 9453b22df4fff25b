"""Results as bytes for the page: three big-endian lengths of four bytes, then JSON, a JPEG, and a PNG of class ids."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import cv2
import numpy as np

from edge_segface.camera.result import FrameResult
from edge_segface.frames import UInt8Array

MAX_WIDTH = 960  # pixels
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 80]
PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def encode_message(result: FrameResult) -> bytes:
    """Encode a result once for all viewers; each page draws the classes itself."""
    image, labels = reduced(result.frame.image_bgr, result.class_map.labels)
    numbers = {"frame": result.frame.index, "faces": len(result.faces), **finite(result.numbers)}
    parts = [
        json.dumps(numbers).encode(),
        cv2.imencode(".jpg", image, JPEG)[1].tobytes(),
        cv2.imencode(".png", labels, PNG)[1].tobytes(),
    ]
    return struct.pack(">III", *map(len, parts)) + b"".join(parts)


def reduced(image: UInt8Array, labels: UInt8Array) -> tuple[UInt8Array, UInt8Array]:
    """Scale an image and its class ids down to `MAX_WIDTH`."""
    height, width = image.shape[:2]
    if width <= MAX_WIDTH:
        return image, labels
    size_wh = (MAX_WIDTH, max(1, round(height * MAX_WIDTH / width)))
    small = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
    small_labels = cv2.resize(labels, size_wh, interpolation=cv2.INTER_NEAREST)
    return np.asarray(small, dtype=np.uint8), np.asarray(small_labels, dtype=np.uint8)


def finite(value: Any) -> Any:
    """Replace NaN and infinity by None, because JSON has neither."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
