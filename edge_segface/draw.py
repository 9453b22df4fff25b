"""Drawings of class maps: coloured labels, overlays and legends."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge_segface.errors import ImageError
from edge_segface.frames import ClassMap, UInt8Array
from edge_segface.labels import LabelSpace

FONT = cv2.FONT_HERSHEY_SIMPLEX
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
LIGHT_BGR = (235, 235, 235)


def colour(class_map: ClassMap) -> UInt8Array:
    """Return the class map in the colours of its label space, BGR."""
    return _painted(class_map.labels, class_map.space)


def overlay(image_bgr: UInt8Array, class_map: ClassMap, opacity: float = 0.6) -> UInt8Array:
    """Blend the classes over the image, with a thin line between classes; background stays as it is."""
    if image_bgr.shape[:2] != class_map.labels.shape:
        raise ImageError(
            "image and class map must have the same size", found=f"{image_bgr.shape[:2]} and {class_map.labels.shape}"
        )
    drawn = image_bgr.copy()
    left, top, width, height = cv2.boundingRect(class_map.labels)  # bounding box of everything but background
    if width and height:
        area = np.s_[max(top - 1, 0) : top + height + 1, max(left - 1, 0) : left + width + 1]
        labels, shown = np.ascontiguousarray(class_map.labels[area]), drawn[area]
        coloured = _painted(labels, class_map.space)
        cv2.copyTo(cv2.addWeighted(shown, 1 - opacity, coloured, opacity, 0), labels, shown)
        edge = cv2.compare(cv2.dilate(labels, CROSS), labels, cv2.CMP_GT)
        cv2.copyTo(cv2.convertScaleAbs(coloured, None, 0.5, 127), edge, shown)
    return np.asarray(drawn, dtype=np.uint8)


def legend(class_map: ClassMap, height: int) -> UInt8Array:
    """Return a column with the colour and share of each class that occurs, largest first."""
    scale = max(0.35, min(0.6, height / 900))
    line = round(44 * scale)
    titles = dict(zip(class_map.space.parts, class_map.space.titles, strict=True))
    rows = [(part, share) for part, share in class_map.shares().items() if part != "background"]
    texts = [f"{titles[part]}  {100 * share:.1f} %" for part, share in rows]
    widths = [cv2.getTextSize(text, FONT, scale, 1)[0][0] for text in texts] or [0]
    panel = np.full((height, max(widths) + 3 * line, 3), 32, dtype=np.uint8)
    for index, ((part, _), text) in enumerate(zip(rows, texts, strict=True)):
        top = line // 2 + index * line
        if top + line > height:
            break
        blue, green, red = (int(c) for c in class_map.space.palette_rgb[class_map.space.id_of(part)][::-1])
        cv2.rectangle(panel, (line // 2, top), (line // 2 + line * 2 // 3, top + line * 2 // 3), (blue, green, red), -1)
        cv2.putText(panel, text, (line * 3 // 2, top + line * 5 // 8), FONT, scale, LIGHT_BGR, 1, cv2.LINE_AA)
    return panel


def side_by_side(image_bgr: UInt8Array, class_map: ClassMap) -> UInt8Array:
    """Return image, overlay and legend in one row."""
    return np.hstack([image_bgr, overlay(image_bgr, class_map), legend(class_map, image_bgr.shape[0])])


def captions(image_bgr: UInt8Array, lines: Sequence[str]) -> None:
    """Write lines into the top left corner, in place, on a darkened ground."""
    scale = max(0.35, min(0.8, image_bgr.shape[0] / 1000))
    high = round(36 * scale)
    sizes = [cv2.getTextSize(text, FONT, scale, 1)[0][0] for text in lines]
    if not sizes:
        return
    ground = image_bgr[: high * len(lines) + high // 2, : max(sizes) + high]
    cv2.convertScaleAbs(ground, ground, 0.35, 0)
    for index, text in enumerate(lines):
        cv2.putText(image_bgr, text, (high // 2, high * (index + 1)), FONT, scale, LIGHT_BGR, 1, cv2.LINE_AA)


def _painted(labels: UInt8Array, space: LabelSpace) -> UInt8Array:
    table = np.zeros((256, 1, 3), dtype=np.uint8)
    table[: len(space), 0] = space.palette_rgb[:, ::-1]
    return np.asarray(cv2.applyColorMap(labels, table), dtype=np.uint8)
