"""The augmentation that SegFace trains LaPa with."""

from __future__ import annotations

import numpy as np

from edge_segface.data.augment.fit import FittedSample, squashed
from edge_segface.data.geometry import Matrix, similarity_matrix, warp_image, warp_labels, warp_points
from edge_segface.data.sample import Sample


def lapa_affine(sample: Sample, size: int, rng: np.random.Generator) -> FittedSample:
    """Turn, scale and shift the sample at random within its frame, then squash it."""
    height, width = sample.labels.shape
    matrix = lapa_matrix((width, height), rng)
    landmarks = None if sample.landmarks_xy is None else warp_points(sample.landmarks_xy, matrix)
    image = warp_image(sample.image_bgr, matrix, (width, height))
    labels = warp_labels(sample.labels, matrix, (width, height))
    return squashed(Sample(sample.name, image, labels, landmarks), size)


def lapa_matrix(size_wh: tuple[int, int], rng: np.random.Generator) -> Matrix:
    """Return a random turn of up to 30 degrees, scale of 0.5 to 3, and shift of up to 20 px."""
    centre = (np.array(size_wh) - 1) / 2
    shift_x, shift_y = rng.uniform(-20, 20, 2)
    target = (centre[0] + shift_x, centre[1] + shift_y)
    return similarity_matrix(centre, target, scale=rng.uniform(0.5, 3), angle_deg=rng.uniform(-30, 30))
