"""Pictures of class maps: coloured labels, an overlay on the picture, and a legend."""

from __future__ import annotations

import cv2
import numpy as np

from edge_segface.errors import ImageError
from edge_segface.frames import ClassMap, UInt8Array

FONT = cv2.FONT_HERSHEY_SIMPLEX


def colour(class_map: ClassMap) -> UInt8Array:
    """The class map in the colours of its space, BGR."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(class_map.space)] = class_map.space.palette_rgb[:, ::-1]
    return table[class_map.labels]


def overlay(image_bgr: UInt8Array, class_map: ClassMap, opacity: float = 0.6) -> UInt8Array:
    """The picture with its classes over it, the background left as it is, and a thin line between classes."""
    if image_bgr.shape[:2] != class_map.labels.shape:
        raise ImageError(
            "picture and class map must have one size", found=f"{image_bgr.shape[:2]} and {class_map.labels.shape}"
        )
    coloured = colour(class_map)
    mixed = cv2.addWeighted(image_bgr, 1 - opacity, coloured, opacity, 0)
    background = class_map.labels == 0
    mixed[background] = image_bgr[background]
    edge = boundary(class_map.labels)
    mixed[edge] = coloured[edge] // 2 + 127
    return np.asarray(mixed, dtype=np.uint8)


def boundary(labels: UInt8Array) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Pixels whose right or lower neighbour is of another class."""
    edge = np.zeros(labels.shape, dtype=bool)
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    edge[:-1] |= labels[1:] != labels[:-1]
    return edge


def legend(class_map: ClassMap, height: int) -> UInt8Array:
    """A column of the classes that the map shows, largest first, with their colour and their share."""
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
        cv2.putText(panel, text, (line * 3 // 2, top + line * 5 // 8), FONT, scale, (235, 235, 235), 1, cv2.LINE_AA)
    return panel


def side_by_side(image_bgr: UInt8Array, class_map: ClassMap) -> UInt8Array:
    """Picture, overlay and legend in one row."""
    return np.hstack([image_bgr, overlay(image_bgr, class_map), legend(class_map, image_bgr.shape[0])])
