"""The five landmarks that the RoI tanh warp needs, computed from those of the datasets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from edge_segface.data.sample import Points, SampleError
from edge_segface.documents import read_document

# Eyes, nose tip and mouth corners, those on the left of the image first: each is the mean of these landmarks.
FIVE_OF_106 = ((74, 104), (83, 105), (54,), (84,), (90,))  # LaPa
FIVE_OF_68 = (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,))  # Helen


def five_points(landmarks_xy: Points, scheme: tuple[tuple[int, ...], ...]) -> Points:
    """Reduce landmarks (n, 2) to five (5, 2)."""
    return np.stack([landmarks_xy[list(indices)].mean(axis=0) for indices in scheme])


def read_points(path: Path, count: int) -> Points:
    """Read a file that holds the number of points and then one `x y` per line."""
    try:
        if not os.path.exists(path):
            raise SampleError("landmarks missing", found=path.name)
        numbers = [float(word) for word in read_document(path).split()]
    except ValueError as error:
        raise SampleError("unreadable landmarks", found=path.name) from error
    if len(numbers) != 2 * count + 1 or numbers[0] != count or not np.isfinite(numbers).all():
        raise SampleError(f"landmarks that are not {count} points", found=path.name)
    return np.asarray(numbers[1:]).reshape(count, 2)
