"""Connected components of label maps: the regions of the consensus loss, and a measure of fragmented predictions."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.frames import UInt8Array


def label_components(labels: UInt8Array, min_area: int = 1, max_count: int | None = None) -> npt.NDArray[np.int32]:
    """Number the 8-connected components of all classes from 1: the largest `max_count` of at least `min_area` pixels.

    All other pixels are 0.
    """
    numbers = np.zeros(labels.shape, dtype=np.int32)
    areas = [0]
    for class_id in np.unique(labels):
        count, components, statistics, _ = cv2.connectedComponentsWithStats(
            (labels == class_id).astype(np.uint8), connectivity=8
        )
        inside = components > 0
        numbers[inside] = components[inside] + len(areas) - 1
        areas += [int(area) for area in statistics[1:count, cv2.CC_STAT_AREA]]
    area = np.array(areas)
    kept = np.flatnonzero(area >= max(min_area, 1))
    kept = kept[np.argsort(-area[kept], kind="stable")][:max_count]
    table = np.zeros(len(areas), dtype=np.int32)
    table[kept] = np.arange(1, len(kept) + 1)
    return table[numbers]


def component_counts(labels: UInt8Array, classes: int) -> npt.NDArray[np.int64]:
    """Count the 8-connected components of each class."""
    counts = np.zeros(classes, dtype=np.int64)
    for class_id in np.unique(labels):
        counts[class_id] = cv2.connectedComponents((labels == class_id).astype(np.uint8), connectivity=8)[0] - 1
    return counts
