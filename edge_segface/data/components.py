"""Connected pieces of label maps: what the consensus loss averages over, and how broken up a prediction is."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.frames import UInt8Array


def label_components(labels: UInt8Array, min_area: int = 1, most: int | None = None) -> npt.NDArray[np.int32]:
    """Numbers the 8-connected pieces of all classes from 1, the `most` largest of at least `min_area`; else 0."""
    numbers = np.zeros(labels.shape, dtype=np.int32)
    areas = [0]
    for index in np.unique(labels):
        count, pieces, statistics, _ = cv2.connectedComponentsWithStats(
            (labels == index).astype(np.uint8), connectivity=8
        )
        own = pieces > 0
        numbers[own] = pieces[own] + len(areas) - 1
        areas += [int(area) for area in statistics[1:count, cv2.CC_STAT_AREA]]
    area = np.array(areas)
    kept = np.flatnonzero(area >= max(min_area, 1))
    kept = kept[np.argsort(-area[kept], kind="stable")][:most]
    table = np.zeros(len(areas), dtype=np.int32)
    table[kept] = np.arange(1, len(kept) + 1)
    return table[numbers]


def component_counts(labels: UInt8Array, classes: int) -> npt.NDArray[np.int64]:
    """How many 8-connected pieces each class has."""
    counts = np.zeros(classes, dtype=np.int64)
    for index in np.unique(labels):
        counts[index] = cv2.connectedComponents((labels == index).astype(np.uint8), connectivity=8)[0] - 1
    return counts
