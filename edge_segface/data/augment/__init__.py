"""Augmentations: functions from the index of a sample to an image, its labels and its landmarks, in the input size.

All randomness comes from the generator that is passed in. So an augmented sample depends only on the seed, the epoch
and its position in the epoch, not on the number of worker processes or on interruptions of the training.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edge_segface.data.augment.affine import lapa_affine
from edge_segface.data.augment.camera import CameraAugmentation, CameraSettings
from edge_segface.data.augment.fit import FittedSample, letterboxed, squashed
from edge_segface.data.sample import Dataset

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "CameraSettings",
    "lapa_affine",
    "letterboxed",
    "make_augmentation",
    "squashed",
]

Augmentation = Callable[[int, np.random.Generator], FittedSample]

AUGMENTATIONS = ("none", "lapa", "camera")


def make_augmentation(
    name: str, dataset: Dataset, size: int, camera: CameraSettings, pixels: npt.NDArray[np.int64]
) -> Augmentation:
    """Return an augmentation of the dataset by its name.

    `pixels` (samples, classes) counts the pixels of each class, as `class_pixels` returns them.
    """
    if name == "camera":
        return CameraAugmentation(dataset, size, camera, pixels)
    if name == "lapa":
        return lambda index, rng: lapa_affine(dataset[index], size, rng)
    fitted = squashed if dataset.squashed else letterboxed
    return lambda index, rng: fitted(dataset[index], size)  # noqa: ARG005
