"""The five points that the RoI tanh warp needs, from the landmark schemes of the datasets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_segface.data.dataset import Points, SampleError

# The five points are eyes, nose tip and mouth corners, left of the picture first: each the mean of these landmarks.
FIVE_OF_106 = ((74, 104), (83, 105), (54,), (84,), (90,))  # LaPa
FIVE_OF_68 = (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,))  # Helen


def five_points(landmarks_xy: Points, scheme: tuple[tuple[int, ...], ...]) -> Points:
    return np.stack([landmarks_xy[list(indices)].mean(axis=0) for indices in scheme])


def read_points(path: Path, count: int) -> Points:
    """Lines of `x y`, the first line their number."""
    try:
        numbers = [float(word) for word in path.read_text(encoding="utf-8").split()]
    except FileNotFoundError as error:
        raise SampleError("landmarks missing", found=path.name) from error
    except (OSError, ValueError) as error:
        raise SampleError("unreadable landmarks", found=path.name) from error
    if len(numbers) != 2 * count + 1 or numbers[0] != count:
        raise SampleError(f"landmarks that are not {count} points", found=path.name)
    return np.asarray(numbers[1:]).reshape(count, 2)
