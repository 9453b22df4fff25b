"""Messages for the page: three big-endian lengths of four bytes, then JSON, a JPEG, and a PNG of class ids.

The JSON's `kind` says what a message is. `frame` carries a result. The others have no images: `hello` comes first on
every connection, `quiet` while there is no new result, `ended` when the loop is over.
"""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from edge_segface.camera.result import FrameResult
from edge_segface.draw import overlay
from edge_segface.frames import ClassMap, UInt8Array

MAX_WIDTH = 960  # pixels
TILE_WIDTH = 224
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 80]
PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


@dataclass(frozen=True)
class StreamInfo:
    """What the head of the page shows."""

    model: str
    engine: str  # runtime, version, device
    precision: str
    input_size: int
    source: str  # without credentials


class LastMessage:
    """Passes the loop's messages on, and keeps the newest: it says why a stream stands still."""

    def __init__(self, forward: Callable[[str], None]) -> None:
        self._forward = forward
        self._text, self._at_s = "", -math.inf

    def __call__(self, text: str) -> None:
        self._text, self._at_s = text, time.monotonic()
        self._forward(text)

    def since(self, start_s: float) -> str | None:
        """Return the newest message if it came after `start_s` on the monotonic clock."""
        return self._text if self._at_s > start_s else None


def encode_message(result: FrameResult) -> bytes:
    """Encode a result once for all viewers; each page draws the classes and boxes itself.

    If a part is cut out, what was behind it is not sent.
    """
    is_cut_out = result.draw.alpha is not None
    labels = result.class_map.labels
    image, labels = reduced(*((result.drawn, np.zeros_like(labels)) if is_cut_out else (result.image_bgr, labels)))
    scale = image.shape[1] / result.image_bgr.shape[1]
    size_hw = result.image_bgr.shape[0], result.image_bgr.shape[1]
    numbers = {
        "kind": "frame",
        "frame": result.frame.index,
        "faces": len(result.faces),
        "boxes_xyxy": [[round(scale * edge, 1) for edge in face.face.box_xyxy] for face in result.faces],
        "squares_xyxy": [[round(scale * edge) for edge in face.roi.bounds_xyxy(size_hw)] for face in result.faces],
        "face_numbers": [face.number for face in result.faces],
        "draw": draw_content(result, is_cut_out),
        **finite(result.numbers),
    }
    jpeg, png = cv2.imencode(".jpg", image, JPEG)[1], cv2.imencode(".png", labels, PNG)[1]
    return packed(numbers, jpeg.tobytes(), png.tobytes())


def encode_tile(source: str, result: FrameResult) -> bytes:
    """Encode a small image of a source, coloured as the loop draws, with its rate."""
    numbers = finite({"fps": result.numbers.get("glass_to_result_fps"), "faces": len(result.faces)})
    draw, labels = result.draw, result.class_map.labels
    if draw.alpha is not None:
        image = reduced(result.drawn, labels, TILE_WIDTH)[0]
    else:
        image, labels = reduced(result.image_bgr, labels, TILE_WIDTH)
        small = ClassMap(labels, result.class_map.space)
        image = overlay(image, small if draw.classes is None else small.only(*draw.classes), draw.opacity)
    return packed({"kind": "tile", "source": source, **numbers}, cv2.imencode(".jpg", image, JPEG)[1].tobytes())


def draw_content(result: FrameResult, is_cut_out: bool) -> dict[str, Any]:
    """Return how the page draws at first; its viewers may change that. `classes` are ids, or None for all."""
    draw = result.draw
    classes = None if draw.classes is None else result.class_map.space.ids_of(*draw.classes)
    return {"opacity": draw.opacity, "boxes": draw.boxes and not is_cut_out, "classes": classes}


def packed(content: dict[str, Any], jpeg: bytes = b"", png: bytes = b"") -> bytes:
    """Return a message; without images, both have length zero."""
    parts = [json.dumps(content).encode(), jpeg, png]
    return struct.pack(">III", *map(len, parts)) + b"".join(parts)


def reduced(image: UInt8Array, labels: UInt8Array, most: int = MAX_WIDTH) -> tuple[UInt8Array, UInt8Array]:
    """Scale an image and its class ids down to a width of `most`."""
    height, width = image.shape[:2]
    if width <= most:
        return image, labels
    size_wh = (most, max(1, round(height * most / width)))
    small = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
    small_labels = cv2.resize(labels, size_wh, interpolation=cv2.INTER_NEAREST)
    return np.asarray(small, dtype=np.uint8), np.asarray(small_labels, dtype=np.uint8)


def finite(value: Any) -> Any:
    """Replace NaN and infinity by None, because JSON has neither."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
