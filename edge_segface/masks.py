"""Boolean masks in the forms that other tools read: polygons and COCO's run-length encoding."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def polygons(mask: Mask) -> list[npt.NDArray[np.float64]]:
    """Return the outer boundary of each component as points (n, 2) in pixel centres, x first. Holes are not cut out."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [contour[:, 0].astype(np.float64) for contour in contours]


def run_lengths(mask: Mask) -> list[int]:
    """Return the lengths of alternating runs of 0 and 1, column by column; the first run is of zeros."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def coco_rle(mask: Mask) -> dict[str, object]:
    """Return COCO's compressed run-length encoding, as pycocotools reads it."""
    counts = run_lengths(mask)
    deltas = [count - counts[index - 2] if index > 2 else count for index, count in enumerate(counts)]
    return {"size": list(mask.shape), "counts": "".join(_encode(delta) for delta in deltas)}


def _encode(number: int) -> str:
    """One number as characters of 5 bits each, lowest first, the sixth bit marking that more follow."""
    text = ""
    while True:
        bits = number & 0x1F
        number >>= 5
        more = number != (-1 if bits & 0x10 else 0)
        text += chr((bits | 0x20 if more else bits) + 48)
        if not more:
            return text
