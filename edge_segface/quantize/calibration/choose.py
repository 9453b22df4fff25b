"""Select the images that calibrate a network best: first every class, rare ones before others, then variety."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.frames import UInt8Array
from edge_segface.labels import LabelSpace

MIN_CLASS_PIXELS = 40  # in a crop of 256 px, for the crop to count as showing the class
CLASS_SHARE = 1 / 8  # of the set is to show each class, if there are so many
THUMBNAIL = 16  # side of the thumbnail in the features


@dataclass(frozen=True, eq=False)
class Candidate:
    """A crop that may be selected: how much of each class it shows, and features that measure how crops differ."""

    name: str
    pixels: npt.NDArray[np.int64]  # per class
    features: npt.NDArray[np.float32]


def make_candidate(name: str, crop_bgr: UInt8Array, labels: UInt8Array, space: LabelSpace) -> Candidate:
    """Summarise a crop. Features: light, contrast, colour, size and place of the face, its direction, a thumbnail."""
    thumbnail = cv2.resize(crop_bgr, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    grey = thumbnail.mean(axis=2)
    places = [
        _share_and_centre(labels == space.id_of(part)) for part in ("skin", "hair", "nose") if part in space.parts
    ]
    eyes = _share_and_centre(np.isin(labels, [space.id_of("left_eye"), space.id_of("right_eye")]))
    nose = places[-1]
    direction = [nose[1] - eyes[1], nose[2] - eyes[2]] if nose[0] and eyes[0] else [0.0, 0.0]
    light = [4 * grey.mean(), 4 * grey.std(), *(2 * (thumbnail.mean(axis=(0, 1)) - grey.mean()))]
    features = np.concatenate(
        (light, np.ravel(places) * 2, np.array(direction) * 8, (grey - grey.mean()).ravel() / THUMBNAIL * 4)
    )
    pixels = np.bincount(labels.ravel(), minlength=len(space))
    return Candidate(name, pixels, features.astype(np.float32))


def choose(
    candidates: Sequence[Candidate], count: int, space: LabelSpace, *, size: int, seed: int, strategy: str
) -> list[int]:
    """Return the indices of `count` candidates, or of all if there are no more. `size` is that of the crops."""
    rng = np.random.default_rng(seed)
    if strategy == "random" or count >= len(candidates):
        return sorted(int(index) for index in rng.permutation(len(candidates))[:count])
    pixels = np.stack([candidate.pixels for candidate in candidates])
    selected = cover_classes(pixels >= min_class_pixels(size), count, space)
    return sorted(add_varied(np.stack([candidate.features for candidate in candidates]), selected, count, rng))


def min_class_pixels(size: int) -> float:
    """Return the pixels of a class from which a crop of this size counts as showing it."""
    return MIN_CLASS_PIXELS * (size / 256) ** 2


def min_images_per_class(count: int) -> int:
    """Return how many images of a set should show each class."""
    return max(1, round(CLASS_SHARE * count))


def cover_classes(shows: npt.NDArray[np.bool_], count: int, space: LabelSpace) -> list[int]:
    """Select greedily, from (candidates, classes), few candidates that together show every class often enough.

    A candidate is worth the sum over the classes it shows and the set still lacks; rarer classes are worth more.
    """
    available = shows.sum(axis=0)
    missing = np.minimum(available, min_images_per_class(count))
    missing[0] = 0
    worth = np.where(available > 0, 1 / np.maximum(available, 1), 0.0)
    worth[list(space.long_tail)] *= len(space)
    selected: list[int] = []
    unused = np.ones(len(shows), dtype=bool)
    while missing.any() and len(selected) < count:
        value = (shows[:, missing > 0] * worth[missing > 0]).sum(axis=1) * unused
        best = int(value.argmax())
        if not value[best]:
            break
        selected.append(best)
        unused[best] = False
        missing = np.maximum(missing - shows[best], 0)
    return selected


def add_varied(
    features: npt.NDArray[np.float32], selected: list[int], count: int, rng: np.random.Generator
) -> list[int]:
    """Fill a selection with the candidate farthest from it and a random one, in turn: extremes alone would mislead."""
    selected = list(selected) or [int(rng.integers(len(features)))]
    distance = np.full(len(features), np.inf)
    for index in selected:
        distance = np.minimum(distance, np.square(features - features[index]).sum(axis=1))
    while len(selected) < count:
        unused = np.setdiff1d(np.arange(len(features)), selected)
        added = int(rng.choice(unused)) if len(selected) % 2 else int(unused[distance[unused].argmax()])
        selected.append(added)
        distance = np.minimum(distance, np.square(features - features[added]).sum(axis=1))
    return selected


def _share_and_centre(mask: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return the share of the crop, and the centre (x, y) from -0.5 to 0.5, or 0 if the mask is empty."""
    if not mask.any():
        return 0.0, 0.0, 0.0
    y, x = np.nonzero(mask)
    height, width = mask.shape
    return float(mask.mean()), float(x.mean() / width - 0.5), float(y.mean() / height - 0.5)
